"""What the components are trained on: trajectories of the reference, and the forecast model."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs import Config
from configs.training import Period
from models.state import StateSpec
from models.training.trajectories import StateArray, Trajectories
from tasks.archive_states import ArchiveStates
from tasks.workshop import Workshop

__all__ = [
    "FIRST_YEAR",
    "SEGMENTS",
    "Report",
    "nature_trajectories",
    "period_trajectories",
    "segments",
    "validation_trajectories",
]

Report = Callable[[str], None]
FIRST_YEAR = 2001
PARTS = 2
STEP = pd.Timedelta(hours=6)
#: First time of each segment of the nature run on which experiments run: not of the training.
SEGMENTS = {
    "validation": "2004-01-01",
    "validation-summer": "2004-07-01",
    "test": "2005-01-01",
    "test-summer": "2005-07-01",
}


def nature_trajectories(config: Config, workshop: Workshop, report: Report) -> Trajectories:
    """Return the training trajectories of the nature run, integrated if they do not exist."""
    nature = config.train.nature
    days = [int(k * 365 / nature.streams) for k in range(nature.streams)]
    starts = [pd.Timestamp(FIRST_YEAR, 1, 1) + pd.Timedelta(days=day) for day in days]
    run = Runs("nature", tuple(starts), nature.days, 1000 * nature.seed)
    return run.trajectories(workshop, config.train.threads, report)


def validation_trajectories(
    config: Config, workshop: Workshop, report: Report, days: int
) -> Trajectories:
    """Return four runs that are not trained on, one for each season of another year."""
    starts = tuple(pd.Timestamp(FIRST_YEAR + 2, month, 15) for month in (1, 4, 7, 10))
    run = Runs("validation", starts, days, 1000 * config.train.nature.seed + 50)
    return run.trajectories(workshop, config.train.threads, report)


@dataclass(frozen=True)
class Runs:
    """Nature runs that are made side by side.

    Attributes:
        name: Name of their arrays.
        starts: First time of each.
        days: Length of each.
        seed: Seed of the noise that starts them.
    """

    name: str
    starts: tuple[pd.Timestamp, ...]
    days: int
    seed: int

    def trajectories(self, workshop: Workshop, processes: int, report: Report) -> Trajectories:
        """Return the runs, integrated if they do not exist."""
        groups = [self.starts[k::PARTS] for k in range(PARTS)]
        missing = [k for k in range(PARTS) if workshop.array(f"{self.name}-{k}") is None]
        workshop.wait()  # all have looked
        if missing and workshop.processes.leads:
            report(f"{self.name} run: {len(self.starts)} streams of {self.days} days")
            work = partial(simulate, str(workshop.directory), self)
            side_by_side([partial(work, k, groups[k]) for k in missing], processes)
        workshop.wait()
        arrays = [workshop.array(f"{self.name}-{k}") for k in range(PARTS)]
        joined = JoinedStreams([array for array in arrays if array is not None])
        return Trajectories(joined, tuple(time for group in groups for time in group), STEP)


class JoinedStreams:
    """Memory maps of several processes as one array of streams."""

    def __init__(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Join arrays of shape (time, stream, field, lat, lon) along their streams."""
        self.streams = [(array, k) for array in arrays for k in range(array.shape[1])]
        self._shape = (arrays[0].shape[0], len(self.streams), *arrays[0].shape[2:])

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension."""
        return self._shape

    def __getitem__(self, index: tuple[int, int]) -> NDArray[np.float32]:
        """Return the state at (time, stream)."""
        array, k = self.streams[index[1]]
        state: NDArray[np.float32] = array[index[0], k]
        return state


def simulate(directory: str, runs: Runs, part: int, starts: Sequence[pd.Timestamp]) -> None:
    """Integrate some of the runs and keep them (in a process of its own)."""
    from models.training.nature import integrate

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    steps = runs.days * 4
    states = integrate(starts, runs.seed + part, steps, STEP)
    first = next(states)
    with Workshop(directory).new_array(f"{runs.name}-{part}", (steps, *first.shape)) as array:
        array[0] = first
        for k, state in enumerate(states, 1):
            if not np.isfinite(state).all():
                raise FloatingPointError(f"the nature run blew up after {k} steps of {STEP}")
            array[k] = state


def segments(seed: int) -> dict[str, Tensor]:
    """Return the spectral state of the nature run at the start of each segment."""
    from models.training.nature import spun_up
    from models.world.nature import nature_model

    nature = nature_model()
    return {
        name: spun_up([pd.Timestamp(start)], 1000 * seed + 101 + k, nature)
        for k, (name, start) in enumerate(SEGMENTS.items())
    }


def period_trajectories(
    config: Config, period: Period, root: str
) -> tuple[StateSpec, Trajectories]:
    """Return the states of the reference's data in a period, as one stream.

    Up to `train.in_memory` are read at once; of more, a state is read when it is asked for.
    """
    from tasks.components import Components

    reference = Components(config).gridded()
    step = pd.Timedelta(config.step)
    reference.check(pd.Timestamp(period.start), pd.Timestamp(period.end), step)
    times = pd.date_range(period.start, period.end, freq=step)
    if len(times) * reference.state_bytes > config.train.in_memory * 1e9:
        states: StateArray = ArchiveStates(reference, times)
    else:
        states = reference.states(list(times)).numpy()[:, None]
    return reference.spec, Trajectories(states, (times[0],), step)


def side_by_side(work: Sequence[Callable[[], object]], processes: int) -> list[object]:
    """Run functions in processes of their own and return their results in order."""
    if len(work) == 1:
        return [work[0]()]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(call, work))


def call(function: Callable[[], object]) -> object:
    """Call a function."""
    return function()
