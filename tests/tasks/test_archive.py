import json
import multiprocessing
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr
from torch import Tensor
from zarr.core.metadata import ArrayV3Metadata

from models.grid import LatLonGrid
from models.state import StateSpec, Variable, embedded_spec
from tasks import archive, store
from tasks.archive_zarr import encode_chunk

START = pd.Timestamp("2001-01-01")
STEP = pd.Timedelta(hours=6)
CYCLES = 12
NAMES = ("analysis", "background")


def states(spec: StateSpec, k: int, members: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(k)
    return 250 + 10 * torch.randn(members, *spec.shape, generator=generator)


def publish(
    root: str, spec: StateSpec, order: list[int], members: int = 1, name: str = "analysis"
) -> None:
    for k in order:
        x = states(spec, k, members)
        archive.publish(root, name, spec, START, STEP, START + k * STEP, x)


def tree(root: str, name: str = "analysis") -> dict[str, str]:
    return store.digests(store.join(root, f"{name}.zarr"))


@pytest.mark.parametrize("members", [1, 3])
def test_fields_come_back_bit_for_bit(root: str, small_spec: StateSpec, members: int) -> None:
    x = states(small_spec, 0, members)
    address = store.join(root, "background")
    archive.write_fields(address, small_spec, x, START)
    assert torch.equal(archive.read_fields(address), x)


def test_the_same_fields_have_the_same_bytes(tmp_path: Path, small_spec: StateSpec) -> None:
    x = states(small_spec, 0, 2)
    strided = x.transpose(2, 3).contiguous().transpose(2, 3)
    for name, value in (("a", x), ("b", strided)):
        archive.write_fields(str(tmp_path / name), small_spec, value, START)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\0" * 100])
def test_a_broken_file_of_fields_is_named(tmp_path: Path, content: bytes) -> None:
    store.write_bytes(tmp_path / "x", content)
    with pytest.raises(ValueError, match="x is no file of states"):
        archive.read_fields(str(tmp_path / "x"))


@pytest.mark.parametrize("members", [1, 2])
def test_the_archive_holds_what_was_published(
    root: str, small_spec: StateSpec, members: int
) -> None:
    publish(root, small_spec, [0, 1, 2], members)
    ds = archive.open_archive(root, "analysis")
    dims = ("time", "latitude", "longitude") if members == 1 else ("time", "member")
    assert ds["sp"].dims[: len(dims)] == dims
    for k in range(3):
        one = ds.isel(time=k)
        each = [one] if members == 1 else [one.sel(member=m) for m in range(members)]
        x = torch.cat([small_spec.to_tensor(ds) for ds in each])
        assert torch.equal(x, states(small_spec, k, members))


def test_the_archive_is_read_by_plain_xarray(root: str, small_spec: StateSpec) -> None:
    publish(root, small_spec, [0, 1, 2])
    address = store.join(root, "analysis.zarr")
    for consolidated in (False, None):
        ds = xr.open_zarr(address, consolidated=consolidated)
        expected = small_spec.to_dataset(
            torch.cat([states(small_spec, k) for k in range(3)]),
            [START + k * STEP for k in range(3)],
        )
        found = ds.drop_attrs(deep=False).set_coords("ptop")
        xr.testing.assert_identical(found, expected.drop_attrs(deep=False))
        assert ds["time"].dtype == "datetime64[ns]"
        assert ds["t"].attrs["standard_name"] == "air_temperature"
        assert ds["t"].attrs["units"] == "K"
        assert ds.attrs["Conventions"] == "CF-1.11"
        assert ds["t"].encoding["chunks"][0] == 1


def test_the_documents_are_what_zarr_writes(tmp_path: Path, small_spec: StateSpec) -> None:
    publish(str(tmp_path), small_spec, [0])
    here, other = tmp_path / "analysis.zarr", tmp_path / "other.zarr"
    group = zarr.open_group(here, mode="r", use_consolidated=False)
    copy = zarr.create_group(other)
    for name, array in group.arrays():
        assert isinstance(array.metadata, ArrayV3Metadata)
        new = copy.create_array(
            name,
            shape=array.shape,
            chunks=array.chunks,
            dtype=array.dtype,
            compressors=array.compressors,
            fill_value=array.fill_value,
            dimension_names=array.metadata.dimension_names,
            attributes=dict(array.attrs),
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )
        new[...] = array[...]
        written, expected = (
            json.loads((folder / name / "zarr.json").read_text()) for folder in (here, other)
        )
        assert written == expected
        for chunk in (other / name).glob("c*"):
            if name != "time":
                assert (here / name / chunk.name).read_bytes() == chunk.read_bytes()


def test_a_chunk_is_little_endian_whatever_the_machine() -> None:
    values = np.arange(5, dtype="<i4")
    assert encode_chunk(values.astype(">i4")) == encode_chunk(values)


def test_order_and_repetition_leave_the_same_bytes(root: str, small_spec: StateSpec) -> None:
    straight, shuffled = store.join(root, "a"), store.join(root, "b")
    publish(straight, small_spec, list(range(5)))
    publish(shuffled, small_spec, [3, 0, 3, 4, 1, 0, 2, 4])
    assert tree(straight) == tree(shuffled)
    assert len(tree(straight)) > 30


def test_a_gap_reads_as_missing(tmp_path: Path, small_spec: StateSpec) -> None:
    publish(str(tmp_path), small_spec, [0, 2])
    ds = archive.open_archive(str(tmp_path), "analysis")
    assert ds.sizes["time"] == 3
    assert ds["t"].isnull().all(("level", "latitude", "longitude")).values.tolist() == [
        False,
        True,
        False,
    ]
    assert ds["time"].values[1] == (START + STEP).to_datetime64()


def test_times_beyond_one_chunk_of_the_coordinate(tmp_path: Path, small_spec: StateSpec) -> None:
    publish(str(tmp_path), small_spec, [1025, 0])
    times = archive.open_archive(str(tmp_path), "analysis")["time"]
    assert times.sizes["time"] == 1026
    assert times.values[-1] == (START + 1025 * STEP).to_datetime64()
    publish(str(tmp_path), small_spec, [1023])
    assert times.values[1023] == (START + 1023 * STEP).to_datetime64()


def publish_for_ever(root: str, spec: StateSpec, fields: list[Tensor], seed: int) -> None:
    order = list(range(CYCLES))
    while True:
        for k in order:
            for name in NAMES:
                archive.publish(root, name, spec, START, STEP, START + k * STEP, fields[k])
        random.Random(seed).shuffle(order)


def test_killed_publishers_leave_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    spec, root, straight = embedded_spec(), str(tmp_path / "killed"), str(tmp_path / "straight")
    fields = [states(spec, k) for k in range(CYCLES)]
    for name in NAMES:
        publish(straight, spec, list(range(CYCLES)), name=name)
    generator, fork = random.Random(1), multiprocessing.get_context("fork")
    for seed in range(12):
        pair = [
            fork.Process(target=publish_for_ever, args=(root, spec, fields, seed + i), daemon=True)
            for i in range(2)
        ]
        for process in pair:
            process.start()
        for process in pair:
            time.sleep(generator.uniform(0.0, 0.1))
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
        if store.exists(store.join(root, "analysis.zarr", "zarr.json")):
            assert xr.open_zarr(store.join(root, "analysis.zarr"))["t"].load().sizes["time"] > 0
    for name in NAMES:
        publish(root, spec, list(range(CYCLES)), name=name)
        assert tree(root, name) == tree(straight, name)
        assert not list(Path(root, f"{name}.zarr").rglob(".*"))
    assert not list(Path(root, ".staging").iterdir())


def test_publishers_at_the_same_time_lose_no_cycle(root: str, small_spec: StateSpec) -> None:
    orders = [list(range(first, CYCLES, 3)) for first in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda order: publish(root, small_spec, order), orders))
    straight = store.join(root, "straight")
    publish(straight, small_spec, list(range(CYCLES)))
    assert tree(root) == tree(straight)


def test_a_publisher_that_comes_back_late_does_not_shorten_the_archive(
    root: str, small_spec: StateSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(root, small_spec, [0])
    write, stopped = store.write_many, {True}

    def write_late(address: str, *batches: dict[str, bytes], durable: bool, staging: str) -> None:
        if stopped:
            stopped.clear()
            publish(root, small_spec, [2, 3])
        write(address, *batches, durable=durable, staging=staging)

    monkeypatch.setattr(store, "write_many", write_late)
    publish(root, small_spec, [1])
    assert not stopped
    assert archive.open_archive(root, "analysis").sizes["time"] == 4


@pytest.mark.parametrize("hours", [3, -6])
def test_a_time_between_the_cycles_is_refused(
    tmp_path: Path, small_spec: StateSpec, hours: int
) -> None:
    time, x = START + pd.Timedelta(hours=hours), states(small_spec, 0)
    with pytest.raises(ValueError, match=r"allowed is 2001-01-01T00:00:00 \+ n × P0DT6H0M0S"):
        archive.publish(str(tmp_path), "analysis", small_spec, START, STEP, time, x)


def test_another_layout_is_refused_and_loses_nothing(root: str, small_spec: StateSpec) -> None:
    publish(root, small_spec, [0, 1])
    before = tree(root)
    later = START + pd.Timedelta(days=1)
    changes: list[tuple[str, tuple[pd.Timestamp, pd.Timedelta, Tensor]]] = [
        ("attributes.start is", (later, STEP, states(small_spec, 0))),
        ("attributes.step is", (START, 2 * STEP, states(small_spec, 0))),
        ("u.shape is [2, 2, 8, 16] there", (START, STEP, states(small_spec, 0, 2))),
    ]
    for message, (start, step, x) in changes:
        with pytest.raises(ValueError, match=r"another archive: .*") as info:
            archive.publish(root, "analysis", small_spec, start, step, later, x)
        assert message in str(info.value)
        assert "\n" not in str(info.value)
    assert tree(root) == before


def test_states_of_another_shape_are_refused(tmp_path: Path, small_spec: StateSpec) -> None:
    x = states(small_spec, 0)[:, 1:]
    with pytest.raises(ValueError, match=r"states have the shape \(1, 8, 8, 16\); allowed"):
        archive.publish(str(tmp_path), "analysis", small_spec, START, STEP, START, x)
    with pytest.raises(ValueError, match="states have the shape"):
        archive.write_fields(str(tmp_path / "x"), small_spec, x[0], START)


def test_an_archive_that_is_none_is_named(tmp_path: Path, small_spec: StateSpec) -> None:
    with pytest.raises(ValueError, match="nothing is published there"):
        archive.open_archive(str(tmp_path), "analysis")
    for content, message in ((b"{", "not JSON"), (b"{}", "no series of times")):
        store.write_bytes(tmp_path / "analysis.zarr" / "zarr.json", content)
        with pytest.raises(ValueError, match=message):
            publish(str(tmp_path), small_spec, [0])


def test_large_maps_are_chunks_of_their_own_in_one_shard(root: str) -> None:
    variable = Variable("t", "air_temperature", "K", (500.0, 850.0))
    surface = Variable("msl", "air_pressure_at_mean_sea_level", "Pa")
    axes = np.linspace(-89.0, 89.0, 96), np.arange(180) * 2.0
    grid = LatLonGrid(*(tuple(axis.tolist()) for axis in axes))
    spec = StateSpec((variable, surface), grid, "pressure")
    publish(root, spec, [0, 1], members=2)
    metadata = json.loads(store.read_bytes(store.join(root, "analysis.zarr/t/zarr.json")))
    assert metadata["codecs"][0]["configuration"]["chunk_shape"] == [1, 1, 1, 96, 180]
    for k in range(2):
        one = archive.open_archive(root, "analysis").isel(time=k)
        x = torch.cat([spec.to_tensor(one.sel(member=m)) for m in range(2)])
        assert torch.equal(x, states(spec, k, 2))
        found = archive.read_published(root, "analysis", spec, START + k * STEP)
        assert torch.equal(found, states(spec, k, 2))
    with pytest.raises(ValueError, match="2001-01-01T12:00:00 is not published"):
        archive.read_published(root, "analysis", spec, START + 2 * STEP)


def test_small_maps_are_read_by_their_files_too(root: str, small_spec: StateSpec) -> None:
    publish(root, small_spec, [0, 1])
    found = archive.read_published(root, "analysis", small_spec, START + STEP)
    assert torch.equal(found, states(small_spec, 1))
    other = embedded_spec()
    with pytest.raises(ValueError, match="states have the shape"):
        archive.read_published(root, "analysis", other, START)
    with pytest.raises(ValueError, match="nothing is published there"):
        archive.read_published(root, "background", small_spec, START)
