"""Run one stream of a reprocess: its cycles in a row, with warm models, each one Prefect task.

A stream takes one processor, so the stages of a cycle follow each other. The ledger says what is
done; whoever comes second to a stream waits for the first, or takes over where that one died.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any, cast

from prefect import task
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from flows.cycle import TASKS, Task, run_stage
from flows.running import prepare
from tasks.driver import DrivenError, driving
from tasks.experiment import Experiment, cycle_name, cycle_time
from tasks.ledger import ReopenedError
from tasks.plan import CYCLE_STAGES, PUBLICATION
from tasks.runtime import open_runtime
from tasks.streams import Stream
from tasks.work import OPTIONS

__all__ = ["in_turn", "run_stream"]

ALONE: dict[str, Task] = {stage: cast(Any, task).fn for stage, task in TASKS.items()}
POLL = 0.5
UPDATES = 20


async def run_stream(stream: Stream, is_stopped: Callable[[], bool]) -> None:
    """Run what the ledger lacks of a stream's cycles, in a flow.

    Args:
        stream: The stream.
        is_stopped: Whether to end before the next cycle.

    Raises:
        ValueError: The input is wrong, or a stage is stale.
    """
    async with in_turn(stream.root):
        runtime = await asyncio.to_thread(prepare, stream.experiment)
        plan, times = runtime.plan, stream.times
        shown = await acreate_progress_artifact(0.0, key="progress", description=stream.root)
        while (left := plan.at_once().unfinished(times)) and not is_stopped():
            with suppress(ReopenedError):
                for number, time in enumerate(left):
                    if is_stopped():
                        break
                    await cycle(stream.experiment, cycle_name(time))
                    if (number + 1) % max(1, len(times) // UPDATES) == 0:
                        done = 100 * (len(times) - len(left) + number + 1) / len(times)
                        await aupdate_progress_artifact(shown, progress=done)


@task(name="cycle", task_run_name="{name}", **OPTIONS)
async def cycle(experiment: Experiment, name: str) -> None:
    """Run the open stages of a cycle, in order, and publish it."""
    plan, time = open_runtime(experiment).plan, cycle_time(name)
    for stage in (*CYCLE_STAGES, PUBLICATION):
        await run_stage(experiment, plan, time, stage, ALONE)


@asynccontextmanager
async def in_turn(root: str, patience: float | None = None) -> AsyncIterator[None]:
    """Be the one who is at work on an experiment, at once or after another one.

    Args:
        root: Address of the experiment.
        patience: How long to wait for the other one [s]; as long as it takes if None.

    Raises:
        DrivenError: The other one is still at work.
    """
    waited = 0.0
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(driving(root))
                break
            except DrivenError as error:
                if patience is not None and waited >= patience:
                    raise
                if not waited:
                    sys.stderr.write(f"losda: {error}; waiting for its end\n")
            waited += POLL
            await asyncio.sleep(POLL)
        yield
