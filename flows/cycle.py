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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import pandas as pd
from prefect import flow
from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from flows import progress, summary
from tasks import work
from tasks.experiment import Experiment, cycle_name
from tasks.ledger import ReopenedError
from tasks.plan import PUBLICATION, Plan
from tasks.runtime import open_runtime

__all__ = ["Task", "run", "run_stage"]

Task = Callable[[Experiment, str], Awaitable[object]]

UPDATES = 20
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
    plan, times = open_runtime(experiment).plan, experiment.cycle_times()
    shown = await acreate_progress_artifact(0.0, key="progress", description=experiment.root)
    left = times
    while left:
        with suppress(ReopenedError):
            await run_cycles(experiment, plan, left, shown)
        left = plan.at_once().unfinished(times)
    await aupdate_progress_artifact(shown, progress=100.0)
    mean = summary.document(experiment, plan)["mean"]
    await acreate_table_artifact(
        table=summary.table(mean), key="scores", description=f"Mean errors of {experiment.root}"
    )


async def run_cycles(
    experiment: Experiment, plan: Plan, times: Sequence[pd.Timestamp], shown: UUID
) -> None:
    """Run what the ledger lacks of some cycles, each finished beside the next.

    Raises:
        ReopenedError: One of them was reopened meanwhile.
    """
    behind: asyncio.Task[None] | None = None
    try:
        for number, time in enumerate(times):
            await run_stages(experiment, plan, time, ("forecast", "observations", "analysis"))
            if behind:
                await behind
            behind = asyncio.create_task(finish(experiment, plan, time))
            if number % max(1, len(times) // UPDATES) == 0:
                await aupdate_progress_artifact(shown, progress=100 * number / len(times))
    finally:
        if behind:
            await behind


async def run_stages(
    experiment: Experiment, plan: Plan, time: pd.Timestamp, stages: Sequence[str]
) -> None:
    """Run the open ones of some stages of a cycle, in order."""
    for stage in stages:
        await run_stage(experiment, plan, time, stage, TASKS)


async def run_stage(
    experiment: Experiment,
    plan: Plan,
    time: pd.Timestamp,
    stage: str,
    tasks: Mapping[str, Task],
) -> None:
    """Run a stage of a cycle, or its publication, if it is open.

    Raises:
        StaleCommitError: It was done with another code, configuration or input.
    """
    is_done = plan.is_published(time) if stage == PUBLICATION else not plan.is_open(time, stage)
    if not is_done:
        await tasks[stage](experiment, cycle_name(time))


async def finish(experiment: Experiment, plan: Plan, time: pd.Timestamp) -> None:
    """Verify and publish a cycle."""
    await run_stages(experiment, plan, time, ("verification", PUBLICATION))
    if shown := progress.current():
        shown.advance(plan, time)
