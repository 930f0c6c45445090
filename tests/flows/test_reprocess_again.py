"""`losda reprocess` again: after its end, after a fault or a stop, and after a rerun."""

import asyncio
import errno
import json
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.signals import stopping
from tasks.experiment import Experiment
from tests.chaos import archive_of, files_of

Losda = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copy(reprocessed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reprocessed, tmp_path / "copy"))


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
