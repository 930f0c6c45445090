"""What the files of the ledger are called, and what their names alone say.

In ROOT/ledger/CYCLE/:

    STAGE.json                the commit of the first generation of a stage
    STAGE.reopened-G.json     generation G counts no more
    STAGE.G.json              the commit of generation G, from the second on
    STAGE.removed-G.json      the files that generation G committed may be gone
"""

import re
from collections.abc import Iterable
from datetime import datetime

import pandas as pd

from tasks.ledger_records import Standing

__all__ = [
    "ATTEMPTS",
    "CYCLE",
    "LEDGER",
    "REMOVED",
    "REOPENED",
    "Stage",
    "cycle_of",
    "cycle_time_of",
    "file_name",
    "standings",
]

CYCLE = "%Y%m%dT%H"
LEDGER, ATTEMPTS = "ledger", "attempts"
REOPENED, REMOVED = "reopened-", "removed-"
NAME = re.compile(rf"([^.]+)(?:\.({REOPENED}|{REMOVED})?([1-9][0-9]*))?\.json")

Stage = tuple[pd.Timestamp, str]


def cycle_of(cycle_time: pd.Timestamp) -> str:
    """Return the name of a cycle.

    Raises:
        ValueError: The time has none.
    """
    name: str = cycle_time.strftime(CYCLE)
    if cycle_time.tzinfo is not None or pd.Timestamp(datetime.strptime(name, CYCLE)) != cycle_time:
        raise ValueError(f"cycle time {cycle_time}: allowed is a full hour, UTC without time zone")
    return name


def cycle_time_of(cycle: str) -> pd.Timestamp:
    """Return the time of a cycle's name."""
    return pd.Timestamp(datetime.strptime(cycle, CYCLE))


def file_name(stage: str, generation: int, mark: str = "") -> str:
    """Return the name of a commit, or of a mark on one."""
    return f"{stage}.{mark}{generation}.json" if mark or generation > 1 else f"{stage}.json"


def standings(names: Iterable[str]) -> dict[str, Standing]:
    """Return where the stages of a cycle stand, by the names of its files."""
    last: dict[tuple[str, str | None], int] = {}
    for match in filter(None, map(NAME.fullmatch, names)):
        stage, mark, number = match.groups()
        last[stage, mark] = max(last.get((stage, mark), 0), int(number or 1))
    found = {}
    for stage in {stage for stage, _ in last}:
        commit, reopened = last.get((stage, None), 0), last.get((stage, REOPENED), 0)
        generation = max(commit, reopened + 1)
        removed = last.get((stage, REMOVED), 0) == generation
        found[stage] = Standing(generation, commit == generation, removed)
    return found
