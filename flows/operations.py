"""Start a drive of one experiment.

losda drive CONFIG --out DIR      cold start: from the first guess of the configuration
losda drive DIR                   warm start: goes on where the ledger ends
"""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from configs import Config, load, load_text, presets
from flows.monitoring import monitored
from flows.output import absolute
from flows.running import prepare, start_api
from flows.signals import run_until_signal
from flows.tables import print_rows
from flows.waiting import rows
from tasks.clock import clock_of
from tasks.driver import (
    DrivenError,
    Driver,
    driving,
    require_free,
    save_settings,
    settings_of,
)
from tasks.experiment import Experiment, cycle_name
from tasks.journal import Journal
from tasks.late_files import LateFiles
from tasks.ledger import LEDGER, StaleCommitError
from tasks.orders import orders_of
from tasks.overview import Overview
from tasks.store import join, names

if TYPE_CHECKING:
    from tasks.runtime import Runtime

__all__ = ["How", "at_the_wheel", "drive_experiment", "experiment_of", "print_drive", "seconds_of"]

WAIT = 1.0


@dataclass(frozen=True)
class How:
    """How to drive.

    Attributes:
        every: Longest time between two looks at the ledger [s].
        once: End when nothing is due any more.
        cycles: Drive so many cycles and end.
        until_done: End after the last cycle.
        wait: Wait for another drive instead of refusing.
        linger: With `once`, wait so long for what becomes due [s].
    """

    every: float
    once: bool = False
    cycles: int | None = None
    until_done: bool = False
    wait: bool = False
    linger: float = 0.0


def experiment_of(name: str, out: str | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment to drive.

    Args:
        name: A preset, the path of a YAML file, or the directory of an experiment.
        out: Directory of the experiment, with a configuration.
        overrides: Settings, as key=value.

    Raises:
        ValueError: There is no such configuration or experiment, or it cannot be driven.
    """
    is_configuration = name in presets() or Path(name).suffix in {".yaml", ".yml"}
    if is_configuration:
        config = load(name, overrides)
        root = absolute(out or f"experiments/{config.name}-{config.method.kind}")
    else:
        root = absolute(name)
        if out is not None:
            raise ValueError(f"--out {out!r}: {name} is an experiment already; allowed is none")
        config = _saved(root, overrides)
    return Experiment(root=root, config=config)


def _saved(root: str, overrides: Sequence[str]) -> Config:
    text = settings_of(root)
    if text is None:
        raise ValueError(
            f"{root} is neither a configuration nor an experiment that was driven before; "
            "the first time: losda drive CONFIG --out DIR"
        )
    return load_text(text, root, overrides)


def _end(experiment: Experiment, cycles: int | None) -> pd.Timestamp | None:
    """Return the last cycle time, if there is one."""
    if cycles is not None and cycles < 1:
        raise ValueError(f"--cycles {cycles}: allowed is 1 or more")
    ends = [] if cycles is None else [experiment.start + (cycles - 1) * experiment.step]
    if experiment.config.operations.end is not None:
        ends.append(pd.Timestamp(experiment.config.operations.end))
    return min(ends, default=None)


def _checked_until(experiment: Experiment, end: pd.Timestamp | None) -> Experiment:
    """Return the experiment with as many cycles as are checked before it starts."""
    cycles = 1 if end is None else (end - experiment.start) // experiment.step + 1
    return Experiment(
        root=experiment.root, config=experiment.config.model_copy(update={"cycles": cycles})
    )


def drive_experiment(experiment: Experiment, how: How) -> dict[str, Any]:
    """Drive an experiment until its end or a signal, and return the JSON document.

    Args:
        experiment: What to drive.
        how: How to drive it.

    Raises:
        ValueError: The input is wrong, the experiment is driven already, or a stage is stale.
    """
    api = start_api(experiment)
    try:
        with at_the_wheel(experiment, how) as (driver, start):
            gc.freeze()  # what is loaded by now stays to the end
            api.wait()
            from flows.driving import drive

            left = run_until_signal(lambda stop: drive(driver, how, stop))
    finally:
        api.stop()
    return {"experiment": experiment.root, "start": start, "open": rows(left)}


@contextmanager
def at_the_wheel(experiment: Experiment, how: How) -> Iterator[tuple[Driver, str]]:
    """Be the one who drives an experiment; yield the driver, and `warm` or `cold` start.

    Raises:
        ValueError: The input is wrong, the experiment is driven already, or a stage is stale.
    """
    end = _end(experiment, how.cycles)
    if how.until_done and end is None:
        raise ValueError("--until-done needs a last cycle: --cycles or operations.end")
    if not how.wait:
        require_free(experiment.root)
    runtime = prepare(_checked_until(experiment, end))
    with _our_turn(experiment.root, how.wait):
        save_settings(experiment)
        driver, start = _start(runtime, end)
        from flows.artifacts import clerk_at_work

        with monitored(runtime.plan), clerk_at_work():
            yield driver, start


@contextmanager
def _our_turn(root: str, wait: bool) -> Iterator[None]:
    """Be the one who drives, at once or when the others have ended."""
    with ExitStack() as stack:
        said = False
        while True:
            try:
                stack.enter_context(driving(root))
                break
            except DrivenError as error:
                if not wait:
                    raise
                if not said:
                    sys.stderr.write(f"losda: {error}; waiting for its end\n")
                said = True
                time.sleep(WAIT)
        yield


def _start(runtime: "Runtime", end: pd.Timestamp | None) -> tuple[Driver, str]:
    """Return the driver, and whether it is a warm or a cold start.

    Raises:
        StaleCommitError: A stage was done with another code, configuration or input.
    """
    from tasks.ingest import missing_sources, unread_files

    experiment, root = runtime.experiment, runtime.experiment.root
    start = "warm" if names(join(root, LEDGER)) else "cold"
    journal, clock, late = Journal(root), clock_of(experiment), None
    if runtime.observing is not None:
        unread = partial(unread_files, runtime)
        late = LateFiles(runtime.plan, journal, clock, experiment.config, unread)
    driver = Driver(
        experiment=experiment,
        overview=Overview(runtime.plan, experiment.start),
        journal=journal,
        clock=clock,
        missing=lambda time: missing_sources(runtime, time),
        end=end,
        late=late,
    )
    cycles = driver.overview.unfinished(orders_of(driver.journal.entries()))
    for cycle in cycles:
        if cycle.stale:
            where = f"cycle {cycle_name(cycle.time)} in {root}"
            raise StaleCommitError(f"{where}: {cycle.stale}; `losda rerun --stale` reopens it")
    origin = "from the first guess" if start == "cold" else "goes on"
    what = f"{root}: {start} start, {origin} at cycle {cycle_name(cycles[0].time)}"
    sys.stderr.write(f"losda: {what}\n")
    return driver, start


def print_drive(document: dict[str, Any]) -> None:
    """Print what is open."""
    lines = [
        {"cycle": str(row["cycle_time"]), "": f"{row['kind']}: {row['why']}"}
        for row in document["open"]
    ]
    print_rows(lines, f"{document['experiment']}: not driven any more; open is")


def seconds_of(name: str, text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: It is none.
    """
    try:
        seconds = pd.Timedelta(text).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"{name} {text!r}: allowed is a duration such as 60s or PT10M")
    return float(seconds)
