"""Placed runs that fail, die or are not heard of: each counts once, and the next has another key."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.states import Crashed, Running

from flows import cycle, placing
from tasks.journal import Entry, Journal, Kind
from tasks.ledger_lease import lease_of
from tests.pool_worker import drive, in_process, open_due, runs_of, troubles, worker

if TYPE_CHECKING:
    from conftest import Tiny


@pytest.fixture
def experiment(tiny: "Tiny", tmp_path: Path, pools: None) -> Callable[..., str]:
    return partial(open_due, tiny.config, tmp_path / "e")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "POLL", 0.05)
    monkeypatch.setattr(placing, "LOOK", 0.05)


def test_runs_that_crash_count_as_failures_and_then_hold(
    experiment: Callable[..., str],
) -> None:
    root = experiment("operations.attempts=3")

    def crash(run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Crashed(message="no such image"), force=True)

    with worker(crash) as taken:
        state = drive(root)
    assert state.is_failed() and "failed 3 times" in state.message
    assert drive(root).is_completed()  # somebody was told
    assert troubles(root) == ["its run ended as Crashed: no such image"] * 3
    assert [run.name for run in taken] == [f"e-20010103T00-a{k}" for k in (1, 2, 3)]
    Journal(root).write(Entry(kind="release", text=""))
    with worker(in_process) as again:
        assert "end: the last cycle" in drive(root).message
    assert again[0].name == "e-20010103T00-a5"  # three failures and the release


def test_a_failure_of_a_stage_is_counted_once(
    experiment: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import work

    def fail(*arguments: object) -> object:
        raise ArithmeticError("it blew up")

    root = experiment("operations.attempts=2")
    monkeypatch.setattr(work, "assimilate_work", fail)
    with worker(in_process):
        state = drive(root)
    assert "failed 2 times" in state.message
    assert troubles(root) == ["ArithmeticError: it blew up"] * 2


def test_a_run_whose_process_died_is_given_up_at_once(
    experiment: Callable[..., str], tmp_path: Path
) -> None:
    root = experiment("operations.attempts=9", last="2001-01-03T00:00")
    died = list[str]()

    def die(run: FlowRun) -> None:
        if died or run.name.startswith("verify-"):
            in_process(run)
            return
        died.append(run.name)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Running(), force=True)
        lease = lease_of("a1-dead").model_copy(update={"process": 2**22 + 1})
        folder = Path(root) / "attempts" / "20010103T00" / "forecast"
        folder.mkdir(parents=True)
        (folder / "lease.json").write_text(lease.model_dump_json())

    began = time.monotonic()
    with worker(die):
        assert drive(root).is_completed()
    assert time.monotonic() - began < 20
    assert [text.split(" on ")[0] for text in troubles(root)] == ["process 4194305"]
    first = next(run for run in runs_of(root) if run.name == died[0])
    assert (first.state_name, first.state.message.split(" on ")[0]) == (
        "Crashed",
        "process 4194305",
    )


def test_a_stage_begins_when_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "PAUSE", 0.01)
    begun = list[int]()

    async def start() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise ConcurrencySlotAcquisitionError("Unable to acquire concurrency slots")

    asyncio.run(cycle.begun(start))
    assert len(begun) == 3
    begun.clear()
    monkeypatch.setattr(cycle, "SERVER_BACK_WITHIN", -1.0)
    with pytest.raises(ConcurrencySlotAcquisitionError):
        asyncio.run(cycle.begun(start))


def test_a_run_that_never_begins_is_given_up(
    experiment: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = experiment(last="2001-01-03T00:00")
    monkeypatch.setattr(placing, "NEVER_BEGAN", pd.Timedelta("5s"))  # others begin sooner
    lost = list[str]()

    def lose(run: FlowRun) -> None:
        if not lost:
            lost.append(run.name)  # its worker died before it started
        else:
            in_process(run)

    with worker(lose):
        assert drive(root).is_completed()
    assert len(troubles(root)) == 1 and "did not begin" in troubles(root)[0]


ENTRIES = st.lists(
    st.builds(
        Entry,
        kind=st.sampled_from(["failure", "death", "hold", "release", "rerun", "alert"]),
        text=st.just(""),
        cycle=st.sampled_from(["", "20010103T00", "20010103T06", "20010103T12"]),
    )
)


@given(ENTRIES, ENTRIES)
def test_the_number_of_an_attempt_never_goes_back(before: list[Entry], after: list[Entry]) -> None:
    first = placing.attempt_of(before, "20010103T06")
    assert 1 <= first <= placing.attempt_of([*before, *after], "20010103T06")


@pytest.mark.parametrize("kind", ["failure", "death", "release"])
def test_whatever_ends_an_attempt_gives_the_next_one_another_key(kind: Kind) -> None:
    entries = [Entry(kind=kind, text="", cycle="20010103T06")]
    assert placing.attempt_of(entries, "20010103T06") == 2
    assert placing.attempt_of(entries, "20010103T12") == 1
    rerun = Entry(kind="rerun", text="", cycle="20010103T00")
    assert placing.attempt_of([*entries, rerun], "20010103T06") == 3


def test_a_run_of_which_nothing_is_heard_is_given_up(
    experiment: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = experiment(last="2001-01-03T00:00")
    monkeypatch.setattr(placing, "SILENCE", 3.0)
    lost = list[str]()

    def die_before_the_first_stage(run: FlowRun) -> None:
        if lost:
            in_process(run)
            return
        lost.append(run.name)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Running(), force=True)

    with worker(die_before_the_first_stage):
        assert drive(root).is_completed()
    assert len(troubles(root)) == 1 and "no sign of life for" in troubles(root)[0]
