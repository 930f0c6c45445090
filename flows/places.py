"""Where the streams of a reprocess run: here, on local processes, on Dask, on a Prefect work pool.

A place runs one unit of work for a stream and says how it ended. What is done only the ledger
knows, so a unit may be begun twice, killed, or thought dead and come back.
"""

import asyncio
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows import server
from flows.errors import one_line
from flows.signals import stopping
from flows.stream_process import Outcome, run_process
from tasks import store
from tasks.driver import DRIVE
from tasks.ledger_lease import living
from tasks.streams import Stream

__all__ = ["Place", "Where", "place_of", "require_place"]

POLL = 1.0
SILENCE = 90.0
"""A unit that is said to run, but has no living lease for so long [s], is dead."""
CONNECT = 10.0


@dataclass(frozen=True)
class Where:
    """Where streams run; on local processes if neither deployment nor Dask is given.

    Attributes:
        workers: Local processes side by side; as many as there are processors if None; with 0 the
            streams run in this process, one after the other.
        deployment: Deployment of the flow `stream` on a work pool, such as stream/gpu.
        dask: Address of a Dask scheduler.
    """

    workers: int | None = None
    deployment: str | None = None
    dask: str | None = None

    def __post_init__(self) -> None:
        """Refuse what excludes each other."""
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)}: allowed is one of workers, deployment, dask")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers: {self.workers}; allowed is 0 or more")


class Place(Protocol):
    """Runs units of work."""

    async def run(self, root: str, stream: Stream, attempt: int) -> Outcome:
        """Run a stream of the reprocess at `root` until it is done, failed or killed.

        Args:
            root: Address of the reprocess.
            stream: The stream.
            attempt: Which unit of work this is, counted from 1.
        """
        ...


@asynccontextmanager
async def place_of(where: Where) -> AsyncIterator[Place]:
    """Open a place; what still runs on local processes when it is closed is killed."""
    if where.deployment is not None:
        yield WorkPool(where.deployment)
    elif where.dask is not None:
        async with _dask_client(where.dask) as client:
            yield Dask(client)
    elif where.workers == 0:
        yield Here()
    else:
        with Processes(where.workers or len(os.sched_getaffinity(0))) as processes:
            yield processes


async def require_place(where: Where) -> None:
    """Require that the place is there.

    Raises:
        ValueError: It is not.
    """
    if where.dask is not None:
        async with _dask_client(where.dask):
            return
    if where.deployment is None:
        return
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(where.deployment)
        except (ObjectNotFound, ValueError):
            found = ", ".join(await _deployments(client)) or "none"
            raise ValueError(
                f"deployment {where.deployment!r}: not known to {client.api_url}; deployments of "
                f"the flow stream there: {found}"
            ) from None


async def _deployments(client: Any) -> list[str]:  # noqa: ANN401 - PrefectClient is generic code
    flows = {flow.id: flow.name for flow in await client.read_flows()}
    found = await client.read_deployments()
    names = (f"{flows.get(one.flow_id, '?')}/{one.name}" for one in found)
    return sorted(name for name in names if name.startswith("stream/"))


class Here:
    """In this process, one after the other."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.lock = asyncio.Lock()

    async def run(self, root: str, stream: Stream, attempt: int) -> Outcome:
        """Run a stream."""
        from flows.reprocessing import stream as stream_flow

        async with self.lock:
            try:
                if not stopping.is_set():
                    await stream_flow(root, stream.name)
            except (ValueError, OSError, ArithmeticError) as error:
                return Outcome(2 if isinstance(error, ValueError) else 1, one_line(error))
        return Outcome(0)


class Processes:
    """On local processes, at most so many at a time."""

    def __init__(self, count: int) -> None:
        """Allow so many processes."""
        self.over = threading.Event()
        self.threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """End what still runs."""
        self.over.set()
        self.threads.shutdown(cancel_futures=True)

    async def run(self, root: str, stream: Stream, attempt: int) -> Outcome:
        """Run a stream."""
        work = asyncio.get_running_loop().run_in_executor(
            self.threads, self._work, root, stream.name
        )
        return await work

    def _work(self, root: str, name: str) -> Outcome:
        if stopping.is_set() or self.over.is_set():
            return Outcome(0)
        url = server.configured_api()
        return run_process(root, name, url, stopping.is_set, self.over.is_set)


@dataclass
class WorkPool:
    """On a work pool: each unit is a run of a deployment.

    The idempotency key of a run counts the units of a stream, so a command that was killed finds
    the runs that it began and waits for them.

    Attributes:
        deployment: Its name.
        begun: The number of the last run of each stream.
    """

    deployment: str
    begun: dict[str, int] = field(default_factory=dict)

    async def run(self, root: str, stream: Stream, attempt: int) -> Outcome:
        """Run a stream; on a stop it goes on by itself."""
        run = await self._begin(root, stream)
        alive, said = time.monotonic(), False
        async with get_client() as client:
            while not stopping.is_set():
                try:
                    state = (await client.read_flow_run(run.id)).state
                except httpx.TransportError:  # the server is away; what runs goes on
                    alive = time.monotonic()
                    await asyncio.sleep(POLL)
                    continue
                if state is None or state.is_scheduled():
                    alive = time.monotonic()
                elif state.is_final():
                    return _outcome(state)
                elif living(store.join(stream.root, DRIVE)):
                    alive = time.monotonic()
                elif time.monotonic() - alive > SILENCE:
                    dead: State[Any] = Crashed(message=f"no sign of life for {SILENCE:.0f} s")
                    await client.set_flow_run_state(run.id, dead, force=True)
                if state is not None and state.name == "Late" and not said:
                    sys.stderr.write(f"losda: {stream.name} waits for a worker\n")
                    said = True
                await asyncio.sleep(POLL)
        return Outcome(0)

    async def _begin(self, root: str, stream: Stream) -> FlowRun:
        """Return the run that is under way, or begin one."""
        number = self.begun.get(stream.name, 0)
        while True:
            number += 1
            run = await arun_deployment(
                self.deployment,
                parameters={"directory": root, "name": stream.name},
                flow_run_name=f"{stream.name} {root}",
                idempotency_key=f"losda/{_short(root)}/{stream.name}/{number}",
                timeout=0,
            )
            if run.state is None or not run.state.is_final():
                self.begun[stream.name] = number
                return run


@dataclass
class Dask:
    """On a Dask cluster, whose workers start a process for each unit.

    Dask itself only carries two strings and how it ended; when a worker dies, it begins the unit
    again elsewhere.
    """

    client: Any

    async def run(self, root: str, stream: Stream, attempt: int) -> Outcome:
        """Run a stream."""
        from distributed import KilledWorker

        key = f"losda-{_short(root)}-{stream.name}-{attempt}"
        here = socket.gethostname(), server.configured_api()
        future = self.client.submit(_on_worker, root, stream.name, here, key=key, pure=False)
        while not future.done():
            if stopping.is_set():
                await future.cancel()
                return Outcome(0)
            await asyncio.sleep(POLL)
        try:
            return Outcome(*await future)
        except KilledWorker as error:
            return Outcome(-1, one_line(error))


def _on_worker(root: str, name: str, api: tuple[str, str | None]) -> tuple[int, str]:
    """Run a stream where Dask put it; on the same host with the same Prefect API."""
    host, url = api
    same = url if host == socket.gethostname() else None
    code, text = run_process(root, name, os.environ.get("PREFECT_API_URL") or same)
    return code, text


@asynccontextmanager
async def _dask_client(address: str) -> AsyncIterator[Any]:
    try:
        import distributed
    except ImportError:
        raise ValueError(
            f"dask {address!r}: needs the package distributed: pip install 'losda[dask]'"
        ) from None
    try:
        connect: Any = distributed.Client  # without types
        client = await connect(address, asynchronous=True, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise ValueError(f"dask {address!r}: no scheduler answers there: {error}") from None
    try:
        yield client
    finally:
        await client.close()


def _outcome(state: State[Any]) -> Outcome:
    """Return how a run of a deployment ended."""
    text = " ".join((state.message or state.name or "").split())
    if state.is_completed():
        return Outcome(0)
    return Outcome(-1 if state.is_crashed() else 1, text)


def _short(root: str) -> str:
    return hashlib.sha256(root.encode()).hexdigest()[:16]
