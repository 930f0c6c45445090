"""`losda reprocess` and `losda promote` on the tiny experiment, the streams in this process."""

import asyncio
import errno
import io
import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr
import yaml
from rich.console import Console

from flows.signals import stopping
from flows.watching import StreamsView
from tasks import store
from tasks.experiment import Experiment
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]

PERIOD = {"--end": "2001-01-05T00:00", "--streams": 2, "--spinup": 2}
OWN = {"s01": range(6), "s02": range(6, 9)}


@pytest.fixture
def reprocess(losda: Losda, tiny: "Tiny") -> Losda:
    """Reprocess nine cycles in two streams, unless other options are given."""

    def start(root: Path | str, *options: object) -> tuple[int, str, str]:
        command = ("reprocess", tiny.config, "--out", root, "--workers", 0, "--no-report")
        period = [part for name, value in PERIOD.items() if name not in options
                  for part in (name, value)]  # fmt: skip
        return losda(*command, *period, *options)

    return start


@pytest.fixture
def copy(reprocessed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reprocessed, tmp_path / "copy"))


@pytest.fixture
def document(reprocessed: Path) -> dict[str, Any]:
    return dict(json.loads((reprocessed.parent / "document.json").read_text()))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


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


def test_a_finished_reprocess_is_not_run_again(reprocess: Losda, copy: Path) -> None:
    before = files_of(copy)
    code, out, err = reprocess(copy, "--json")
    assert code == 0, err
    assert json.loads(out)["copied"] == 0
    assert files_of(copy) == before


def test_an_interrupted_join_is_finished(losda: Losda, copy: Path) -> None:
    before = archive_of(copy)
    (copy / "published" / "20010104T12.json").unlink()
    (copy / "analysis.zarr" / "t" / "c.6.0.0.0").unlink()
    (copy / "analysis.zarr" / "zarr.json").unlink()
    code, out, err = losda("promote", copy, "--json", "--no-report")
    assert code == 0, err
    assert json.loads(out)["copied"] == 1
    assert archive_of(copy) == before


def test_a_cycle_that_is_made_again_is_joined_again(
    losda: Losda, reprocess: Losda, copy: Path
) -> None:
    before = archive_of(copy)
    assert losda("rerun", copy / "streams" / "s02", "20010104T18")[0] == 0
    code, _, err = losda("promote", copy)
    assert code == 2
    assert "s02" in err and "2 of 5" in err and "20010104T18" in err
    code, out, err = reprocess(copy, "--json")
    assert code == 0, err
    assert json.loads(out)["copied"] == 2
    assert archive_of(copy) == before


BAD = {
    "an end before the start": (("--end", "2001-01-02T00:00"), ["end", "2001-01-03T00:00"]),
    "no time": (("--start", "soon"), ["start", "'soon'", "ISO 8601"]),
    "a part of a step": (("--end", "2001-01-03T05:00"), ["end", "step", "PT6H"]),
    "no stream": (("--streams", 0), ["streams", "0"]),
    "no spin-up": (("--spinup", 0), ["spin_up", "0"]),
    "streams shorter than the spin-up": (
        ("--streams", 4, "--spinup", 3), ["streams", "4", "spin-up of 3", "up to 2"],
    ),
    "a period without reference": (
        ("--end", "2001-02-05T00:00"), ["truth.zarr", "lacks", "2001-01-15"],
    ),
    "a first guess without reference": (
        ("--start", "2001-01-01T06:00"), ["truth.zarr", "lacks", "2000-12-31"],
    ),
    "a period without observations": (
        ("--set", "observations.slots=3"), ["observations.slots", "3", "lacks"],
    ),
    "two places": (("--dask", "tcp://127.0.0.1:9"), ["workers", "dask"]),
    "an unknown setting": (("--set", "metod=free"), ["metod", "unknown"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(
    reprocess: Losda, tmp_path: Path, name: str
) -> None:
    options, words = BAD[name]
    code, out, err = reprocess(tmp_path / "r", "--json", *options)
    assert (code, out) == (2, ""), err
    assert len(err.splitlines()) == 1, err
    for word in words:
        assert word in err, err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--end", "2001-01-05T06:00"), ["reprocess.end", "2001-01-05T06:00"]),
        (("--streams", 1), ["reprocess.streams", "2", "1"]),
        (("--seed", 7), ["seed", "7"]),
    ],
)
def test_other_settings_are_another_reprocess(
    reprocess: Losda, copy: Path, options: tuple[object, ...], words: list[str]
) -> None:
    before = files_of(copy)
    code, _, err = reprocess(copy, *options)
    assert code == 2
    assert len(err.splitlines()) == 1, err
    for word in [*words, "another directory"]:
        assert word in err, err
    assert files_of(copy) == before


def test_streams_made_by_other_code_are_stale_and_refused(
    reprocess: Losda, losda: Losda, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(copy)
    monkeypatch.setattr("tasks.plan.code_digest", lambda: "another")
    for command in (reprocess(copy), losda("promote", copy)):
        assert command[0] == 2
        assert "stale" in command[2] and "s01" in command[2]
    assert files_of(copy) == before


def test_a_run_or_an_upkeep_of_the_whole_is_refused(
    losda: Losda, reprocess: Losda, tiny: "Tiny", copy: Path, finished: Path
) -> None:
    before = files_of(copy)
    code, _, err = reprocess(finished)
    assert code == 2 and "reprocess is 'absent' there" in err
    code, _, err = losda("run", tiny.config, "--out", copy, "--no-report")
    assert code == 2 and "reprocess" in err
    for command in (("gc", copy), ("rerun", copy, "20010104T18"), ("hold", copy)):
        code, _, err = losda(*command)
        assert code == 2 and "streams/" in err
    assert files_of(copy) == before
    assert losda("promote", copy / "streams" / "s01")[0] == 2


def test_a_full_disk_fails_its_stream_and_the_same_command_finishes(
    reprocess: Losda, reprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import streaming
    from tasks import archive

    original, root = archive.write_table, tmp_path / "r"

    def full(address: str, *rest: object, **options: object) -> None:
        if "s01/attempts/20010103T12" in address:
            raise OSError(errno.ENOSPC, "No space left on device", address)
        original(address, *rest, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(archive, "write_table", full)
        patch.setattr(streaming, "cycle", streaming.cycle.with_options(retries=0))
        code, _, err = reprocess(root)
    assert code == 1
    last = err.splitlines()[-1]
    assert "1 of 2 streams failed: stream s01: OSError" in last and "No space left" in last
    assert len(list((root / "streams" / "s02" / "published").iterdir())) == 5
    assert reprocess(root)[0] == 0
    assert archive_of(root) == archive_of(reprocessed)


def test_a_command_that_is_told_to_stop_ends_after_a_cycle_and_goes_on_later(
    reprocess: Losda, reprocessed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import streaming

    original, root = streaming.cycle, tmp_path / "r"

    async def stop_at_the_third(experiment: Experiment, name: str) -> None:
        await original(experiment, name)
        if name == "20010103T12":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            assert await asyncio.to_thread(stopping.wait, 10)

    with monkeypatch.context() as patch:
        patch.setattr(streaming, "cycle", stop_at_the_third)
        code, _, err = reprocess(root)
    assert code == 1
    assert "stopped; the same command goes on" in err.splitlines()[-1]
    assert len(list((root / "streams" / "s01" / "published").iterdir())) == 3
    assert reprocess(root)[0] == 0
    assert archive_of(root) == archive_of(reprocessed)


def test_two_commands_on_one_reprocess_are_refused(reprocess: Losda, copy: Path) -> None:
    from tasks.driver import driving

    before = files_of(copy)
    with driving(str(copy)):
        code, _, err = reprocess(copy)
    assert code == 2
    assert "driven by process" in err and len(err.splitlines()) == 1
    assert files_of(copy) == before


def test_dask_that_is_not_there_is_said(
    losda: Losda, tiny: "Tiny", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("reprocess", tiny.config, "--out", tmp_path / "r", "--streams", 1)
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = losda(*command, "--dask", "tcp://127.0.0.1:9")
    assert code == 2 and "losda[dask]" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


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
