"""The Prefect tasks: one verb each, an experiment and a cycle in, the commit's address out.

The ledger decides what is done, so nothing is cached or persisted by Prefect. Only failures of
input and output are tried again; a mistake in the data or the configuration would be the same the
next time. A stage that another process is at is waited for; should that process die, this one takes
over.
"""

import asyncio
import sys
from typing import Any

from prefect import task
from prefect.cache_policies import NONE
from prefect.client.schemas.objects import State, TaskRun

from tasks import stages
from tasks.announcing import announce
from tasks.assimilate import assimilate as assimilate_work
from tasks.experiment import Experiment, cycle_time
from tasks.failures import recorded
from tasks.forecast import forecast as forecast_work
from tasks.ingest import ingest as ingest_work
from tasks.ledger import StageBusyError
from tasks.plan import PUBLICATION
from tasks.publish import publish as publish_work
from tasks.runtime import open_runtime
from tasks.timing import working
from tasks.verify import verify as verify_work

__all__ = ["assimilate", "forecast", "ingest", "publish", "verify"]


def is_transient(task: object, task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a failure may pass by itself: input and output, not a wrong value."""
    # Prefect asks inside a running loop, where `result` would be a coroutine without `_sync`
    error = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    return isinstance(error, OSError)


POLL = 0.5
_waited_for: set[tuple[str, int]] = set()

OPTIONS: dict[str, Any] = {
    "cache_policy": NONE,
    "persist_result": False,
    "retries": 2,
    "retry_delay_seconds": [1, 10],
    "retry_condition_fn": is_transient,
}


async def _commit(experiment: Experiment, cycle: str, stage: str, work: stages.Work) -> str:
    runtime = open_runtime(experiment)
    while True:
        try:
            time = cycle_time(cycle)
            commit = await asyncio.to_thread(stages.run, runtime, time, stage, work, announce)
            return commit.address
        except StageBusyError as busy:
            other = busy.lease.host, busy.lease.process
            if other not in _waited_for:
                sys.stderr.write(f"losda: {busy}; waiting for it\n")
            _waited_for.add(other)
        await asyncio.sleep(POLL)


@task(name="forecast", task_run_name="forecast-{cycle}", **OPTIONS)
async def forecast(experiment: Experiment, cycle: str) -> str:
    """Forecast background and free run."""
    return await _commit(experiment, cycle, "forecast", forecast_work)


@task(name="ingest", task_run_name="ingest-{cycle}", **OPTIONS)
async def ingest(experiment: Experiment, cycle: str) -> str:
    """Draw, validate and screen the observations."""
    return await _commit(experiment, cycle, "observations", ingest_work)


@task(name="assimilate", task_run_name="assimilate-{cycle}", **OPTIONS)
async def assimilate(experiment: Experiment, cycle: str) -> str:
    """Make the analysis and the feedback."""
    return await _commit(experiment, cycle, "analysis", assimilate_work)


@task(name="verify", task_run_name="verify-{cycle}", **OPTIONS)
async def verify(experiment: Experiment, cycle: str) -> str:
    """Score background, analysis, free run and forecasts."""
    return await _commit(experiment, cycle, "verification", verify_work)


@task(name="publish", task_run_name="publish-{cycle}", **OPTIONS)
async def publish(experiment: Experiment, cycle: str) -> None:
    """Copy the committed fields and tables into the archive."""

    def work() -> None:
        runtime, time = open_runtime(experiment), cycle_time(cycle)
        with working(), recorded(runtime.plan, time, PUBLICATION):
            publish_work(runtime, time)

    await asyncio.to_thread(work)
