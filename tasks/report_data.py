"""What an experiment left on disk, read for its report.

Only committed and published files are read: the configuration, the ledger's commits, the scores,
the feedback, the archive, and the traces of the committed analyses. What an experiment does not
have (yet) is absent here, never an error; only a directory without a configuration is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.state import StateSpec, Variable
from tasks import archive, store
from tasks.experiment import cycle_name, cycle_time
from tasks.ledger import Commit, Ledger
from tasks.report_numbers import ALL, variables_in
from tasks.report_observations import Departures, departures_of
from tasks.report_style import display_unit

__all__ = ["Material", "Truth", "read_material"]

Truth = Callable[[pd.Timestamp], xr.Dataset]
TRUTH = "truth"
"""File of a verification's attempt with the true state, if it keeps it."""

SCORE_COLUMNS = {
    "cycle_time": "datetime64[ns]", "lead_time": "timedelta64[ns]", "variable": "str",
    "level": "float64", "region": "str", "metric": "str", "source": "str", "value": "float64",
}  # fmt: skip


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

    def feedback(self, time: pd.Timestamp) -> pd.DataFrame | None:
        """Return the feedback of one cycle, if it is published."""
        address = store.join(self.root, "feedback", f"{cycle_name(time)}.parquet")
        return archive.read_table(address) if store.exists(address) else None


def read_material(root: str, truth: Truth | None = None) -> Material:
    """Read an experiment.

    Args:
        root: Directory or s3:// address of the experiment.
        truth: Gives the true state of a time as a dataset, for maps and spectra.

    Raises:
        ValueError: There is no experiment.
    """
    address = store.join(root, "experiment.yaml")
    if not store.exists(address):
        raise ValueError(f"{root}: no experiment there (experiment.yaml is missing)")
    document = yaml.safe_load(store.read_bytes(address))
    commits = read_commits(root)
    scores = [table for _, table in tables(root, "scores")]
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SCORE_COLUMNS.items()})
    joined = pd.concat(scores, ignore_index=True) if scores else empty
    states = read_states(root, variables_in(joined))
    return Material(
        root=root,
        configuration=document.get("configuration", document),
        components=document.get("components", {}),
        commits=commits,
        traces=read_traces(commits),
        scores=joined,
        departures=departures_of(tables(root, "feedback")),
        states=states,
        truth=truth or stored_truth(commits, states.get("analysis")),
    )


def read_commits(root: str) -> tuple[Commit, ...]:
    """Return all commits, in the order of the cycles."""
    ledger = Ledger(root)
    found = (
        ledger.committed(time, stage)
        for time, stages in sorted(ledger.cycles().items())
        for stage in stages
    )
    return tuple(commit for commit in found if commit is not None)


def tables(root: str, folder: str) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
    """Yield the published tables of a folder with their cycle times, in order."""
    for name in store.names(store.join(root, folder)):
        if name.endswith(".parquet"):
            time = cycle_time(name.removesuffix(".parquet"))
            yield time, archive.read_table(store.join(root, folder, name))


def read_traces(commits: tuple[Commit, ...]) -> pd.DataFrame:
    """Return the traces of all analyses in one table, empty if there is none."""
    parts = []
    for commit in (commit for commit in commits if commit.stage == "analysis"):
        rows = commit.summary.get("trace") or read_trace(commit)
        parts.append(pd.DataFrame(rows).assign(cycle_time=commit.cycle_time))
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def read_trace(commit: Commit) -> list[dict[str, float]]:
    """Return the trace that an attempt left; none where the attempt has been cleaned up."""
    try:
        document = json.loads(store.read_bytes(store.join(commit.address, "trace.json")))
    except FileNotFoundError:
        return []
    return [dict(row) for row in document.get("trace", [])]


def read_states(root: str, order: list[str]) -> dict[str, xr.Dataset]:
    """Open the published archive, its variables in the order of the scores, which is the state's.

    A Zarr group lists its variables by the alphabet.
    """
    addresses = {name: store.join(root, f"{name}.zarr") for name in ("analysis", "background")}
    present = {name: address for name, address in addresses.items() if store.exists(address)}
    states = {name: store.open_dataset(address) for name, address in present.items()}
    return {name: ds[[n for n in order if n in ds] or list(ds)] for name, ds in states.items()}


def stored_truth(commits: tuple[Commit, ...], layout: xr.Dataset | None) -> Truth | None:
    """Return a reader of the true states that the verification kept, if it kept any."""
    kept = {
        commit.cycle_time: store.join(commit.address, TRUTH)
        for commit in commits
        if commit.stage == "verification" and TRUTH in commit.digests
    }
    if not kept or layout is None:
        return None
    spec = spec_of(layout)
    return lambda time: spec.to_dataset(archive.read_fields(kept[time]), [time])


def spec_of(layout: xr.Dataset) -> StateSpec:
    """Return the layout of state tensors from published states."""
    pressure = layout.get("level", xr.DataArray()).attrs.get("standard_name") == "air_pressure"
    variables = tuple(
        Variable(
            str(name),
            str(array.attrs.get("standard_name", name)),
            str(array.attrs.get("units", "1")),
            tuple(present_levels(array).tolist()) or None,
        )
        for name, array in layout.data_vars.items()
        if "latitude" in array.dims
    )
    return StateSpec(
        variables, LatLonGrid.from_dataset(layout), "pressure" if pressure else "sigma"
    )


def present_levels(array: xr.DataArray) -> NDArray[np.float64]:
    """Return the levels on which a variable has values; none if it has no levels."""
    if "level" not in array.dims:
        return np.empty(0)
    others = [dim for dim in ("time", "member") if dim in array.dims]
    first = array.isel(dict.fromkeys(others, 0))
    known = first.notnull().any(("latitude", "longitude")).to_numpy()
    return array["level"].to_numpy().astype(np.float64)[known]
