"""Archiving one analysis of 69 x 128 x 256 and reading it back, against plain files and objects.

`pytest tests/benchmarks/test_archive_speed.py --benchmark-only -s` shows all numbers of one run.

An analysis is kept twice: as the file of its attempt, which the commit vouches for and the next
cycle reads, and published in the archive that people read, a file for each variable.

- to disk: written and flushed, against one file of the same bytes and its flush; all are read again
  after they were dropped from the page cache.
- to SeaweedFS: against one PUT and one GET of the same bytes, and for the published one against as
  many PUTs and GETs as it has variables, side by side, by the bare client.

The two ways people read an archive (one map at all times, all maps at one time) are timed for three
layouts: one chunk for each variable, one object for each map, and one shard of maps.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn import functional
from zarr.storage import FsspecStore, LocalStore

from configs import load
from models.state import StateSpec, Variable
from tasks import archive, object_files, store
from tasks.remote import s3_options
from tasks.synthetic_archive import regular_grid

START, STEP = pd.Timestamp("2019-01-01"), pd.Timedelta(hours=6)
ROUNDS, WANTED = 9, 0.7
Case = tuple[Callable[[int], object], Callable[[int], object]]
LAYOUTS = {
    "one chunk": ((1, 13, 128, 256), None),
    "one object a map": ((1, 1, 128, 256), None),
    "shard of maps": ((1, 1, 128, 256), (1, 13, 128, 256)),
}
TIMES = 16


def analysis() -> tuple[StateSpec, torch.Tensor]:
    """A smooth state with the noise of real fields in the last digits."""
    variables = load("era5").reference.model_dump()["variables"]
    spec = StateSpec(
        tuple(
            Variable(**{k: x for k, x in v.items() if k not in ("source", "file")})
            for v in variables
        ),
        regular_grid(128, 256),
        "pressure",
    )
    noise = torch.randn(1, *spec.shape, generator=torch.Generator().manual_seed(0))
    wide = functional.pad(noise, (4, 4, 4, 4), mode="circular")
    return spec, 280 + 30 * functional.avg_pool2d(wide, 9, 1)


def median(function: Callable[[int], object], prepare: Callable[[int], object]) -> float:
    """Return the median seconds of a function, called with the number of the round."""
    return medians({"": (function, prepare)})[""]


def medians(cases: dict[str, Case]) -> dict[str, float]:
    """Return the median seconds of each function; they take turns, so that all see the same load."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for k in range(ROUNDS):
        for name, (function, prepare) in cases.items():
            prepare(k)
            began = time.perf_counter()
            function(k)
            found[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in found.items()}


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def dropped(paths: list[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def nothing(_: int) -> None:
    """Prepare nothing."""


def test_to_disk(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    spec, x = analysis()
    data, root, plain = x.numpy().tobytes(), tmp_path / "experiment", tmp_path / "plain"
    root.mkdir()
    plain.mkdir()

    def write_plain(k: int) -> None:
        with (plain / str(k)).open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())

    def write_archive(k: int) -> None:
        before = set(files_below(root))
        archive.publish(str(root), "analysis", spec, START, STEP, START + k * STEP, x)
        store.sync(sorted(set(files_below(root)) - before))

    def read_archive(k: int) -> None:
        archive.read_published(str(root), "analysis", spec, START + k * STEP)

    def write_attempt(k: int) -> None:
        archive.write_fields(str(root / f"attempt-{k}"), spec, x, START)
        store.sync([root / f"attempt-{k}"])

    cases: dict[str, Case] = {
        "plain write": (write_plain, nothing),
        "attempt write": (write_attempt, nothing),
        "attempt read": (
            lambda k: archive.read_fields(str(root / f"attempt-{k}")),
            lambda k: dropped([root / f"attempt-{k}"]),
        ),
        "archive write": (write_archive, nothing),
        "plain read": (
            lambda k: (plain / str(k)).read_bytes(),
            lambda k: dropped([plain / str(k)]),
        ),
        "archive read": (read_archive, lambda k: dropped(files_below(root))),
    }
    # Publishing does not wait for the disk: the attempt is safe there.
    report(benchmark, medians(cases), len(data), ("attempt",))


@pytest.mark.s3
def test_to_object_storage(benchmark: BenchmarkFixture, s3_root: str) -> None:
    spec, x = analysis()
    data, root = x.numpy().tobytes(), f"{s3_root}/experiment"
    client = object_files.client()

    def write_archive(k: int) -> None:
        archive.publish(root, "analysis", spec, START, STEP, START + k * STEP, x)

    sizes = [v.nbytes for v in spec.to_dataset(x, [START]).data_vars.values()]
    many = [f"{s3_root}/many/{i}" for i in range(len(sizes))]

    cases: dict[str, Case] = {
        "plain write": (lambda k: client.pipe_file(f"{s3_root}/{k}", data), nothing),
        "parts write": (
            lambda k: client.pipe(
                {f"{p}-{k}": data[:n] for p, n in zip(many, sizes, strict=True)}
            ),
            nothing,
        ),
        "parts read": (lambda k: client.cat([f"{p}-{k}" for p in many]), nothing),
        "attempt write": (
            lambda k: archive.write_fields(f"{root}/attempt-{k}", spec, x, START),
            nothing,
        ),
        "attempt read": (lambda k: archive.read_fields(f"{root}/attempt-{k}"), nothing),
        "archive write": (write_archive, nothing),
        "plain read": (lambda k: client.cat_file(f"{s3_root}/{k}"), nothing),
        "archive read": (
            lambda k: archive.read_published(root, "analysis", spec, START + k * STEP),
            nothing,
        ),
    }
    report(benchmark, medians(cases), len(data), ("attempt", "archive"))


def report(
    benchmark: BenchmarkFixture, seconds: dict[str, float], size: int, kinds: tuple[str, ...]
) -> None:
    """Show the speeds and require the wanted share."""
    benchmark.pedantic(lambda: None, rounds=1)
    speeds = {name: size / 1e6 / value for name, value in seconds.items()}
    shares = {
        f"{kind} {way}": round(speeds[f"{kind} {way}"] / speeds[f"{against} {way}"], 2)
        for kind in ("attempt", "archive")
        for against in ["parts" if kind == "archive" and "parts write" in speeds else "plain"]
        for way in ("write", "read")
    }
    benchmark.extra_info |= {f"{name} [MB/s]": round(v, 1) for name, v in speeds.items()} | shares
    print({name: f"{v:.0f} MB/s" for name, v in speeds.items()}, shares)
    wanted = {name: share for name, share in shares.items() if name.startswith(kinds)}
    assert min(wanted.values()) >= WANTED, shares


@pytest.mark.s3
@pytest.mark.parametrize("where", ["disk", "S3"])
def test_layouts(benchmark: BenchmarkFixture, where: str, tmp_path: Path, s3_root: str) -> None:
    _, x = analysis()
    maps = np.repeat(x[:, :13].numpy(), TIMES, 0)
    found = {}
    for name, (chunks, shards) in LAYOUTS.items():
        target = (
            LocalStore(tmp_path / name)
            if where == "disk"
            else FsspecStore.from_url(f"{s3_root}/{name}", storage_options=s3_options())
        )
        array = zarr.create_array(
            target,
            shape=maps.shape,
            dtype="float32",
            chunks=chunks,
            shards=shards,
            compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        )
        for k in range(TIMES):
            array[k : k + 1] = maps[k : k + 1]
        found[name] = {
            "one map at all times": median(lambda _, a=array: a[:, 7], nothing),  # type: ignore[misc]
            "all maps at one time": median(lambda k, a=array: a[k], nothing),  # type: ignore[misc]
        }
    benchmark.pedantic(lambda: None, rounds=1)
    print(where)
    for name, ways in found.items():
        benchmark.extra_info[name] = ways
        print(f"  {name:<18}" + "  ".join(f"{w} {1000 * s:.1f} ms" for w, s in ways.items()))
    if (
        where == "disk"
    ):  # an object for each map would be read as fast, and written ten times slower
        assert sum(found["shard of maps"].values()) < sum(found["one chunk"].values())
