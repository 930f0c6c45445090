"""What an experiment left on disk, read for its report.

Only committed and published files are read: the configuration, the ledger's commits, the scores,
the feedback, the archive, and the traces of the committed analyses. What an experiment does not
have (yet) is absent here, never an error; only a directory without a configuration is refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr
import yaml

from models.grid import LatLonGrid
from models.state import StateSpec, Variable
from tasks import archive, store
from tasks.experiment import cycle_time
from tasks.ledger import Commit, Ledger
from tasks.report_material import Material, Truth, present_levels
from tasks.report_numbers import variables_in
from tasks.report_observations import departures_of
from tasks.streams import sources_of

__all__ = ["read_material"]

COMPONENTS = "components"  # the digests in experiment.yaml
TRACE, TRUTH = "trace.json", "truth"  # files of an analysis and of a verification

SCORE_COLUMNS = {
    "cycle_time": "datetime64[ns]", "lead_time": "timedelta64[ns]", "variable": "str",
    "level": "float64", "region": "str", "metric": "str", "source": "str", "value": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class StoredTruth:
    """The true states that an experiment keeps: addresses by time, and their layout."""

    spec: StateSpec
    addresses: Mapping[pd.Timestamp, str]

    def __call__(self, time: pd.Timestamp) -> xr.Dataset:
        """Return the true state of a time."""
        return self.spec.to_dataset(archive.read_fields(self.addresses[time]), [time])


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
    truth = truth or stored_truth(commits, states.get("analysis"))
    return Material(
        root=root,
        configuration={key: value for key, value in document.items() if key != COMPONENTS},
        components=document.get(COMPONENTS, {}),
        commits=commits,
        traces=read_traces(commits),
        scores=joined,
        departures=departures_of(tables(root, "feedback")),
        states=states,
        truth=truth,
        true_times=frozenset(truth.addresses) if isinstance(truth, StoredTruth) else None,
    )


def read_commits(root: str) -> tuple[Commit, ...]:
    """Return all commits, in the order of the cycles; of a joined archive those of its streams."""
    return tuple(
        ledger.read(time, stage, standing.generation)
        for ledger, times in ((Ledger(source), times) for source, times in sources_of(root))
        for (time, stage), standing in ledger.standings().items()
        if standing.committed and (times is None or time in times)
    )


def tables(root: str, folder: str) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
    """Yield the published tables of a folder with their cycle times, in order."""
    for name in store.names(store.join(root, folder)):
        if name.endswith(".parquet"):
            time = cycle_time(name.removesuffix(".parquet"))
            yield time, archive.read_table(store.join(root, folder, name))


def read_traces(commits: tuple[Commit, ...]) -> pd.DataFrame:
    """Return the traces of all analyses in one table, empty if there is none."""
    parts = [
        pd.DataFrame(read_trace(commit)).assign(cycle_time=commit.cycle_time)
        for commit in commits
        if commit.stage == "analysis"
    ]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def read_trace(commit: Commit) -> list[dict[str, Any]]:
    """Return the trace that an attempt left; none where the attempt has been cleaned up."""
    kept = commit.summary.get("trace")
    if isinstance(kept, list):
        return [dict(row) for row in kept if isinstance(row, dict)]
    try:
        document = json.loads(store.read_bytes(store.join(commit.address, TRACE)))
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
    return {
        name: ds[[n for n in order if n in ds] or [*ds.data_vars]] for name, ds in states.items()
    }


def stored_truth(commits: tuple[Commit, ...], layout: xr.Dataset | None) -> StoredTruth | None:
    """Return the true states that the verification kept, if they are still there."""
    verified = [commit for commit in commits if commit.stage == "verification"]
    addresses = {c.cycle_time: store.join(c.address, TRUTH) for c in verified}
    kept = {time: address for time, address in addresses.items() if store.exists(address)}
    return StoredTruth(spec_of(layout), kept) if kept and layout is not None else None


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
