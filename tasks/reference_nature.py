"""The nature run as a reference: integrated when it is needed, block after block.

A block holds the states of some days on the 64 × 32 grid, every 6 h or more often, and the spectral
state at its end, from which the next one goes on. It is written under a name of its own and then
committed by the exclusive creation of a marker that names it and its digest: a killed run goes on
from the last block, any number of processes may integrate the same one, and all read what the first
committed. The clock is taken from the calendar every 6 h, so the states do not depend on how often
the run was interrupted.

A state between two steps of the model branches off the run by one shorter step: the run itself, and
so the states every 6 h, are the same bit for bit whatever is stored between them.
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from models.state import embedded_spec
from models.world.model import SpectralModel
from models.world.nature import FORECAST, clock
from tasks.reference import check_values, required_times
from tasks.store import create_exclusive, digest, exists, join, read_bytes, write_bytes

__all__ = ["NatureReference"]

logger = logging.getLogger(__name__)

SIX_HOURS = pd.Timedelta(hours=6)
BLOCK = pd.Timedelta(days=2)
KEPT_BLOCKS = 8


class NatureReference:
    """The states of a nature run without an end."""

    def __init__(
        self,
        model: SpectralModel,
        initial_state: Tensor,
        start: pd.Timestamp,
        address: str,
        block: pd.Timedelta = BLOCK,
        step: pd.Timedelta = SIX_HOURS,
        shorter: Callable[[float], SpectralModel] | None = None,
    ) -> None:
        """Open the nature run at an address, or begin it there with the first state.

        Args:
            model: The model of the nature run.
            initial_state: Its spectral state at the start, one member.
            start: Time of the initial state, UTC.
            address: Folder of the blocks, a local path or s3://.
            block: Length of a block, a multiple of 6 h.
            step: Time between the states, a part of 6 h.
            shorter: Returns the model with another time step [s]; needed where `step` is no
                multiple of the model's.

        Raises:
            ValueError: The address holds another nature run, or `step` is no part of 6 h.
        """
        if step <= pd.Timedelta(0) or SIX_HOURS % step:
            raise ValueError(f"states every {step}: allowed are whole parts of 6 h")
        self.model, self.initial_state = model, initial_state.contiguous()
        self.start, self.address = start, str(address)
        self.spec, self.step, self.block = embedded_spec(), step, block
        self.steps = block // step
        self._shorter, self._short_models = shorter, dict[float, SpectralModel]()
        self._grid: SpectralModel | None = None
        self._blocks: dict[int, dict[str, Tensor]] = {}
        self._lock = threading.RLock()
        self._identify()

    @property
    def times(self) -> pd.DatetimeIndex | None:
        """None: the run goes on as far as it is asked to."""
        return None

    def state(self, valid_time: pd.Timestamp) -> Float[Tensor, "field lat lon"]:
        """Return the state at a time [SI], integrating up to it if that has not been done.

        Raises:
            ValueError: The time is before the start, or not a multiple of the step from it.
        """
        number, step = divmod(self._index(valid_time), self.steps)
        with self._lock:
            return self._block(number)["x"][step].clone()

    def states(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "time field lat lon"]:
        """Return the states at some times [SI]."""
        return torch.stack([self.state(time) for time in times])

    def check(self, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> None:
        """Refuse times that the run does not have; nothing is integrated."""
        for time in required_times(start, end, step):
            self._index(time)

    def _index(self, valid_time: pd.Timestamp) -> int:
        """Return how many steps after the start a time is."""
        index, rest = divmod(valid_time - self.start, self.step)
        if index < 0 or rest != pd.Timedelta(0):
            hours = self.step / pd.Timedelta(hours=1)
            allowed = f"{self.start} and every {hours:g} h after it"
            raise ValueError(f"{self.address}: no state at {valid_time}; allowed: {allowed}")
        return int(index)

    def _identify(self) -> None:
        """Write down which nature run this is, or refuse to go on with another one."""
        state = save({"state": self.initial_state})
        settings = self.model.settings
        own = {
            "start": self.start.isoformat(),
            "initial_state": digest(state),
            "truncation": settings.truncation,
            "time_step": settings.time_step,
            "steps_in_block": self.steps,
        }
        if self.step != SIX_HOURS:
            own["step"] = self.step.isoformat()
        address = join(self.address, "nature.json")
        if create_exclusive(address, json.dumps(own, indent=1).encode()):
            return
        found = json.loads(read_bytes(address))
        for key in {**own, **found}:
            if found.get(key) != own.get(key):
                text = f"{address}: another nature run, {key} is {found.get(key)!r}"
                raise ValueError(f"{text}; expected {own.get(key)!r}")

    def _marker(self, number: int) -> str:
        return join(self.address, "blocks", f"{number:05d}.json")

    def _block(self, number: int) -> dict[str, Tensor]:
        """Return a block, after those before it; the last ones stay in memory."""
        if number not in self._blocks:
            if not exists(self._marker(number)):
                self._extend(number)
            self._blocks[number] = self._read(number)
            for old in list(self._blocks)[:-KEPT_BLOCKS]:
                del self._blocks[old]
        return self._blocks[number]

    def _extend(self, number: int) -> None:
        """Integrate and commit a block and all that are missing before it."""
        first = number
        while first and not exists(self._marker(first - 1)):
            first -= 1
        state = self._read(first - 1)["state"] if first else self.initial_state
        for missing in range(first, number + 1):
            if exists(self._marker(missing)):
                state = self._read(missing)["state"]
            else:
                state = self._commit(missing, self._integrate(missing, state))

    def _commit(self, number: int, tensors: dict[str, Tensor]) -> Tensor:
        """Commit a block unless another process has; return the state to go on from."""
        data, name = save(tensors), f"{number:05d}-{uuid.uuid4().hex}.safetensors"
        path = join(self.address, "blocks", name)
        write_bytes(path, data)
        marker = json.dumps({"file": name, "sha256": digest(data)}).encode()
        if create_exclusive(self._marker(number), marker):
            return tensors["state"]
        return self._read(number)["state"]

    def _read(self, number: int) -> dict[str, Tensor]:
        """Read a committed block and verify its digest."""
        marker = json.loads(read_bytes(self._marker(number)))
        path = join(self.address, "blocks", marker["file"])
        data = read_bytes(path)
        found = digest(data)
        if found != marker["sha256"]:
            expected = f"expected {marker['sha256'][:12]}"
            raise ValueError(f"{path}: altered, the SHA-256 is {found[:12]}; {expected}")
        return dict(load(data))

    @torch.no_grad()
    def _integrate(self, number: int, state: Tensor) -> dict[str, Tensor]:
        """Integrate a block from the spectral state at its beginning."""
        self._grid = self._grid or SpectralModel(FORECAST).to(state.device)
        begin = self.start + number * self.block
        x = torch.empty(self.steps, *self.spec.shape)
        count = SIX_HOURS // self.step
        for first in range(0, self.steps, count):
            state = self._advance(state, begin + first * self.step, x[first : first + count])
        times = pd.date_range(begin, periods=self.steps, freq=self.step)
        check_values(x.numpy(), times, self.spec, self.spec.fields, f"nature run {self.address}")
        logger.info("nature_block=%d from=%s to=%s", number, times[0], times[-1])
        return {"x": x, "state": state.contiguous()}

    def _advance(self, state: Tensor, valid_time: pd.Timestamp, x: Tensor) -> Tensor:
        """Advance a spectral state by 6 h; write the states on the way, its own first, to x."""
        length, begin = self.model.settings.time_step, clock(valid_time)
        wanted = [k * self.step.total_seconds() for k in range(len(x))]
        for number in range(round(SIX_HOURS.total_seconds() / length)):
            passed = number * length
            for k, seconds in enumerate(wanted):
                if passed <= seconds < passed + length:
                    x[k] = self._branch(state, begin + passed, seconds - passed)
            state = self.model.step(state, begin + passed)
        return state

    def _branch(
        self, state: Tensor, clock: float, seconds: float
    ) -> Float[Tensor, "field lat lon"]:
        """Return the state on the grid some seconds after a spectral state, less than a step."""
        if seconds:
            state = self._short_model(seconds).step(state, clock)
        return self.model.to_grid(state, self._grid)[0]

    def _short_model(self, seconds: float) -> SpectralModel:
        """Return the model with a shorter time step [s]."""
        if self._shorter is None:
            length = self.model.settings.time_step
            raise ValueError(f"states every {self.step}: no multiple of the step of {length:g} s")
        if seconds not in self._short_models:
            self._short_models[seconds] = self._shorter(seconds)
        return self._short_models[seconds]
