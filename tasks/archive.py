"""Fields at rest: the files of an attempt, and the one archive that people read.

An attempt writes a state as one safetensors file, the fastest to write and to verify. `publish`
copies committed states into ROOT/NAME.zarr, dims (time, [member,] level, latitude, longitude), CF
names and units. What a published time looks like depends on nothing but its content (see
`archive_zarr`), so publishing may be interrupted at any instant, repeated, and done in any order
or by several at once, and the bytes come out the same. Publishing does not wait for the disk, as
the attempts are safe there: after a power cut, publish the last cycles again.
"""

import json

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.state import StateSpec
from tasks import store
from tasks.archive_zarr import METADATA, Series, chunk_key, decode_file, length_of
from tasks.messages import difference
from tasks.tables import read_table, read_tables, write_table

__all__ = [
    "open_archive",
    "publish",
    "read_fields",
    "read_published",
    "read_table",
    "read_tables",
    "write_fields",
    "write_table",
]

STAGING = ".staging"

States = Float[Tensor, "member field lat lon"]


def write_fields(address: str, spec: StateSpec, x: States, valid_time: pd.Timestamp) -> None:
    """Write states of one time as one file, without waiting for the disk (the commit does).

    Raises:
        ValueError: The states have another layout.
    """
    _require_layout(address, spec, x)
    about = {"fields": list(spec.field_names), "valid_time": valid_time.isoformat()}
    # One key: safetensors does not keep the order of several.
    data = save({"x": x.detach().cpu().contiguous()}, {"state": json.dumps(about)})
    store.write_bytes(address, data, durable=False)


def read_fields(address: str) -> States:
    """Return states that `write_fields` wrote.

    Raises:
        ValueError: The file is not one of them.
    """
    data = store.read_bytes(address)
    try:
        return load(data)["x"]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{address} is no file of states: {error}") from error


def publish(
    root: str,
    name: str,
    spec: StateSpec,
    start: pd.Timestamp,
    step: pd.Timedelta,
    cycle_time: pd.Timestamp,
    x: States,
) -> None:
    """Put the states of one cycle into the archive ROOT/NAME.zarr.

    Args:
        root: Address of the experiment.
        name: Name of the archive, such as analysis.
        spec: Layout of the states.
        start: First cycle time.
        step: Time between cycles.
        cycle_time: Time of the states, start + n step.
        x: States; with more than one member the archive has a dimension `member`.

    Raises:
        ValueError: The time or the states do not fit the archive.
    """
    address = _address(root, name)
    _require_layout(address, spec, x)
    series = Series(_dataset(spec, x, cycle_time), start, step, _index(start, step, cycle_time))
    # Objects do not get lost: what no time changes is there since the group's metadata are.
    settled = _require_same(address, series) and store.is_remote(address)
    staging = store.join(root, STAGING)
    chunks, length = series.changing(series.chunks(), settled), _length(address, series)
    while True:
        length = max(length, series.index + 1)
        documents = series.changing(series.documents(length), settled)
        store.write_many(address, chunks, documents, durable=False, staging=staging)
        # Whoever published a later time meanwhile may have lost its length to this one.
        found = _length(address, series)
        if found <= length:
            break
        chunks, length = {}, found
    store.sweep(staging)


def open_archive(root: str, name: str) -> xr.Dataset:
    """Open a published archive lazily.

    Raises:
        ValueError: Nothing was published.
    """
    if not store.exists(store.join(_address(root, name), METADATA)):
        raise ValueError(f"{_address(root, name)}: nothing is published there")
    return store.open_dataset(_address(root, name))


def read_published(root: str, name: str, spec: StateSpec, time: pd.Timestamp) -> States:
    """Return the states of one time of a published archive, its files read at once.

    Raises:
        ValueError: Nothing was published, not this time, or states of another layout.
    """
    address = _address(root, name)
    try:
        group = json.loads(store.read_bytes(store.join(address, METADATA)))
    except FileNotFoundError:
        raise ValueError(f"{address}: nothing is published there") from None
    arrays = group["consolidated_metadata"]["metadata"]
    lacking = [v.name for v in spec.variables if v.name not in arrays]
    if lacking:
        raise ValueError(f"{address} has no variable {lacking[0]!r}; present: {', '.join(arrays)}")
    about = group["attributes"]
    index = _index(pd.Timestamp(about["start"]), pd.Timedelta(about["step"]), time)
    keys = {v.name: f"{v.name}/{chunk_key(arrays[v.name], index)}" for v in spec.variables}
    try:
        contents = store.read_many(address, list(keys.values()))
    except FileNotFoundError:
        raise ValueError(f"{address}: {time.isoformat()} is not published") from None
    parts = []
    for v in spec.variables:
        values = decode_file(contents[keys[v.name]], arrays[v.name])[0]
        values = values if v.levels else values[..., None, :, :]
        if v.levels and v.levels != spec.levels:
            values = values[..., [spec.levels.index(level) for level in v.levels], :, :]
        parts.append(values if values.ndim == 4 else values[None])
    x = torch.from_numpy(np.concatenate(parts, 1))
    _require_layout(address, spec, x)
    return x


def _address(root: str, name: str) -> str:
    return store.join(root, f"{name}.zarr")


def _dataset(spec: StateSpec, x: States, cycle_time: pd.Timestamp) -> xr.Dataset:
    if len(x) == 1:
        return spec.to_dataset(x, [cycle_time])
    return spec.to_dataset(x[None], [cycle_time], member_dim=True)


def _index(start: pd.Timestamp, step: pd.Timedelta, cycle_time: pd.Timestamp) -> int:
    index, rest = divmod(cycle_time - start, step)
    if rest or index < 0:
        allowed = f"{start.isoformat()} + n × {step.isoformat()}"
        raise ValueError(f"cycle time {cycle_time.isoformat()}: allowed is {allowed}")
    return int(index)


def _require_layout(address: str, spec: StateSpec, x: States) -> None:
    if x.ndim != 4 or not len(x) or tuple(x.shape[1:]) != spec.shape:
        shape, allowed = tuple(x.shape), ("member", *spec.shape)
        raise ValueError(f"{address}: states have the shape {shape}; allowed is {allowed}")


def _require_same(address: str, series: Series) -> bool:
    """Return whether there is an archive; it must differ in nothing but its length."""
    try:
        there = json.loads(store.read_bytes(store.join(address, METADATA)))
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise ValueError(f"{address}: {METADATA} is not JSON: {error}") from error
    try:
        length = there["consolidated_metadata"]["metadata"]["time"]["shape"][0]
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"{address} is another archive: it has no series of times") from None
    found = difference(there, json.loads(json.dumps(series.group(length))))
    if found:
        raise ValueError(f"{address} is another archive: {found}")
    return True


def _length(address: str, series: Series) -> int:
    """Return the number of times for which there are chunks."""
    return length_of(store.names(store.join(address, series.growing[-1])))
