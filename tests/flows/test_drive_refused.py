"""What cannot be driven, held or released is told in one line, and nothing is written."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.drives import CYCLES, Losda

if TYPE_CHECKING:
    from conftest import Tiny


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "operations.end=2001-01-02T00:00"], ["operations.end", "2001-01-02", "start"]),
        (["--every", "soon"], ["--every", "'soon'", "60s"]),
        (["--cycles", "0"], ["--cycles 0", "1 or more"]),
        (["--set", "operations.cutoff=PT1H"], ["operations.cutoff", "PT1H", "offset"]),
        (
            ["--set", "operations.cutoffs.twin=PT1H"],
            ["operations.cutoffs.twin", "PT1H", "offset (PT3H)"],
        ),
        (["--set", "operations.cutoffs.radar=PT9H"], ["operations.cutoffs.radar", "twin"]),
        (["--set", "operations.cutoffs.twin=soon"], ["operations.cutoffs", "soon"]),
        (["--set", "operations.cutoffs=soon"], ["operations.cutoffs", "soon"]),
        (["--set", "operations.clock.kind=mapped"], ["operations.clock.at", "missing"]),
        (["--set", "operations.attempts=0"], ["operations.attempts", "0"]),
        (["--until-done"], ["--until-done", "operations.end"]),
    ],
)
def test_bad_settings_are_told_in_one_line_and_nothing_is_written(
    losda: Losda, tiny: "Tiny", tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    code, out, err = losda("drive", tiny.config, "--out", tmp_path / "e", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert all(word in err for word in words), err
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hold", "ROOT", "20010103T01"], ["20010103T01", "every 6 h"]),
        (["release", "ROOT"], ["not held"]),
        (["release", "ROOT", "20010103T06"], ["20010103T06", "not held"]),
        (["hold", "ROOT/nothing"], ["no experiment"]),
        (["drive", "ROOT"], ["losda drive CONFIG"]),
        (["drive", "ROOT", "--out", "there"], ["--out"]),
    ],
)
def test_what_cannot_be_held_released_or_driven_is_told_in_one_line(
    losda: Losda, finished: Path, arguments: list[str], words: list[str]
) -> None:
    code, out, err = losda(*(a.replace("ROOT", str(finished)) for a in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert all(word in err for word in words), err
    assert not (finished / "journal").exists()


def test_an_experiment_that_was_changed_after_its_first_commit_is_not_driven(
    drive: Losda, finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "e"))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code, out, err = drive(root, "--set", "seed=7")
    assert (code, out) == (2, "") and "seed" in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_stale_directory_is_refused_at_the_start(
    drive: Losda, finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "e"))
    (root / "ledger" / CYCLES[1] / "observations.json").unlink()
    code, _, err = drive(root)
    assert code == 2 and "stale" in err and CYCLES[1] in err and err.count("\n") == 1
