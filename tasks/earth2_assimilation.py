"""A configuration's analyses as earth2studio's `AssimilationModel` (its protocol of version 0.19).

    model = LOSDA("embedded")
    (analysis,) = model(background, observations)

    cycles = model.create_generator(background)
    next(cycles)                                  # the background itself
    (analysis,) = cycles.send(observations)       # at the background's time
    (analysis,) = cycles.send(more)               # one cycle step later, from the forecast

States are arrays (…, time, [lead_time,] variable, lat, lon) with earth2studio's names, in any
order of the variables and rows; an `ensemble` dimension before them holds members. Observations
have earth2studio's columns: a variable such as `t500`, `u10m`, or `t` with a pressure. Its schema
has no error; where there is no column `error`, it is a part of the climatological deviation. The
analyses are those of a cycle with the configuration, bit for bit.

References:
    | NVIDIA, earth2studio 0.19, earth2studio/models/da/base.py and lexicon/base.py,
    | https://nvidia.github.io/earth2studio/main/userguide/components/data_assimilation/
"""

from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from configs import Config
from models.device import device_of
from models.forecast import ForecastModel, before, history_of, latest, trajectory, with_history
from models.foreign.channels import channel, channels_of
from models.foreign.mapping import StateMap
from models.observations.background import WindowBackground
from models.plausibility import check_plausible
from models.state import StateSpec
from tasks.components import Components
from tasks.earth2_tables import own_table
from tasks.notebook import Assimilation

__all__ = ["LOSDA", "Coordinates"]

Coordinates = OrderedDict[str, NDArray[Any]]
Frame = pd.DataFrame | None
AXES = ("variable", "lat", "lon")
NO_HISTORY = np.timedelta64(0, "h")


@dataclass(frozen=True)
class Given:
    """A state as it was given, for what is returned to be like it.

    Attributes:
        array: The array.
        mapping: The way between its channels and the states of the configuration.
        time: Its valid time, UTC.
    """

    array: xr.DataArray
    mapping: StateMap
    time: pd.Timestamp

    def like(
        self, x: Float[Tensor, "member field lat lon"], time: pd.Timestamp
    ) -> tuple[xr.DataArray]:
        """Return states of a time in the same order and with the same dimensions."""
        template = self.array
        if "lead_time" in template.dims:
            template = template.isel(lead_time=[-1]).assign_coords(lead_time=[NO_HISTORY])
        template = template.assign_coords(time=[time.to_datetime64()])
        values = self.mapping.to_channels(x).numpy().reshape(template.shape)
        return (template.copy(data=values),)


class LOSDA:
    """LO-SDA, or whatever method the configuration names, for earth2studio."""

    def __init__(
        self,
        config: Config | str | Path = "embedded",
        overrides: Sequence[str] = (),
        error: float = 0.1,
    ) -> None:
        """Load a configuration's components.

        Args:
            config: A configuration, or the name of a preset, or the path of a YAML file.
            overrides: Settings such as `method.preset=paper`.
            error: Observation error where the table has none, in climatological deviations.

        Raises:
            ValueError: The configuration or a component is wrong.
        """
        self.assimilation = Assimilation(config, overrides)
        self.spec: StateSpec = self.assimilation.spec
        self.variables, self.error = channels_of(self.spec), error

    @cached_property
    def forecast_model(self) -> ForecastModel:
        """The model between cycles."""
        parts = Components(self.assimilation.experiment.config)
        return parts.forecast_model(self.assimilation.statistics, self.spec)

    def __call__(self, x: xr.DataArray, obs: Frame = None) -> tuple[xr.DataArray]:
        """Return the analysis at the background's time.

        Args:
            x: Background with one time.
            obs: Observations of the window around it; none leave the background.

        Raises:
            ValueError: An argument does not fit the configuration, in one line.
        """
        given = self.given(x)
        states = latest(self.states(given, ()), self.spec.n_fields)
        background = WindowBackground(given.time, {given.time: states})
        return given.like(self.analysis(background, obs), given.time)

    def create_generator(
        self, x: xr.DataArray
    ) -> Generator[tuple[xr.DataArray], Frame | tuple[Frame, ...], None]:
        """Cycle: yield the background, then for the observations of each cycle its analysis.

        Args:
            x: Background at the first cycle time; for a forecast model with memory also that
                before, at the other lead time of `init_coords`.

        Raises:
            ValueError: An argument does not fit the configuration, in one line.
        """
        given, fields, step = self.given(x), self.spec.n_fields, self.assimilation.experiment.step
        history = history_of(self.forecast_model)
        time, stepped = given.time, self.states(given, self.leads)
        states = {time: stepped}
        obs = yield given.like(latest(stepped, fields), time)
        while True:
            own = {valid_time: latest(each, fields) for valid_time, each in states.items()}
            x_a = self.analysis(WindowBackground(time, own), first(obs))
            x_before = None if history is None else before(states[time], fields)
            obs = yield given.like(x_a, time)
            begin, time = time, time + step
            times = self.assimilation.experiment.background_times(time)
            carried = with_history(x_before, x_a)
            states = trajectory(self.forecast_model, carried, begin, times)

    @property
    def leads(self) -> tuple[np.timedelta64, ...]:
        """Lead times of the states from which a cycle starts."""
        history = history_of(self.forecast_model)
        own = () if history is None else (-history.to_timedelta64(),)
        return (*own, NO_HISTORY)

    def init_coords(self) -> tuple[Coordinates]:
        """Return the coordinates of the background."""
        head = {"time": np.empty(0, "datetime64[ns]"), "lead_time": np.array(self.leads)}
        return (OrderedDict(head | self.axes),)

    def input_coords(self) -> tuple[Coordinates]:
        """Return the columns of the observations; `variable` holds the names that are used."""
        names = {*self.variables, *(c.quantity.names[0] for c in map(channel, self.variables))}
        numbers = dict.fromkeys(("lat", "lon", "pres", "observation"), np.empty(0, np.float32))
        times = {"time": np.empty(0, "datetime64[ns]")}
        return (OrderedDict(times | numbers | {"variable": np.array(sorted(names))}),)

    def output_coords(
        self,
        input_coords: Iterable[Coordinates] = (),
        request_time: NDArray[np.datetime64] | None = None,
        **_: Any,  # noqa: ANN401
    ) -> tuple[Coordinates]:
        """Return the coordinates of an analysis of a background with some coordinates.

        Raises:
            ValueError: They do not fit the configuration.
        """
        grids = (coords for coords in input_coords if "observation" not in coords)
        found = OrderedDict(next(grids, self.axes))
        self.mapping(*(found[name] for name in AXES))
        times = found.get("time", np.empty(0, "datetime64[ns]"))
        head = {"time": times if request_time is None else np.atleast_1d(request_time)}
        return (OrderedDict(head | {name: found[name] for name in AXES}),)

    def to(self, device: object) -> "LOSDA":
        """Let models and methods compute on a device, and return this.

        States are given and returned on the processor (see `models.device`).

        Args:
            device: `cpu`, `cuda`, `cuda:N`, or torch's device of that name.

        Raises:
            ValueError: There is no such device.
        """
        asked = torch.device(str(device))
        if asked.type not in ("cpu", "cuda"):
            raise ValueError(f"device: {str(asked)!r}; allowed: cpu, cuda, cuda:N")
        config = self.assimilation.experiment.config
        if device_of(str(asked)) != device_of(config.device):
            moved = config.model_copy(update={"device": str(asked)})
            self.assimilation = Assimilation(moved)
            self.__dict__.pop("forecast_model", None)
        return self

    @property
    def axes(self) -> dict[str, NDArray[Any]]:
        """Variables, latitudes and longitudes of the configuration's states."""
        grid = self.spec.grid
        return {
            "variable": np.array(self.variables),
            "lat": np.array(grid.latitude),
            "lon": np.array(grid.longitude),
        }

    def mapping(
        self, variable: NDArray[Any], latitude: NDArray[Any], longitude: NDArray[Any]
    ) -> StateMap:
        """Return the way between channels on a grid and the configuration's states."""
        axes = (np.asarray(axis, np.float64).tolist() for axis in (latitude, longitude))
        return StateMap.between(self.spec, [str(name) for name in variable], *axes)

    def given(self, x: xr.DataArray) -> Given:
        """Return a state as it was given, checked."""
        dims = [str(dim) for dim in x.dims]
        plain = [dim for dim in dims if dim not in ("ensemble", "lead_time")]
        if plain != ["time", *AXES] or "ensemble" in dims[1:]:
            needed = "[ensemble, ]time, [lead_time, ]variable, lat, lon"
            raise ValueError(f"background: dimensions {', '.join(dims)}; needed: {needed}")
        if x.sizes["time"] != 1:
            raise ValueError(f"background: {x.sizes['time']} times; allowed: 1")
        mapping = self.mapping(*(x[name].values for name in AXES))
        lead = x["lead_time"].values[-1] if "lead_time" in dims else NO_HISTORY
        return Given(x, mapping, pd.Timestamp(x["time"].values[0]) + pd.Timedelta(lead))

    def states(self, given: Given, leads: Sequence[np.timedelta64]) -> Tensor:
        """Return the states that were given, after those before them if leads are asked for."""
        x, count = given.array, max(1, len(leads))
        if "lead_time" in x.dims:
            found = [lead - x["lead_time"].values[-1] for lead in x["lead_time"].values]
            if leads and found != list(leads):
                raise ValueError(f"background: lead times {found}; needed: {list(leads)}")
            count = len(found)
        elif len(leads) > 1:
            raise ValueError(f"background: no lead times; needed: {list(leads)}")
        values = np.array(x.values, np.float32).reshape(-1, *x.shape[-3:])
        states = given.mapping.to_states(torch.from_numpy(values))
        try:
            check_plausible(states, self.spec)
        except ValueError as error:
            raise ValueError(f"background: {error}") from None
        return states.reshape(-1, count * self.spec.n_fields, *self.spec.grid.shape)

    def analysis(self, background: WindowBackground, obs: Frame) -> Tensor:
        """Return the analysis of a background and a table of earth2studio's."""
        if obs is None or not len(obs):
            return background.x_b
        table = own_table(obs, self.spec, self.assimilation.statistics.std, self.error)
        return self.assimilation.analysis(background, table)[0].x_a


def first(obs: Frame | tuple[Frame, ...]) -> Frame:
    """Return the table that was sent, alone or as the only one of a tuple."""
    return obs[0] if isinstance(obs, tuple) else obs
