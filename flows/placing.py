"""Let work pools do the stages that a drive finds due; the ledger says when they are done.

    forecast, observations, analysis    one run of `cycle/gpu`
    verification, publication           one run of `verify/cpu`

A run's idempotency key names experiment, cycle, stages and attempt, so a drive that was killed and
began again finds the run that it had started, and never starts a second one. The ledger is believed,
not the run's state: a run is over when its stages are committed. It is given up when its state is
final, when the process that worked on a stage is dead, when it never began, or when nothing is heard
of it; that is a failure of the stage, counted in the journal as any other.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import httpx
import pandas as pd
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from prefect.states import Crashed

from flows.clearing import clear_runs
from flows.driving import Work
from tasks.driver import Driver
from tasks.due import ANALYSIS
from tasks.experiment import cycle_name, cycle_time
from tasks.failures import failure_of
from tasks.journal import Entry
from tasks.ledger_lease import Lease, dead, living
from tasks.plan import PUBLICATION, Plan

__all__ = ["Placement", "attempt_of"]

Answer = TypeVar("Answer")
Watcher: TypeAlias = "asyncio.Task[State[Any] | None]"
LOOK, POLL = 0.5, 1.0
"""The ledger is looked at, and the server is asked, so often [s]."""
CLEAR_EVERY, ENDING = 60.0, 60.0
"""Dead runs are looked for so often while nothing ends; a run whose work is done has so long to end [s]."""
SERVER_BACK_WITHIN = 300.0
NEVER_BEGAN = pd.Timedelta("3min")
"""A run whose worker died between taking it and starting it stays pending for ever."""
SILENCE = 600.0
"""A run that is said to run, but is at no stage for so long [s], died before it came to one, and the
server, which was away then, has seen no heartbeat that it could miss."""


@dataclass(frozen=True)
class Order:
    """Stages of a cycle that a run is to do.

    Attributes:
        driver: Who drives.
        time: Cycle time.
        stages: What is to be done, in order.
        attempt: Number of the attempt.
        known: How many entries the journal had before.
    """

    driver: Driver
    time: pd.Timestamp
    stages: tuple[str, ...]
    attempt: int
    known: int

    @property
    def plan(self) -> Plan:
        """The experiment's plan."""
        return self.driver.overview.plan

    @property
    def deployment(self) -> str:
        """Which deployment does it."""
        return "cycle/gpu" if self.stages[0] in ANALYSIS else "verify/cpu"

    @property
    def what(self) -> str:
        """The cycle, and on which pool it is at work: one run at a time is."""
        return f"{self.deployment} {cycle_name(self.time)}"

    @property
    def key(self) -> str:
        """The run's idempotency key."""
        parts = (self.plan.root, cycle_name(self.time), "+".join(self.stages), str(self.attempt))
        return "/".join(parts)

    def open_stages(self) -> list[str]:
        """Return the stages that are not done."""
        return [stage for stage in self.stages if not self._is_done(stage)]

    def is_at_work(self) -> bool:
        """Return whether a process says that it is at one of the stages."""
        stages = [stage for stage in self.open_stages() if stage != PUBLICATION]
        return any(living(self.plan.ledger.folder(self.time, stage)) for stage in stages)

    def death(self) -> Lease | None:
        """Return the lease of a process that died at one of the stages, if that is news."""
        known = {e.attempt for e in self.driver.journal.entries() if e.kind == "death"}
        for stage in self.open_stages():
            if stage != PUBLICATION:
                lease = dead(self.plan.ledger.folder(self.time, stage))
                if lease is not None and lease.attempt not in known:
                    return lease
        return None

    def _is_done(self, stage: str) -> bool:
        if stage == PUBLICATION:
            return self.plan.is_published(self.time)
        return self.plan.commit(self.time, stage) is not None


class Placement:
    """Gives work to the pools, and watches it until it is done.

    What is not done when a call returns goes on; the next call watches it with what is new, so nothing
    waits for what it does not need.
    """

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._under_way: dict[str, tuple[Order, Watcher]] = {}
        self._over: dict[str, float] = {}

    async def __call__(self, driver: Driver, work: Work, stop: threading.Event) -> bool:
        """Start what is not under way; return once something ended, or that nothing is under way."""
        await self._begin(driver, work, stop)
        if not self._under_way:
            return False
        watchers = [watcher for _, watcher in self._under_way.values()]
        try:
            while not (done := await _first_of(watchers)):
                await self._clear(driver)  # a dead run may hold the slot that these wait for
            if stop.is_set():
                done, _ = await asyncio.wait(watchers)
        except asyncio.CancelledError:
            for watcher in watchers:
                watcher.cancel()
            raise
        self._end(done)
        return True

    async def _begin(self, driver: Driver, work: Work, stop: threading.Event) -> None:
        """Start the runs of stages that no run is at."""
        entries = tuple(driver.journal.entries())
        orders = [
            Order(driver, cycle_time(name), tuple(stages), attempt_of(entries, name), len(entries))
            for name, stages in work.items()
        ]
        new = [order for order in orders if order.what not in self._under_way]
        if new:
            await self._clear(driver, *new)
        # the next cycle waits for what is on its path: that first
        for order in sorted(new, key=lambda order: order.stages[0] not in ANALYSIS):
            watcher = asyncio.create_task(_carry_out(order, stop))
            self._under_way[order.what] = order, watcher

    async def _clear(self, driver: Driver, *new: Order) -> None:
        """End the records of the experiment's dead runs: those that are none of this drive's."""
        now = time.monotonic()
        self._over = {key: at for key, at in self._over.items() if now - at < ENDING}
        keys = {order.key for order, _ in self._under_way.values()} | {order.key for order in new}
        async with get_client() as client:
            me = UUID(flow_run.id) if flow_run.id else None
            await clear_runs(client, driver.experiment.root, me, keys | set(self._over))

    def _end(self, done: Collection[Watcher]) -> None:
        """Count what failed.

        Raises:
            Exception: What a watcher could not do.
        """
        ended = {what: each for what, each in self._under_way.items() if each[1] in done}
        for what, (order, _) in ended.items():
            del self._under_way[what]
            self._over[order.key] = time.monotonic()
        for order, watcher in ended.values():
            _count_failure(order, watcher.result())


async def _first_of(watchers: Collection[Watcher]) -> set[Watcher]:
    """Return those that ended, at the latest after some time."""
    done, _ = await asyncio.wait(
        watchers, timeout=CLEAR_EVERY, return_when=asyncio.FIRST_COMPLETED
    )
    return done


def attempt_of(entries: Sequence[Entry], cycle: str) -> int:
    """Return the number of the next attempt at a cycle's stages; it never goes back.

    All that went wrong before counts, also if a release forgave it: a key that was used must not
    come again.
    """
    return 1 + sum(_concerns(entry, cycle) for entry in entries)


def _concerns(entry: Entry, cycle: str) -> bool:
    """Return whether an entry ends an attempt at a cycle, or allows another."""
    if entry.kind == "rerun":
        return entry.cycle <= cycle  # names sort as times do
    return entry.kind in ("failure", "death", "release") and entry.cycle in ("", cycle)


async def _carry_out(order: Order, stop: threading.Event) -> State[Any] | None:
    """Start the run, unless it was started before, and return its last state; None if stopped."""
    async with get_client() as client:
        run = await _patiently(lambda: _start(order))
        identifier, alive, asked = run.id, time.monotonic(), 0.0
        while order.open_stages() and not stop.is_set():
            if time.monotonic() - asked < POLL:
                await asyncio.sleep(LOOK)
                continue
            asked = time.monotonic()
            run = await _patiently(lambda: client.read_flow_run(identifier))
            if run.state is None or run.state.is_final():
                break
            if not run.state.is_running() or order.is_at_work():
                alive = time.monotonic()
            if why := _given_up(order, run, time.monotonic() - alive):
                crash = partial(
                    client.set_flow_run_state, identifier, Crashed(message=why), force=True
                )
                await _patiently(crash)
                break
        if stop.is_set():
            return None
        return (await _patiently(lambda: client.read_flow_run(identifier))).state


async def _start(order: Order) -> FlowRun:
    place = order.plan.root.rstrip("/").rsplit("/", 1)[-1]
    kind = "" if order.stages[0] in ANALYSIS else "verify-"
    parameters: dict[str, Any] = {
        "experiment": order.plan.root,
        "cycle": cycle_name(order.time),
        "stages": list(order.stages),
        "attempt": order.attempt,
    }
    return await arun_deployment(
        order.deployment,
        parameters=parameters,
        flow_run_name=f"{kind}{place}-{cycle_name(order.time)}-a{order.attempt}",
        idempotency_key=order.key,
        timeout=0,
    )


async def _patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask the server again while it is away or overloaded; the work goes on meanwhile.

    Asking twice does no harm: runs have a key.
    """
    ended = time.monotonic() + SERVER_BACK_WITHIN
    while True:
        try:
            return await ask()
        except httpx.TransportError:
            if time.monotonic() > ended:
                raise
        except PrefectHTTPStatusError as error:
            if error.response.status_code < 500 or time.monotonic() > ended:
                raise
        await asyncio.sleep(POLL)


def _given_up(order: Order, run: FlowRun, silence: float) -> str:
    """Return why a run that has no final state will have none; nothing if it may go on.

    Args:
        order: What the run is to do.
        run: The run.
        silence: For how long it is said to run without being at a stage [s].
    """
    state = run.state
    assert state is not None
    if state.is_pending():
        age = pd.Timestamp.now("UTC") - pd.Timestamp(state.timestamp)
        return f"it did not begin within {NEVER_BEGAN}" if age > NEVER_BEGAN else ""
    if not state.is_running():
        return ""
    lease = order.death()
    if lease:
        return f"process {lease.process} on {lease.host} died"
    return f"no sign of life for {silence:.0f} s" if silence > SILENCE else ""


def _count_failure(order: Order, ended: State[Any] | None) -> None:
    """Note that a run ended without its work done, unless the stage or its death was noted."""
    left, name = order.open_stages(), cycle_name(order.time)
    new = order.driver.journal.entries()[order.known :]
    is_noted = any(_concerns(entry, name) for entry in new)
    if not left or ended is None or is_noted or order.death():  # the next look notes the death
        return
    text = f"its run ended as {ended.name}: {ended.message or 'no reason given'}"
    order.driver.journal.write(failure_of(order.plan, order.time, left[0], text))
