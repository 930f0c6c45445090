"""What the report is made of: an experiment's tables and states, and how people name them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tasks import archive, store
from tasks.experiment import cycle_name
from tasks.ledger import Commit
from tasks.report_numbers import ALL, variables_in
from tasks.report_observations import Departures
from tasks.report_style import display_unit

__all__ = ["Material", "Truth", "present_levels"]

Truth = Callable[[pd.Timestamp], xr.Dataset]


@dataclass(frozen=True)
class Material:
    """All that the report is made of.

    Attributes:
        root: Address of the experiment.
        configuration: What makes the experiment.
        components: Digest of each component.
        commits: Committed stages in order of time.
        traces: Rows of the methods' traces with their `cycle_time`.
        scores: The long table.
        departures: Statistics of O-B and O-A.
        states: The published `analysis` and `background`.
        truth: Gives the true state of a time, if known.
        true_times: Times whose true state is known; None if it is for all.
    """

    root: str
    configuration: Mapping[str, Any]
    components: Mapping[str, str]
    commits: tuple[Commit, ...]
    traces: pd.DataFrame
    scores: pd.DataFrame
    departures: Departures
    states: Mapping[str, xr.Dataset]
    truth: Truth | None
    true_times: frozenset[pd.Timestamp] | None = None

    @cached_property
    def cycle_times(self) -> list[pd.Timestamp]:
        """Cycle times that are scored, in order."""
        return [pd.Timestamp(time) for time in np.sort(self.scores["cycle_time"].unique())]

    @cached_property
    def spin_up_end(self) -> pd.Timestamp | None:
        """First cycle time that counts; None if the last one comes before it."""
        count = int(self.configuration.get("spin_up", 0))
        return self.cycle_times[count] if count < len(self.cycle_times) else None

    @cached_property
    def counted(self) -> pd.DataFrame:
        """Scores after the spin-up; all, if there is nothing after it."""
        return self.scores[self.scores["cycle_time"].map(self.is_counted).astype(bool)]

    @property
    def counted_times(self) -> list[pd.Timestamp]:
        """Cycle times after the spin-up; all, if there is nothing after it."""
        return [time for time in self.cycle_times if self.is_counted(time)]

    def is_counted(self, time: pd.Timestamp) -> bool:
        """Tell whether a cycle is past the spin-up."""
        return self.spin_up_end is None or bool(time >= self.spin_up_end)

    @cached_property
    def layout(self) -> xr.Dataset:
        """The published states, for their names, units and coordinates; empty if there is none."""
        return next(iter(self.states.values()), xr.Dataset())

    def unit(self, variable: str) -> tuple[float, str]:
        """Return factor and unit in which a variable is shown."""
        return display_unit(str(self._attribute(variable, "units")))

    def title(self, variable: str) -> str:
        """Return a variable's name for people."""
        if variable == ALL:
            return "all variables"
        return f"{self._attribute(variable, 'long_name')} {variable}".strip()

    def _attribute(self, variable: str, name: str) -> object:
        return self.layout[variable].attrs.get(name, "") if variable in self.layout else ""

    @cached_property
    def titles(self) -> dict[str, str]:
        """Variables in the order of the state, then the row for all, with their names."""
        return {name: self.title(name) for name in [*variables_in(self.scores), ALL]}

    @property
    def is_pressure(self) -> bool:
        """Whether levels are pressures."""
        names = self.layout["level"].attrs if "level" in self.layout.coords else {}
        return str(names.get("standard_name", "")) == "air_pressure"

    def field_title(self, variable: str, level: float) -> str:
        """Return a field's name for people; the level is NaN where there is none."""
        where = f"{level:g} hPa" if self.is_pressure else f"σ = {level:.2g}"
        return self.title(variable) + ("" if np.isnan(level) else f" at {where}")

    def true_state(self, time: pd.Timestamp) -> xr.Dataset | None:
        """Return the true state of a time, if it is known."""
        known = self.true_times is None or time in self.true_times
        return self.truth(time) if self.truth is not None and known else None

    def feedback(self, time: pd.Timestamp) -> pd.DataFrame | None:
        """Return the feedback of one cycle, if it is published."""
        address = store.join(self.root, "feedback", f"{cycle_name(time)}.parquet")
        return archive.read_table(address) if store.exists(address) else None


def present_levels(array: xr.DataArray) -> NDArray[np.float64]:
    """Return the levels on which a variable has values; none if it has no levels."""
    if "level" not in array.dims:
        return np.empty(0)
    others = [dim for dim in ("time", "member") if dim in array.dims]
    first = array.isel(dict.fromkeys(others, 0))
    known = first.notnull().any(("latitude", "longitude")).to_numpy()
    return np.asarray(array["level"].to_numpy()[known], np.float64)
