"""Drives that meet another drive, are killed, or lose storage and server for a while."""

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas as pd
import pytest

from flows import driving
from flows.cycle import Task
from tasks import ledger_lease, store
from tasks.driver import Driver
from tasks.due import Decision
from tasks.experiment import Experiment
from tasks.plan import Plan
from tests.chaos import archive_of
from tests.drives import CYCLES, Losda, Start, commits, journal, mapped, wait_for

if TYPE_CHECKING:
    from conftest import Tiny


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
