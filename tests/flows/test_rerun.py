"""`losda rerun`: what is reopened is made again, and the archive follows."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tasks import work
from tasks.experiment import cycle_time
from tasks.ledger_rerun import reopen
from tasks.plan import Plan
from tests.chaos import archive_of

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")


@pytest.fixture
def fewer_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half of the observations of a cycle be missing."""
    import tasks.ingest

    draw = tasks.ingest.draw
    monkeypatch.setattr(tasks.ingest, "draw", lambda *given: draw(*given).iloc[::2])


def reopened(out: str) -> list[tuple[str, str]]:
    return [(one["cycle_time"][:13], one["stage"]) for one in json.loads(out)["reopened"]]


def test_a_rerun_reopens_and_the_next_run_ends_with_the_same_archive(
    losda: Losda, run: Losda, copy: Path
) -> None:
    before = archive_of(copy)
    command = ("rerun", copy, CYCLES[1], "--stage", "analysis", "--reason", "a test")
    code, out, _ = losda(*command, "--dry-run", "--json")
    assert code == 0 and len(reopened(out)) == 5
    assert not list(copy.glob("ledger/*/*reopened*"))
    assert losda(*command, "--json")[1].replace("false", "true") == out
    status = json.loads(losda("status", copy, "--json")[1])
    assert [cycle["published"] for cycle in status["cycles"]] == [True, False, False]
    assert (status["committed"], status["stale"]) == (7, 0)
    assert run(copy)[0] == 0
    assert archive_of(copy) == before
    assert len(list(copy.glob("ledger/*/*.2.json"))) == 5


def test_the_archive_follows_a_rerun_with_other_observations(
    losda: Losda, run: Losda, copy: Path, fewer_observations: None
) -> None:
    before = archive_of(copy)
    assert losda("rerun", copy, CYCLES[1], "--stage", "observations")[0] == 0
    assert run(copy)[0] == 0
    changed = {name for name, data in archive_of(copy).items() if before[name] != data}
    tables = {f"{folder}/{c}.parquet" for folder in ("scores", "feedback") for c in CYCLES[1:]}
    fields = {f"analysis.zarr/{name}" for name in ("t/c.1.0.0.0", "t/c.2.0.0.0")}
    assert tables | fields <= changed
    assert not any(CYCLES[0] in name or "/c.0." in name for name in changed)
    assert "background.zarr/t/c.1.0.0.0" not in changed
    counts = [len(pd.read_parquet(copy / "feedback" / f"{cycle}.parquet")) for cycle in CYCLES]
    assert counts[1] == (counts[0] + 1) // 2
    assert json.loads(losda("status", copy, "--json")[1])["complete"] == 3


def test_a_rerun_of_one_stage_leaves_the_others_stale_only_if_it_comes_out_other(
    losda: Losda, run: Losda, copy: Path, request: pytest.FixtureRequest
) -> None:
    command = ("rerun", copy, CYCLES[1], "--stage", "observations", "--only")
    assert losda(*command)[0] == 0
    assert run(copy)[0] == 2  # the analysis was made from what is open now
    request.getfixturevalue("fewer_observations")
    assert losda("rerun", copy, "--stale", "--stage", "analysis")[0] == 0
    assert run(copy)[0] == 0


def test_a_run_with_changed_code_goes_on_after_a_rerun_of_what_is_stale(
    losda: Losda, run: Losda, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.runtime import _build

    before = archive_of(copy)
    monkeypatch.setattr("tasks.plan.code_digest", lambda: "another")
    _build.cache_clear()
    code, _, err = run(copy)
    assert code == 2 and "losda rerun --stale" in err
    assert len(reopened(losda("rerun", copy, "--stale", "--json")[1])) == 12
    assert run(copy)[0] == 0
    assert archive_of(copy) == before
    _build.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["20010103T18"], ["20010103T18", "20010103T00 to 20010103T12"]),
        (["yesterday"], ["'yesterday'", "allowed"]),
        ([], ["which cycle", "--stale"]),
        (["20010103T00", "--stage", "analyses"], ["'analyses'", "analysis"]),
    ],
)
def test_what_cannot_be_reopened_is_said_in_one_line(
    losda: Losda, finished: Path, arguments: list[str], words: list[str]
) -> None:
    code, out, err = losda("rerun", finished, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(word in err for word in words), err


def test_a_run_goes_back_to_cycles_that_are_reopened_meanwhile(
    losda: Losda, run: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, verify, asked = tmp_path / "e", work.verify_work, threading.Event()

    def verify_and_reopen(runtime: object, time: pd.Timestamp, attempt: object) -> object:
        if time == cycle_time(CYCLES[1]) and not asked.is_set():
            asked.set()
            wanted = [(time, "analysis"), (cycle_time(CYCLES[0]), "verification")]
            list(reopen(Plan.read(str(root)), wanted, "in the midst"))
        return verify(runtime, time, attempt)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "verify_work", verify_and_reopen)
    code, _, err = run(root)
    assert code == 0, err
    assert archive_of(root) == archive_of(finished)
    remade = {path.name for path in root.glob("ledger/*/*.2.json")}
    assert {"analysis.2.json", "verification.2.json"} <= remade
