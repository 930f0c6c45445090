"""The flow `run`: the cycles of an experiment, one after the other, each a few tasks.

The ledger says what is done: committed stages are not run again, a task is only started for an open stage.
The flow and its tasks are asynchronous: a synchronous task costs 50 ms more (its own TLS context), a
synchronous flow one second (its heartbeat thread). The work itself runs in a thread.
"""

from collections.abc import Awaitable, Callable

import pandas as pd
from prefect import flow
from prefect.artifacts import acreate_table_artifact

from flows import progress, summary
from tasks import work
from tasks.experiment import Experiment, cycle_name
from tasks.plan import Plan
from tasks.runtime import open_runtime

__all__ = ["cycle", "run"]

Task = Callable[[Experiment, str], Awaitable[object]]

TASKS: dict[str, Task] = {
    "forecast": work.forecast,
    "observations": work.ingest,
    "analysis": work.assimilate,
    "verification": work.verify,
}


@flow(
    name="run",
    flow_run_name="{experiment.config.name}-{experiment.config.method.kind}",
    validate_parameters=False,
    persist_result=False,
)
async def run(experiment: Experiment) -> None:
    """Run what the ledger lacks of an experiment's cycles."""
    plan = open_runtime(experiment).plan
    for time in experiment.cycle_times():
        await cycle(experiment, plan, time)
        if shown := progress.current():
            shown.advance(plan.ledger, time)
    mean = summary.document(experiment, plan.ledger)["mean"]
    await acreate_table_artifact(
        table=summary.table(mean), key="scores", description=f"Mean errors of {experiment.root}"
    )


async def cycle(experiment: Experiment, plan: Plan, time: pd.Timestamp) -> None:
    """Run the open stages of one cycle, and publish it."""
    name = cycle_name(time)
    for stage, task in TASKS.items():
        if plan.is_open(time, stage):
            await task(experiment, name)
    if not plan.is_published(time):
        await work.publish(experiment, name)
