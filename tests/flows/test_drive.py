"""`losda drive`, `losda hold` and `losda release` on the tiny experiment."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tasks import work
from tasks.experiment import cycle_time
from tests.chaos import archive_of
from tests.drives import CYCLES, FAST, Losda, Start, commits, journal, mapped, wait_for

if TYPE_CHECKING:
    from conftest import Tiny


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let a stage of a cycle fail some times; return where it is counted."""

    def let(stage: str, cycle: str, times: int) -> list[str]:
        original, count = getattr(work, stage), list[str]()

        def fail(runtime: object, time: pd.Timestamp, *attempt: object) -> object:
            if time == cycle_time(cycle) and len(count) < times:
                count.append(cycle)
                raise ArithmeticError("it blew\nup")
            return original(runtime, time, *attempt)

        monkeypatch.setattr(work, stage, fail)
        return count

    return let


def test_what_was_driven_equals_what_was_run_bit_for_bit(
    drive: Losda, losda: Losda, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    code, out, err = drive(root, "--json")
    assert code == 0, err
    assert archive_of(root) == archive_of(finished)
    document = json.loads(out)
    assert document["start"] == "cold"
    assert [row["kind"] for row in document["open"]] == ["end"]
    assert "cold start" in err and CYCLES[2] in err
    assert not journal(root) and not (root / "drive" / "lease.json").exists()
    code, out, err = losda("drive", root, "--once", "--json", "--cycles", 4)
    assert (code, json.loads(out)["start"]) == (0, "warm"), err
    assert "goes on at cycle 20010103T18" in err


def test_cycles_are_made_as_they_become_due(losda: Losda, tiny: "Tiny", tmp_path: Path) -> None:
    root, at = tmp_path / "e", pd.Timestamp.now("UTC") + pd.Timedelta("1s")
    # 6 h in 2 s; the first is due 1 s after the clock's start
    clock = (
        "--set",
        f"operations.clock.at={at.isoformat()}",
        "--set",
        "operations.clock.rate=10800",
    )
    code, _, err = losda(*("drive", tiny.config, "--out", root, "--cycles", 2, *FAST, *clock))
    assert code == 0, err
    made = [
        pd.Timestamp(
            json.loads((root / "ledger" / cycle / "forecast.json").read_text())["created"]
        )
        for cycle in CYCLES[:2]
    ]
    waited = [(time - at).total_seconds() for time in made]
    assert 1 < waited[0] < 3 < waited[1] < 5, waited
    assert err.count("due: due at") >= 1


def test_a_stage_that_fails_twice_is_made_at_the_third_attempt(
    drive: Losda, failing: Callable[..., list[str]], finished: Path, tmp_path: Path
) -> None:
    root, count = tmp_path / "e", failing("assimilate_work", CYCLES[1], 2)
    code, _, err = drive(root)
    assert code == 0, err
    assert len(count) == 2
    assert archive_of(root) == archive_of(finished)
    entries = [(e["kind"], e["cycle"], e["stage"], e["text"]) for e in journal(root)]
    assert entries == [("failure", CYCLES[1], "analysis", "ArithmeticError: it blew up")] * 2
    assert "attempt 2 of 3 at analysis" in err and "ALERT" not in err and "Traceback" not in err


@pytest.mark.parametrize("stage", ["forecast_work", "verify_work", "publish_work"])
def test_a_stage_that_always_fails_holds_the_experiment_until_it_is_released(
    drive: Losda,
    losda: Losda,
    failing: Callable[..., list[str]],
    finished: Path,
    tmp_path: Path,
    stage: str,
) -> None:
    root, count = tmp_path / "e", failing(stage, CYCLES[1], 3)

    def release() -> None:
        from flows.holding import release

        wait_for(lambda: any(e["kind"] == "alert" for e in journal(root)))
        time.sleep(0.6)
        release(str(root), None, "mended")

    helper = threading.Thread(target=release)
    helper.start()
    code, _, err = drive(root)
    helper.join()
    assert code == 0, err
    assert len(count) == 3
    assert archive_of(root) == archive_of(finished)
    kinds = [entry["kind"] for entry in journal(root)]
    assert kinds == ["failure"] * 3 + ["alert", "release"]
    alerts = [line for line in err.splitlines() if line.startswith("losda: ALERT: ")]
    assert len(alerts) == 1 and "failed 3 times" in alerts[0] and "it blew up" in alerts[0]


def test_for_cron_a_drive_ends_when_nothing_is_due_and_says_if_somebody_is_needed(
    drive: Losda, losda: Losda, failing: Callable[..., list[str]], tmp_path: Path
) -> None:
    root = tmp_path / "e"
    count = failing("ingest_work", CYCLES[1], 100)
    assert drive(root, "--once", "--set", "operations.retry_after=PT1H")[0] == 0
    assert len(count) == 1
    code, out, _ = drive(root, "--once", "--set", "operations.retry_after=PT0S", "--json")
    assert (code, len(count)) == (1, 3)
    assert [row["kind"] for row in json.loads(out)["open"]] == ["failed"]
    code, out, _ = losda("status", root, "--json")
    status = json.loads(out)
    assert [wait["kind"] for wait in status["waits"]] == ["failed"] and status["failures"] == 3
    assert losda("release", root, CYCLES[1])[0] == 0
    assert [w["kind"] for w in json.loads(losda("status", root, "--json")[1])["waits"]] == ["open"]


def test_a_held_cycle_is_not_begun_and_a_held_experiment_does_nothing(
    drive: Losda, losda: Losda, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    assert drive(root, cycles=1)[0] == 0
    assert losda("hold", root, CYCLES[2], "--reason", "bad data")[0] == 0
    assert drive(root, "--once")[0] == 0
    assert sorted(path.name for path in (root / "ledger").iterdir()) == list(CYCLES[:2])
    assert (root / "published" / f"{CYCLES[1]}.json").exists()
    assert losda("hold", root)[0] == 0
    out = losda("status", root)[1]
    assert "bad data" in out and "the experiment is held" in out
    assert losda("release", root, CYCLES[2])[0] == 0
    assert drive(root, "--once")[0] == 0 and commits(root) == 8
    assert losda("release", root)[0] == 0
    assert drive(root)[0] == 0
    assert archive_of(root) == archive_of(finished)


def test_a_rerun_is_taken_up_by_the_drive_that_is_under_way(
    losda: Losda, losda_process: Start, tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "e"))
    end = ("--set", "operations.end=2001-01-03T12:00")
    process = losda_process("drive", tiny.config, "--out", root, *mapped(), *end)
    wait_for(lambda: (root / "drive" / "lease.json").exists())
    time.sleep(1)
    assert losda("rerun", root, CYCLES[1], "--stage", "analysis")[0] == 0
    wait_for(lambda: len(list(root.glob("ledger/*/*.2.json"))) == 5)
    wait_for(lambda: json.loads(losda("status", root, "--json")[1])["complete"] == 3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "end: the last cycle is 20010103T12" in err
    assert archive_of(root) == archive_of(finished)
