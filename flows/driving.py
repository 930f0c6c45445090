"""`losda drive`: run what is due, as it becomes due, in this process with warm models.

    look -> what is due: one cycle's analysis beside another's verification -> look -> ... -> sleep

What is due is asked of the ledger before each cycle (`tasks.driver`), so a hold, a release or a
rerun counts from the next cycle on, and a drive that was killed is replaced by the same command.
Storage that does not answer is waited for. One round is one run of the flow `cycle`. A failure is noted by the stage itself; its number and the
delay are the ledger's business, so Prefect does not repeat these tasks.
"""

import asyncio
import errno
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
from prefect import flow

from flows import monitoring
from flows.artifacts import Artifacts, tagged
from flows.cycle import TASKS, Task, run_stage
from flows.errors import one_line
from flows.operations import How
from flows.progress import Watch
from flows.waiting import say
from tasks.driver import Driver
from tasks.due import Decision
from tasks.experiment import Experiment, cycle_name, cycle_time
from tasks.ledger import ReopenedError, StaleCommitError
from tasks.orders import orders_of
from tasks.runtime import open_runtime
from tasks.store import is_remote

__all__ = ["Place", "Work", "cycle", "drive", "work_here"]

ONCE: dict[str, Task] = {
    stage: cast(Any, task).with_options(retries=0) for stage, task in TASKS.items()
}
PAUSE, BACK_WITHIN = 5.0, 300.0
Work = Mapping[str, Sequence[str]]
Place = Callable[[Driver, Work, threading.Event], Awaitable[bool]]
"""Does the stages of some cycles, side by side, wherever that may be, until one of them is done; returns
whether there was anything to do, or still under way."""


@flow(
    name="cycle",
    flow_run_name="{experiment.config.name}-{name}",
    validate_parameters=False,
    persist_result=False,
)
async def cycle(
    experiment: Experiment, name: str, work: Work, is_stopped: Callable[[], bool]
) -> None:
    """Run stages of some cycles, side by side.

    Args:
        experiment: The experiment.
        name: The cycle that the flow run is called after.
        work: The stages of each cycle, in order.
        is_stopped: Whether to end before the next stage.
    """
    runtime = open_runtime(experiment)
    shown = Artifacts(runtime, sum(map(len, work.values())))
    shown.begin(f"{experiment.config.name}: cycle {', '.join(work)}")

    async def run_cycle(time: pd.Timestamp, stages: Sequence[str]) -> None:
        for stage in stages:
            if not is_stopped():
                if await run_stage(experiment, runtime.plan, time, stage, ONCE):
                    shown.after(time, stage)
                shown.advance()

    found = await asyncio.gather(
        *(run_cycle(cycle_time(name), stages) for name, stages in work.items()),
        return_exceptions=True,
    )
    await asyncio.to_thread(shown.close)
    for error in found:
        if isinstance(error, BaseException):
            raise error


async def work_here(driver: Driver, work: Work, stop: threading.Event) -> bool:
    """Do the stages in this process, all of them."""
    if work:
        with tagged(driver.experiment, *work):
            await cycle(driver.experiment, list(work)[-1], work, stop.is_set)
    return bool(work)


async def drive(
    driver: Driver, how: How, stop: threading.Event, place: Place = work_here
) -> Decision:
    """Run what is due until the end, or, with `once`, until nothing is.

    Args:
        driver: What to drive.
        how: How to drive it.
        stop: Return before the next stage once it is set.
        place: Does the work.

    Returns:
        What is open, and why.
    """
    shown, away = Watch(), _Away(driver.experiment.root)
    while True:
        try:
            decision, failed = await _work_off(driver, stop, shown, place, away)
        except OSError as error:
            if stop.is_set() or not away.is_worth_waiting(error, how):
                raise
            await asyncio.to_thread(stop.wait, PAUSE)
            continue
        if pages := monitoring.current():
            pages.refresh()
        for wait in decision.waits:
            shown.waiting(cycle_name(wait.time), wait.kind, wait.why)
        done = how.until_done and {wait.kind for wait in decision.waits} == {"end"}
        seconds = _seconds(driver, decision)
        idle = how.once and (failed or seconds > how.linger)
        if stop.is_set() or done or idle:
            return decision
        await asyncio.to_thread(stop.wait, how.every if failed else min(how.every, seconds))


@dataclass
class _Away:
    """Since when the storage of an experiment does not answer, if so."""

    root: str
    since: float | None = None

    def is_worth_waiting(self, error: OSError, how: How) -> bool:
        """Return whether an error may go by itself: a wake-up waits for some time, others for ever."""
        # a server that comes up answers with errors that have no name
        unnamed = is_remote(self.root) and error.errno == errno.EIO
        if not isinstance(error, (ConnectionError, TimeoutError)) and not unnamed:
            return False
        if self.since is None:
            self.since = time.monotonic()
            sys.stderr.write(f"losda: {one_line(error)}; waiting for it to come back\n")
        return not how.once or time.monotonic() - self.since < BACK_WITHIN


async def _work_off(
    driver: Driver, stop: threading.Event, shown: Watch, place: Place, away: _Away
) -> tuple[Decision, bool]:
    """Run what is due until nothing is; return what is left, and whether something else failed.

    Failures of stages are in the journal, and `look` knows what follows from them. Any other, of
    Prefect's server for one, is an alert, and a reason to wait before the next look.
    """
    begun: set[pd.Timestamp] = set()
    while True:
        decision = driver.look()
        away.since = None
        say(driver.experiment.root, decision)
        if stop.is_set():
            return decision, False
        before = len(driver.journal.entries())
        begun |= {action.time for action in decision.actions}
        try:
            if not await place(driver, _work_of(decision), stop):
                return decision, False
        except (ReopenedError, StaleCommitError):
            continue
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            text = one_line(error)
            entries = driver.journal.entries()
            sys.stderr.write(f"losda: {text}\n")
            if not any(entry.kind == "failure" for entry in entries[before:]):
                driver.alert(orders_of(entries), f"not a failure of a stage: {text}")
                return driver.look(), True
        for cycle_ in sorted(begun):
            if driver.overview.plan.is_published(cycle_):
                begun.remove(cycle_)
                shown.advance(driver.overview.plan, cycle_)
                if pages := monitoring.current():
                    pages.published(cycle_)


def _work_of(decision: Decision) -> Work:
    """Return the oldest cycle that is to be finished beside the one that is to be analyzed."""
    behind = [action for action in decision.actions if not action.is_on_path][:1]
    on_path = [action for action in decision.actions if action.is_on_path]
    return {cycle_name(action.time): action.stages for action in [*behind, *on_path]}


def _seconds(driver: Driver, decision: Decision) -> float:
    """Return how long it is until something can be done; infinite if only somebody's act helps."""
    now = driver.now()
    left = [(wait.until - now).total_seconds() for wait in decision.waits if wait.until]
    return max(0.0, min(left, default=math.inf))
