"""`losda reprocess` and `losda promote` on the tiny experiment, the streams in this process."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr
import yaml
from rich.console import Console

from flows.watching import StreamsView
from tasks import store
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
OWN = {"s01": range(6), "s02": range(6, 9)}


@pytest.fixture
def copy(reprocessed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reprocessed, tmp_path / "copy"))


@pytest.fixture
def document(reprocessed: Path) -> dict[str, Any]:
    return dict(json.loads((reprocessed.parent / "document.json").read_text()))


def test_a_stream_equals_the_same_cycles_run_alone_bit_for_bit(
    losda: Losda, tiny: "Tiny", reprocessed: Path, tmp_path: Path
) -> None:
    start = "start=2001-01-04T00:00"
    code, _, err = losda(
        *("run", tiny.config, "--set", start, "--cycles", 5, "--out", tmp_path / "e"),
        "--no-report",
    )
    assert code == 0, err
    stream = reprocessed / "streams" / "s02"
    assert archive_of(stream) == archive_of(tmp_path / "e")
    settings = (path / "experiment.yaml" for path in (stream, tmp_path / "e"))
    assert len({path.read_bytes() for path in settings}) == 1


def test_the_archive_has_each_stream_s_own_cycles_bit_for_bit(reprocessed: Path) -> None:
    for name in ("analysis", "background"):
        whole = xr.open_zarr(reprocessed / f"{name}.zarr", consolidated=False)
        assert whole.sizes["time"] == 9
        for stream, own in OWN.items():
            root = reprocessed / "streams" / stream
            part = xr.open_zarr(root / f"{name}.zarr", consolidated=False)
            times = whole["time"][list(own)]
            assert part.sel(time=times).identical(whole.sel(time=times).assign_attrs(part.attrs))
    for folder in ("feedback", "scores"):
        for path in (reprocessed / folder).iterdir():
            name = "s01" if path.stem < "20010104T12" else "s02"
            assert (reprocessed / "streams" / name / folder / path.name).read_bytes() == (
                path.read_bytes()
            )


def test_one_stream_is_what_a_run_gives(
    losda: Losda, tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "r"
    command = ("reprocess", tiny.config, "--streams", 1, "--out", root, "--workers", 0)
    code, out, err = losda(*command, "--json")
    assert code == 0, err
    assert archive_of(root) == archive_of(finished)
    document = json.loads(out)
    run = json.loads((finished.parent / "document.json").read_text())
    assert document["mean"] == run["mean"]
    assert document["overlaps"] == []
    assert "There is one stream" in (root / "report.html").read_text()


def test_the_document_says_what_was_done_and_how_far_the_streams_are_apart(
    document: dict[str, Any],
) -> None:
    assert [row["cycle_time"][:13] for row in document["cycles"]][::8] == [
        "2001-01-03T00", "2001-01-05T00",
    ]  # fmt: skip
    assert [(row["stream"], row["cycles"], row["spin_up"]) for row in document["streams"]] == [
        ("s01", 6, 0), ("s02", 5, 2),
    ]  # fmt: skip
    (overlap,) = document["overlaps"]
    assert overlap["cycle_time"] == "2001-01-04T06:00:00" and overlap["spin_up"] == 2
    assert set(overlap["variables"]) == {"t", "msl", "all"}
    for values in overlap["variables"].values():
        assert values["ratio"] == pytest.approx(values["difference"] / values["error"])
    assert overlap["long_enough"] is False  # persistence forgets its first guess slowly


def test_the_report_has_the_overlaps_the_seconds_and_the_truth_of_the_streams(
    losda: Losda, copy: Path
) -> None:
    code, out, err = losda("promote", copy)
    assert code == 0, err
    assert "TOO SHORT" in out and "ratio" in out
    page = (copy / "report.html").read_text()
    assert "Overlaps of the streams" in page and "TOO SHORT" in page
    assert "No stage has been committed yet" not in page
    assert "analysis error" in page


def test_status_shows_the_streams(losda: Losda, copy: Path) -> None:
    code, out, _ = losda("status", copy, "--json")
    status = json.loads(out)
    assert code == 0
    assert (status["complete"], status["cycles"], status["joined"]) == (11, 11, 9)
    shutil.rmtree(copy / "streams" / "s02")
    code, out, _ = losda("status", copy)
    assert code == 0
    assert "6 of 11 cycles complete" in out and "0/5" in out
    console = Console(file=io.StringIO(), width=200)
    console.print(StreamsView(str(copy)).picture(10))
    watched = console.file.getvalue()  # type: ignore[attr-defined]
    assert watched.startswith(out.splitlines()[0]) and "0/5" in watched
    code, out, _ = losda("status", copy / "streams" / "s01")
    assert code == 0 and "2001-01-04T06" in out


@pytest.mark.s3
def test_a_reprocess_on_s3_equals_one_on_the_disk(
    reprocess: Losda, losda: Losda, reprocessed: Path, s3_root: str
) -> None:
    code, _, err = reprocess(s3_root)
    assert code == 0, err
    for name in archive_of(reprocessed):
        assert store.read_bytes(f"{s3_root}/{name}") == (reprocessed / name).read_bytes(), name
    code, out, _ = losda("status", s3_root, "--json")
    assert code == 0 and json.loads(out)["joined"] == 9


def test_the_directory_names_everything_that_a_worker_elsewhere_needs(
    reprocessed: Path, tiny: "Tiny"
) -> None:
    saved = yaml.safe_load((reprocessed / "reprocess.yaml").read_text())
    assert saved["config"]["registry"] == str(tiny.registry)
    assert saved["config"]["reference"]["address"] == str(tiny.data)
