"""A drive that places its runs on work pools, and a worker that runs the flows in this process."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_engine import run_flow_async
from prefect.states import Pending

from configs import load
from flows import deployed
from tasks.driver import save_settings
from tasks.experiment import Experiment
from tasks.journal import Journal

Work = Callable[[FlowRun], None]
FLOWS = {"cycle": deployed.cycle, "verify": deployed.verify}
SETTINGS = (
    *("operations.clock.kind=mapped", "operations.clock.rate=1e6"),
    *("operations.clock.at=2020-01-01T00:00", "operations.retry_after=PT0.1S"),
)


def open_due(config: Path, root: Path, *settings: str, last: str = "2001-01-03T12:00") -> str:
    """Open an experiment whose cycles are due since long; return its address."""
    changed = load(str(config), [*SETTINGS, f"operations.end={last}", *settings])
    save_settings(Experiment(root=str(root), config=changed))
    return str(root)


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


def drive(root: str) -> State[None]:
    """Drive an experiment until its end; return the state of the drive."""

    async def start() -> State[None]:
        return await asyncio.wait_for(deployed.drive(root, linger=1.0, return_state=True), 300)

    return asyncio.run(start())


def runs_of(root: str) -> list[FlowRun]:
    """Return the runs of deployments that were made for an experiment."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        return [r for r in runs if r.deployment_id and r.parameters.get("experiment") == root]


def troubles(root: str) -> list[str]:
    """Return what the journal says of failures and deaths."""
    return [e.text for e in Journal(root).entries() if e.kind in ("failure", "death")]
