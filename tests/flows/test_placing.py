"""What a drive places on work pools, with a worker that runs the flows in this process."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Completed, Running

from flows import deployed, placing
from tasks.driver import driving
from tests.chaos import archive_of
from tests.pool_worker import FLOWS, drive, in_process, open_due, runs_of, troubles, worker

if TYPE_CHECKING:
    from conftest import Tiny


@pytest.fixture
def experiment(tiny: "Tiny", tmp_path: Path, pools: None) -> Callable[..., str]:
    return partial(open_due, tiny.config, tmp_path / "e")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "POLL", 0.05)
    monkeypatch.setattr(placing, "LOOK", 0.05)


def test_what_was_placed_on_pools_equals_what_was_run_bit_for_bit(
    experiment: Callable[..., str], finished: Path
) -> None:
    root = experiment()
    with worker(in_process) as taken:
        state = drive(root)
    assert state.is_completed() and "last cycle is 20010103T12" in state.message, state
    assert archive_of(Path(root)) == archive_of(finished)
    assert not troubles(root)
    names = sorted(run.name for run in taken)
    cycles = [f"e-2001010{day}-a1" for day in ("3T00", "3T06", "3T12")]
    assert names == [*cycles, *(f"verify-{name}" for name in cycles)]


def test_the_next_forecast_does_not_wait_for_a_verification(
    experiment: Callable[..., str], finished: Path
) -> None:
    root, done, late = experiment(), list[str](), list[FlowRun]()

    def work(run: FlowRun) -> None:
        if run.name == "verify-e-20010103T00-a1" and "e-20010103T06-a1" not in done:
            late.append(run)
            return
        in_process(run)
        done.append(run.name)
        if run.name == "e-20010103T06-a1" and late:
            in_process(late.pop())

    with worker(work) as taken:
        assert drive(root).is_completed()
    assert len(taken) == 6 and archive_of(Path(root)) == archive_of(finished)


def test_a_run_that_has_done_its_work_may_take_its_time_to_end(
    experiment: Callable[..., str],
) -> None:
    root = experiment()

    def work(run: FlowRun) -> None:
        flow = FLOWS["verify" if run.name.startswith("verify-") else "cycle"]
        with get_client(sync_client=True) as client:
            patiently(lambda: client.set_flow_run_state(run.id, Running()))
            asyncio.run(flow.fn(**flow.validate_parameters(run.parameters)))
            threading.Timer(1.0, contextvars.copy_context().run, (end, run)).start()

    def end(run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            patiently(lambda: client.set_flow_run_state(run.id, Completed()))

    def states() -> list[tuple[str | None, str | None]]:
        with get_client(sync_client=True) as client:
            found = [client.read_flow_run_states(run.id) for run in taken]
        return [(state.name, state.message) for each in found for state in each]

    def count(name: str) -> int:
        return sum(found == name for found, _ in states())

    with worker(work) as taken:
        assert drive(root).is_completed()
    deadline = time.monotonic() + 60
    while count("Completed") < 6 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert count("Completed") == 6 and not count("Crashed"), states()


def patiently(ask: Callable[[], object]) -> None:
    """Ask again while SQLite is busy."""
    for _ in range(30):
        with suppress(httpx.HTTPError, PrefectHTTPStatusError):
            ask()
            return
        time.sleep(0.5)


def test_a_drive_that_begins_again_finds_the_run_that_was_started(
    experiment: Callable[..., str],
) -> None:
    root = experiment(last="2001-01-03T00:00")

    async def start_and_die() -> None:
        drive = asyncio.create_task(deployed.drive(root, linger=0.0))
        while not await asyncio.to_thread(runs_of, root):
            await asyncio.sleep(0.1)
        drive.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drive

    asyncio.run(start_and_die())
    assert [run.state_name for run in runs_of(root) if run.name == "e-20010103T00-a1"]
    with worker(in_process) as taken:
        assert drive(root).is_completed()
    assert sorted(run.name for run in taken) == ["e-20010103T00-a1", "verify-e-20010103T00-a1"]


def test_a_second_drive_of_an_experiment_does_nothing(experiment: Callable[..., str]) -> None:
    root = experiment()
    with driving(root), worker(in_process) as taken:
        state = drive(root)
    assert (state.name, state.is_completed()) == ("Driven", True)
    assert "is driven by process" in state.message
    assert not taken
