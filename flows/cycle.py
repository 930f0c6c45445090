"""The flow `run`: the cycles of an experiment, one after the other, each a few tasks.

    forecast -> ingest -> assimilate -> the next cycle
                          assimilate -> verify -> publish

Verification and publication of a cycle are off the critical path: they go on beside the next
cycle. The ledger says what is done; a task is only started for an open stage. If cycles are reopened
while the run goes on, it goes back to them. The flow and its
tasks are asynchronous: a synchronous task costs 50 ms more (a TLS context of its own), a
synchronous flow a second (its heartbeat thread). The work itself runs in a thread.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import pandas as pd
from prefect import flow
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from flows import monitoring, progress, summary
from flows.artifacts import Artifacts, tagged
from tasks import work
from tasks.due import ANALYSIS
from tasks.experiment import Experiment, cycle_name
from tasks.ledger import ReopenedError
from tasks.plan import PUBLICATION, Plan
from tasks.runtime import open_runtime

__all__ = ["Task", "begun", "run", "run_stage"]

Task = Callable[[Experiment, str], Awaitable[object]]

SHOWN = 20  # cycles with artifacts
SERVER_BACK_WITHIN, PAUSE = 300.0, 2.0
TASKS: dict[str, Task] = {
    "forecast": work.forecast,
    "observations": work.ingest,
    "analysis": work.assimilate,
    "verification": work.verify,
    PUBLICATION: work.publish,
}


@flow(
    name="run",
    flow_run_name="{experiment.config.name}-{experiment.config.method.kind}",
    validate_parameters=False,
    persist_result=False,
)
async def run(experiment: Experiment) -> None:
    """Run what the ledger lacks of an experiment's cycles.

    Raises:
        StaleCommitError: A stage was done with another code, configuration or input.
    """
    runtime, times = open_runtime(experiment), experiment.cycle_times()
    plan, left = runtime.plan, times
    shown = Artifacts(runtime, len(times))
    shown.begin(
        f"{experiment.config.name}: {len(times)} cycles with {experiment.config.method.kind}"
    )
    try:
        while left:
            with suppress(ReopenedError):
                await run_cycles(experiment, plan, left, shown)
            left = plan.at_once().unfinished(times)
        mean = summary.document(experiment, plan)["mean"]
        text = "mean squared errors over the climatological variance, mean over the cycles"
        shown.table("means", summary.table(mean), f"{experiment.config.name}: {text}")
    finally:
        await asyncio.to_thread(shown.close)


async def run_cycles(
    experiment: Experiment, plan: Plan, times: Sequence[pd.Timestamp], shown: Artifacts
) -> None:
    """Run what the ledger lacks of some cycles, each finished beside the next.

    Some of them, the last among them, have artifacts of their own.

    Raises:
        ReopenedError: One of them was reopened meanwhile.
    """
    behind: asyncio.Task[None] | None = None
    try:
        for number, time in enumerate(times, 1):
            own = shown if (len(times) - number) % -(-len(times) // SHOWN) == 0 else None
            await run_stages(experiment, plan, time, ANALYSIS, own)
            if behind:
                await behind
                shown.advance()
            behind = asyncio.create_task(finish(experiment, plan, time, own))
    finally:
        if behind:
            await behind
            shown.advance()


async def run_stages(
    experiment: Experiment,
    plan: Plan,
    time: pd.Timestamp,
    stages: Sequence[str],
    shown: Artifacts | None,
) -> None:
    """Run the open ones of some stages of a cycle, in order, and show what they made."""
    for stage in stages:
        if await run_stage(experiment, plan, time, stage, TASKS) and shown:
            shown.after(time, stage)


async def run_stage(
    experiment: Experiment,
    plan: Plan,
    time: pd.Timestamp,
    stage: str,
    tasks: Mapping[str, Task],
) -> bool:
    """Run a stage of a cycle, or its publication, if it is open; return whether it was.

    Raises:
        StaleCommitError: It was done with another code, configuration or input.
    """
    is_done = plan.is_published(time) if stage == PUBLICATION else not plan.is_open(time, stage)
    if not is_done:
        with tagged(experiment, cycle_name(time)):
            await begun(lambda: tasks[stage](experiment, cycle_name(time)))
    return not is_done


async def begun(start: Callable[[], Awaitable[object]]) -> None:
    """Run a task, again if it could not begin because the server was away.

    The server is asked whether the task's tags have a limit, by a client that does not try twice.

    Args:
        start: Starts the task; the ledger lets no work be done twice.

    Raises:
        ConcurrencySlotAcquisitionError: The server does not come back.
    """
    ended = time.monotonic() + SERVER_BACK_WITHIN
    while True:
        try:
            await start()
            return
        except ConcurrencySlotAcquisitionError:
            if time.monotonic() > ended:
                raise
            await asyncio.sleep(PAUSE)


async def finish(
    experiment: Experiment, plan: Plan, time: pd.Timestamp, shown: Artifacts | None
) -> None:
    """Verify and publish a cycle."""
    await run_stages(experiment, plan, time, ("verification", PUBLICATION), shown)
    if lines := progress.current():
        lines.advance(plan, time)
    if pages := monitoring.current():
        pages.published(time)
