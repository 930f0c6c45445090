"""Failures of stages, noted in the journal, so that their number outlives every process.

An attempt that raises notes it itself. A process that was killed cannot: it leaves its lease, which
whoever drives the experiment finds dead, and notes once for each attempt.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pandas as pd

from configs.hiding import hiding
from tasks.due import CycleState
from tasks.experiment import cycle_name
from tasks.journal import Entry, Journal, Kind
from tasks.ledger import ReopenedError, StageBusyError, StaleCommitError
from tasks.ledger_lease import dead
from tasks.plan import CYCLE_STAGES, Plan

__all__ = ["failure_of", "note_deaths", "recorded"]

LONGEST = 500


@contextmanager
def recorded(plan: Plan, time: pd.Timestamp, stage: str) -> Iterator[None]:
    """Note in the journal that a stage failed, if the block raises an error.

    That it was reopened, is made elsewhere or is stale is no failure of the stage.
    """
    try:
        with hiding():
            yield
    except (ReopenedError, StageBusyError, StaleCommitError):
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        with suppress(OSError):  # the disk may be full; the error itself is what matters
            Journal(plan.root).write(failure_of(plan, time, stage, text))
        raise


def failure_of(plan: Plan, time: pd.Timestamp, stage: str, text: str) -> Entry:
    """Return the entry that a stage failed."""
    return _entry(plan, "failure", time, stage, text)


def note_deaths(plan: Plan, journal: Journal, cycles: Iterable[CycleState]) -> None:
    """Note in the journal which attempts at open stages ended with their process."""
    known = {entry.attempt for entry in journal.entries() if entry.kind == "death"}
    for cycle in cycles:
        for stage in cycle.open:
            if stage not in CYCLE_STAGES:
                continue
            lease = dead(plan.ledger.folder(cycle.time, stage))
            if lease is not None and lease.attempt not in known:
                text = f"process {lease.process} on {lease.host} was killed"
                journal.write(_entry(plan, "death", cycle.time, stage, text, lease.attempt))


def _entry(
    plan: Plan, kind: Kind, time: pd.Timestamp, stage: str, text: str, attempt: str = ""
) -> Entry:
    generation = plan.generation(time, stage)
    return Entry(
        kind=kind,
        text=text,
        cycle=cycle_name(time),
        stage=stage,
        generation=generation,
        attempt=attempt,
    )
