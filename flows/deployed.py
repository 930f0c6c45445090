"""The flows that workers run; their parameters are names and addresses, checked by pydantic.

    drive    what is due of one experiment, each stage placed on a work pool
    cycle    forecast, observations and analysis of one cycle
    verify   verification and publication of one cycle
    train    the components of a configuration

The configuration of an experiment lies beside it (`losda deploy CONFIG --out DIR` puts it there), so
no run carries more than an address. Entrypoints are these modules; nothing is read from a file. What is
heavy is imported when it is known that there is work: a wake-up while another drives costs little, and a
run of `cycle` or `verify` loads it while Prefect still talks to its server.
"""

import asyncio
import os
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import Field

from configs import load
from configs.deployment import Address, CycleName
from configs.hiding import hiding
from flows.operations import How, at_the_wheel, experiment_of
from tasks.driver import DrivenError, Driver, require_free
from tasks.experiment import cycle_time
from tasks.plan import PUBLICATION

__all__ = ["cycle", "drive", "train", "verify"]

Attempt = Annotated[int, Field(ge=1)]
OnPath = Literal["forecast", "observations", "analysis"]
Behind = Literal["verification", "publication"]
OPTIONS: dict[str, Any] = {"persist_result": False, "retries": 0}


def _load_ahead() -> None:
    """Load what a run needs, beside what goes on."""
    threading.Thread(target=import_module, args=("flows.driving",), daemon=True).start()


if os.environ.get("PREFECT__FLOW_NAME") in ("cycle", "verify"):
    _load_ahead()


def _name(*parameters: str) -> str:
    """Return the name of a run that nobody named."""
    given = flow_run.get_parameters()
    place = str(given["experiment"]).rstrip("/").rsplit("/", 1)[-1]
    marks = {"attempt": "a"}
    return "-".join([place, *(f"{marks.get(name, '')}{given[name]}" for name in parameters)])


@flow(name="drive", flow_run_name=lambda: f"drive-{_name()}", **OPTIONS)
async def drive(
    experiment: Address, linger: Annotated[float, Field(ge=0, le=3600)] = 60.0
) -> State[None]:
    """Run what is due of an experiment, in order, on the work pools, and end.

    Args:
        experiment: Where the experiment lies.
        linger: Wait so long for what becomes due, instead of ending [s].
    """
    how = How(every=60.0, once=True, linger=linger)
    try:
        with hiding():
            require_free(experiment)  # before anything heavy is loaded: most wake-ups end here
        from flows.driving import drive as work_off
        from flows.placing import Placement

        with hiding(), at_the_wheel(experiment_of(experiment), how) as (driver, start):
            before = _alerts(driver)
            left = await work_off(driver, how, threading.Event(), Placement())
            is_news = _alerts(driver) > before
    except DrivenError as error:
        return Completed(name="Driven", message=str(error))
    message = "; ".join([f"{start} start", *(f"{wait.kind}: {wait.why}" for wait in left.waits)])
    # failed once for each alert, so that the automation of failed runs tells somebody
    needs_somebody = is_news and left.waits_for("failed", "stale")
    if left.actions:
        message = f"ended before its work was done: {driver.journal.entries()[-1].text}"
    return (
        Failed(message=message) if needs_somebody or left.actions else Completed(message=message)
    )


def _alerts(driver: Driver) -> int:
    """Return how many alerts were ever given."""
    return sum(entry.kind == "alert" for entry in driver.journal.entries())


@flow(name="cycle", flow_run_name=lambda: _name("cycle", "attempt"), **OPTIONS)
async def cycle(
    experiment: Address,
    cycle: CycleName,
    stages: Sequence[OnPath] = ("forecast", "observations", "analysis"),
    attempt: Attempt = 1,
) -> None:
    """Do the stages of a cycle on which the next cycle waits.

    Args:
        experiment: Where the experiment lies.
        cycle: The cycle, YYYYMMDDTHH.
        stages: What is to be done; what is committed is skipped.
        attempt: Number of the attempt; only a name here.

    Raises:
        ReopenedError: The analysis of the cycle before is not committed.
    """
    await _do(experiment, cycle, stages)


@flow(name="verify", flow_run_name=lambda: f"verify-{_name('cycle', 'attempt')}", **OPTIONS)
async def verify(
    experiment: Address,
    cycle: CycleName,
    stages: Sequence[Behind] = ("verification", "publication"),
    attempt: Attempt = 1,
) -> None:
    """Verify and publish a cycle.

    Args:
        experiment: Where the experiment lies.
        cycle: The cycle, YYYYMMDDTHH.
        stages: What is to be done; what is committed is skipped.
        attempt: Number of the attempt; only a name here.
    """
    await _do(experiment, cycle, stages)


async def _do(address: str, name: str, stages: Sequence[str]) -> None:
    from flows.driving import cycle as work_off_cycle
    from tasks.runtime import open_runtime

    with hiding():
        experiment, time = experiment_of(address), cycle_time(name)
        plan = open_runtime(experiment).plan
        first = stages[0]
        if first != PUBLICATION:
            plan.sources(time, first)  # nobody waits for them while a device is held
        await work_off_cycle.fn(experiment, name, {name: tuple(stages)}, lambda: False)


@flow(name="train", flow_run_name="train-{config}", **OPTIONS)
async def train(
    config: str,
    registry: Address,
    directory: Annotated[str, Field(pattern=r"^/")],
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Train the components of a configuration and publish them; goes on where it was killed.

    Args:
        config: Name of a preset, or path of a YAML file.
        registry: Address of the registry to publish to.
        directory: Working directory, on the worker's disk.
        overrides: Any setting, as key=value.
    """
    from flows.training import train_flow
    from tasks.workshop import Workshop

    settings = load(config, overrides)
    Workshop(directory).claim(settings.train)
    document: dict[str, Any] = await asyncio.to_thread(train_flow, settings, registry, directory)
    return document
