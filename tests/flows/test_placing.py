"""What a drive places on work pools, with a worker that runs the flows in this process."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_engine import run_flow_async
from prefect.states import Completed, Crashed, Pending, Running, Scheduled

from configs import load
from flows import clearing, cycle, deployed, placing, server
from flows.clearing import clear_runs
from flows.deployments import apply_file, read_file
from tasks.driver import driving, save_settings
from tasks.experiment import Experiment
from tasks.journal import Entry, Journal, Kind
from tasks.ledger_lease import lease_of
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Work = Callable[[FlowRun], None]
FLOWS = {"cycle": deployed.cycle, "verify": deployed.verify}
SETTINGS = (
    *("operations.clock.kind=mapped", "operations.clock.rate=1e6"),
    *("operations.clock.at=2020-01-01T00:00", "operations.retry_after=PT0.1S"),
)


@pytest.fixture(scope="module")
def pools(api: server.PrefectApi) -> None:
    async def apply() -> None:
        async with get_client() as client:
            await apply_file(client, read_file())

    asyncio.run(apply())


@pytest.fixture
def experiment(tiny: "Tiny", tmp_path: Path, pools: None) -> Callable[..., str]:
    """Open a tiny experiment whose cycles are due since long; return its address."""

    def open_it(*settings: str, last: str = "2001-01-03T12:00") -> str:
        config = load(str(tiny.config), [*SETTINGS, f"operations.end={last}", *settings])
        root = str(tmp_path / "e")
        save_settings(Experiment(root=root, config=config))
        return root

    return open_it


def in_process(run: FlowRun) -> None:
    """Run a flow as a worker would."""
    name = "verify" if run.name.startswith("verify-") else "cycle"
    parameters = FLOWS[name].validate_parameters(run.parameters)
    asyncio.run(
        run_flow_async(FLOWS[name], flow_run=run, parameters=parameters, return_type="state")
    )


@contextmanager
def worker(work: Work) -> Iterator[list[FlowRun]]:
    """Take the runs of both pools as they are scheduled; yield those that were taken."""
    stop, taken = threading.Event(), list[FlowRun]()

    def take(client: SyncPrefectClient) -> None:
        for pool in ("gpu", "cpu"):
            for found in client.get_scheduled_flow_runs_for_work_pool(pool):
                run = found.flow_run
                client.set_flow_run_state(run.id, Pending())
                taken.append(client.read_flow_run(run.id))
                work(taken[-1])

    def serve() -> None:
        with get_client(sync_client=True) as client:
            while not stop.is_set():
                with suppress(httpx.HTTPError, PrefectHTTPStatusError):  # SQLite is busy
                    take(client)
                time.sleep(0.05)

    # the context holds Prefect's settings
    thread = threading.Thread(target=contextvars.copy_context().run, args=(serve,))
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "POLL", 0.05)
    monkeypatch.setattr(placing, "LOOK", 0.05)


def drive(root: str) -> State[None]:
    async def start() -> State[None]:
        return await asyncio.wait_for(deployed.drive(root, linger=1.0, return_state=True), 300)

    return asyncio.run(start())


def runs_of(root: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        return [r for r in runs if r.deployment_id and r.parameters.get("experiment") == root]


def troubles(root: str) -> list[str]:
    return [e.text for e in Journal(root).entries() if e.kind in ("failure", "death")]


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

    def states() -> list[str]:
        with get_client(sync_client=True) as client:
            return [s.name for run in taken for s in client.read_flow_run_states(run.id)]

    with worker(work) as taken:
        assert drive(root).is_completed()
    deadline = time.monotonic() + 60
    while states().count("Completed") < 6 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert states().count("Completed") == 6 and "Crashed" not in states(), states()


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


def test_runs_that_nobody_works_on_hold_no_slot_of_a_queue(
    pools: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "SHORT", pd.Timedelta(0))
    tomorrow = Scheduled(scheduled_time=pd.Timestamp.now("UTC") + pd.Timedelta("1D"))
    kinds = {"drive/cpu": Pending(), "verify/cpu": Running(), "cycle/gpu": tomorrow}

    async def clear() -> tuple[int, dict[str, str]]:
        async with get_client() as client:
            made = {}
            for name, state in kinds.items():
                deployment = await client.read_deployment_by_name(name)
                for about in ("/e", "/e: ordered", "/another"):
                    place, _, key = about.partition(": ")
                    parameters = {"experiment": place}
                    if name != "drive/cpu":
                        parameters["cycle"] = "20010103T00"
                    run = await client.create_flow_run_from_deployment(
                        deployment.id, parameters=parameters, idempotency_key=key or None
                    )
                    await client.set_flow_run_state(run.id, state, force=True)
                    made[f"{name} {about}"] = run.id
            me = made["drive/cpu /e: ordered"]
            count = await clear_runs(client, "/e", me, ["ordered"])
            states = {n: (await client.read_flow_run(i)).state_name for n, i in made.items()}
            for run in made.values():  # no worker of another test takes them
                await client.set_flow_run_state(run, Crashed(), force=True)
            return count, states

    count, states = asyncio.run(clear())
    assert count == 3
    for name, state in kinds.items():
        left = {states[f"{name} /e: ordered"], states[f"{name} /another"]}
        assert left == {state.name}
    ended = [states[f"{name} /e"] for name in kinds]
    assert ended == ["Crashed", "Crashed", "Cancelled"]
