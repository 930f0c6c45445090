"""`losda drive`, `losda hold` and `losda release` on the tiny experiment."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd
import pytest

from flows import driving
from flows.cycle import Task
from tasks import ledger_lease, store, work
from tasks.driver import Driver
from tasks.due import Decision
from tasks.experiment import Experiment, cycle_time
from tasks.plan import Plan
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
Start = Callable[..., "subprocess.Popen[str]"]

CYCLES = ("20010103T00", "20010103T06", "20010103T12")
FAST = ("--set", "operations.clock.kind=mapped", "--set", "operations.clock.rate=1e6")
PROMPT = ("--set", "operations.retry_after=PT0.3S", "--every", "0.2s")


def mapped(at: str = "2020-01-01T00:00") -> tuple[str, ...]:
    return (*FAST, "--set", f"operations.clock.at={at}", *PROMPT)


@pytest.fixture
def drive(losda: Losda, tiny: "Tiny") -> Losda:
    """Drive the first three cycles, which are due since long."""

    def start(root: Path, *arguments: object, cycles: int = 3) -> tuple[int, str, str]:
        command = ("drive", tiny.config, "--out", root, "--cycles", cycles, *mapped())
        return losda(*command, *arguments)

    return start


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


def journal(root: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((root / "journal").glob("*.json"))]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    ended = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ended
        time.sleep(0.02)


def commits(root: Path) -> int:
    return len(list(root.glob("ledger/*/*.json")))


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


def test_a_second_drive_says_who_drives_and_takes_over_when_that_one_was_killed(
    drive: Losda, losda_process: Start, tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    command = ("drive", tiny.config, "--out", root, *mapped())
    process = losda_process(*command, "--set", "operations.end=2001-01-03T06:00")
    wait_for(lambda: commits(root) > 1)
    code, out, err = drive(root)
    assert (code, out) == (2, "")
    assert f"driven by process {process.pid}" in err and err.count("\n") == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, _, err = drive(root)
    assert code == 0, err
    assert archive_of(root) == archive_of(finished)


def test_a_drive_waits_for_another_if_told_to(
    drive: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_lease, "EXPIRES", 2.0)
    root = tmp_path / "e"
    lease = ledger_lease.lease_of("drive-there").model_copy(update={"host": "elsewhere"})
    store.write_bytes(root / "drive" / "lease.json", lease.model_dump_json().encode())
    code, _, err = drive(root, "--wait")
    assert code == 0 and err.count("waiting for its end") == 1 and "elsewhere" in err
    assert archive_of(root) == archive_of(finished)


def test_after_sigterm_it_ends_well_and_the_same_command_goes_on(
    drive: Losda, losda_process: Start, tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    process = losda_process(
        "drive", tiny.config, "--out", root, "--cycles", 3, *mapped(), "--json"
    )
    wait_for(lambda: commits(root) > 2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["open"] and "finished first" in err
    assert not list(root.glob("attempts/*/*/lease.json"))
    assert not (root / "drive" / "lease.json").exists()
    assert drive(root)[0] == 0
    assert archive_of(root) == archive_of(finished) and not journal(root)


def test_a_killed_attempt_is_counted_once(drive: Losda, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "e"
    assert drive(root, cycles=1)[0] == 0
    gone = ledger_lease.lease_of("a1-gone").model_copy(update={"process_began": "0"})
    path = root / "attempts" / CYCLES[1] / "forecast" / "lease.json"
    store.write_bytes(path, gone.model_dump_json().encode())
    assert drive(root)[0] == 0
    entries = [(e["kind"], e["cycle"], e["stage"], e["attempt"]) for e in journal(root)]
    assert entries == [("death", CYCLES[1], "forecast", "a1-gone")]
    assert archive_of(root) == archive_of(finished)


def test_a_trouble_that_is_no_stages_fault_is_an_alert_and_counts_as_no_failure(
    drive: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = driving.run_stage, list[str]()

    async def unreachable(
        experiment: Experiment, plan: Plan, time: pd.Timestamp, stage: str, tasks: dict[str, Task]
    ) -> bool:
        calls.append(stage)
        if len(calls) == 2:
            raise httpx.ConnectError("no server")
        return await run(experiment, plan, time, stage, tasks)

    monkeypatch.setattr(driving, "run_stage", unreachable)
    root = tmp_path / "e"
    code, _, err = drive(root)
    assert code == 0, err
    assert [entry["kind"] for entry in journal(root)] == ["alert"]
    assert "no server" in journal(root)[0]["text"]
    assert archive_of(root) == archive_of(finished)


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


def test_storage_that_is_away_is_waited_for(
    drive: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "PAUSE", 0.01)
    look, looks = Driver.look, list[int]()

    def away(driver: Driver) -> Decision:
        looks.append(1)
        if len(looks) in (1, 3, 4):
            raise ConnectionError("s3://b/e/journal: no connection, tried 5 times")
        return look(driver)

    monkeypatch.setattr(Driver, "look", away)
    code, _, err = drive(tmp_path / "e")
    assert code == 0, err
    assert archive_of(tmp_path / "e") == archive_of(finished)
    assert not (tmp_path / "e" / "journal").exists()
    assert err.count("waiting for it to come back") == 2


def test_a_wake_up_does_not_wait_for_storage_for_ever(
    losda: Losda, tiny: "Tiny", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driving, "PAUSE", 0.01)
    monkeypatch.setattr(driving, "BACK_WITHIN", 0.1)

    def away(driver: Driver) -> Decision:
        raise TimeoutError("s3://b/e/journal: no answer within 60 s")

    monkeypatch.setattr(Driver, "look", away)
    code, _, err = losda("drive", tiny.config, "--out", tmp_path / "e", *mapped(), "--once")
    assert code == 1 and "no answer within 60 s" in err
