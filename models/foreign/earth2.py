"""earth2studio's prognostic models as forecast models (its protocol of version 0.19).

A prognostic model says its coordinates, an ordered mapping of dimensions: batch, maybe time,
lead_time (the states that it takes, the last at 0), variable, lat, lon. `create_iterator` yields
the initial state, then one or more states a step. Whatever a model draws at random, it draws from
a generator keyed by the states' time, so that a forecast that is repeated is the same.

References:
    | NVIDIA, earth2studio 0.19, earth2studio/models/px/base.py (`PrognosticModel`),
    | https://nvidia.github.io/earth2studio/userguide/components/prognostic.html
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.forecast import ValidTime, each_time
from models.foreign.forecast import check_states, hours, steps_to
from models.foreign.mapping import StateMap
from models.randomness import torch_generator
from models.state import StateSpec

__all__ = ["Coordinates", "Earth2Forecast", "Prognostic"]

Coordinates = OrderedDict[str, NDArray[Any]]
DIMENSIONS = ("lead_time", "variable", "lat", "lon")
MOST_YIELDS = 10_000


@runtime_checkable
class Prognostic(Protocol):
    """What earth2studio's `PrognosticModel` asks for."""

    def __call__(self, x: Tensor, coords: Coordinates) -> tuple[Tensor, Coordinates]:
        """Return the state one step later."""

    def create_iterator(
        self, x: Tensor, coords: Coordinates
    ) -> Iterator[tuple[Tensor, Coordinates]]:
        """Yield the initial state, then those of the forecast."""

    def input_coords(self) -> Coordinates:
        """Return the coordinates of the initial state."""

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Return the coordinates one step after some initial state."""

    def to(self, device: Any) -> "Prognostic":  # noqa: ANN401
        """Move to a device."""


class Earth2Forecast:
    """Forecasts by a prognostic model; implements the seam `ForecastModel`."""

    def __init__(
        self, model: Prognostic, spec: StateSpec, units: Mapping[str, str] | None = None
    ) -> None:
        """Match a model with a state.

        Args:
            model: The model.
            spec: The state.
            units: Units of channels that are not those of earth2studio's lexicon.

        Raises:
            ValueError: The model does not fit the state or this protocol, in one line.
        """
        self.model = model
        coords = model.input_coords()
        self.inputs = checked(coords)
        self.variables = [str(name) for name in self.inputs["variable"]]
        latitude, longitude = (self.inputs[n].astype(np.float64).tolist() for n in ("lat", "lon"))
        self.mapping = StateMap.between(spec, self.variables, latitude, longitude, units)
        self.shape = spec.shape
        leads = [pd.Timedelta(lead) for lead in self.inputs["lead_time"]]
        if len(leads) > 2 or leads[-1] != pd.Timedelta(0):
            found = ", ".join(hours(lead) for lead in leads)
            raise ValueError(
                f"the prognostic model takes the states at {found}; allowed: one or two"
            )
        self.history = -leads[0] if len(leads) == 2 else None
        after = model.output_coords(coords)["lead_time"]
        self.native_step = pd.Timedelta(after[0])
        if self.history not in (None, self.native_step):
            raise ValueError(
                f"the prognostic model takes the state {hours(leads[0])} before and has a step of "
                f"{hours(self.native_step)}; allowed: the same"
            )
        lacking = [n for n in self.variables if n not in model.output_coords(coords)["variable"]]
        if lacking:
            raise ValueError(f"the prognostic model does not forecast {lacking[0]!r}")

    @property
    def steps(self) -> list[pd.Timedelta]:
        """The model's step."""
        return [self.native_step]

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time` [SI].

        Args:
            x: States valid at `valid_time` [SI]; with memory, after those before them.
            valid_time: Time of the states, UTC; one for all, or one for each.
            lead: How far to go, a multiple of the model's step.

        Raises:
            ValueError: The lead is no multiple, or the states do not fit.
            FloatingPointError: The model gave values that are not finite.
        """
        steps_to(lead, self.steps)
        check_states(x, self.shape, self.history)
        times = each_time(valid_time, len(x))
        if len(set(times)) > 1:
            parts = [self.step(own[None], time, lead) for own, time in zip(x, times, strict=True)]
            return torch.cat(parts)
        states = len(self.inputs["lead_time"])
        c = self.mapping.to_channels(x.cpu().reshape(-1, *self.shape))
        c = c.reshape(-1, states, *c.shape[1:])
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(torch_generator(0, times[0], "forecast model").initial_seed())
            before = [] if self.history is None else [lead - self.history]
            found = self._states_at(c, times[0], [*before, lead])
        if not found.isfinite().all():
            raise FloatingPointError("the forecast model gave values that are not finite")
        return self.mapping.to_states(found.flatten(0, 1)).reshape(x.shape).to(x.device)

    def _states_at(
        self, c: Tensor, time: pd.Timestamp, leads: list[pd.Timedelta]
    ) -> Float[Tensor, "batch state channel lat lon"]:
        """Return the channels at some lead times of one forecast, in order."""
        coords: Coordinates = OrderedDict(ensemble=np.arange(len(c)))
        coords["time"] = np.array([time.to_datetime64()], "datetime64[ns]")
        coords.update((name, self.inputs[name]) for name in DIMENSIONS)
        known = {pd.Timedelta(t): c[:, i] for i, t in enumerate(self.inputs["lead_time"])}
        iterator = self.model.create_iterator(c[:, None], coords)
        for out, out_coords in islice(iterator, MOST_YIELDS):
            known.update(self._named(out, out_coords))
            if max(known) >= leads[-1]:
                break
        lacking = [lead for lead in leads if lead not in known]
        if lacking:
            raise ValueError(f"the prognostic model gave no state after {hours(lacking[0])}")
        return torch.stack([known[lead] for lead in leads], 1)

    def _named(self, out: Tensor, coords: Coordinates) -> dict[pd.Timedelta, Tensor]:
        """Return the states of one yield by lead time, with the channels in the input's order."""
        names = [str(name) for name in coords["variable"]]
        order = [names.index(name) for name in self.variables]
        leads = [pd.Timedelta(lead) for lead in coords["lead_time"]]
        values = out.reshape(-1, len(leads), len(names), *out.shape[-2:]).cpu().float()
        return {lead: values[:, number][:, order] for number, lead in enumerate(leads)}


def checked(coords: Coordinates) -> Coordinates:
    """Return the coordinates of a model that can be used here.

    Raises:
        ValueError: They are others; the message says which.
    """
    if not isinstance(coords, Mapping):
        raise ValueError(  # noqa: TRY004  (a mistake in the input)
            f"input_coords of the prognostic model are {type(coords).__name__}; allowed: an "
            "ordered mapping, as in earth2studio 0.19"
        )
    names = [name for name in coords if name not in ("batch", "time")]
    if names != list(DIMENSIONS) or coords["lat"].ndim > 1:
        raise ValueError(
            f"the prognostic model has the dimensions {', '.join(coords)}; allowed: batch, "
            f"{', '.join(DIMENSIONS)}, with latitudes and longitudes along axes of their own"
        )
    return OrderedDict((name, np.asarray(coords[name])) for name in names)
