"""What cannot be reprocessed is told in one line, and nothing is written."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos import files_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]


@pytest.fixture
def copy(reprocessed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reprocessed, tmp_path / "copy"))


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
