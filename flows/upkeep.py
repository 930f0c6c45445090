"""What `losda rerun` and `losda gc` do with an experiment, and what they show of it."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
from pydantic import ValidationError

from configs import load_text
from configs.base import DURATIONS
from configs.operations import Operations, Retention
from flows.errors import one_line
from flows.tables import print_rows
from tasks.driver import settings_of
from tasks.experiment import STAGES, cycle_name, cycle_time
from tasks.journal import Entry, Journal
from tasks.ledger import Stage
from tasks.ledger_cleanup import removals, remove
from tasks.ledger_rerun import reopen, stages_to_reopen, stages_until, stale_stages
from tasks.plan import Plan

__all__ = ["clean", "print_clean", "print_rerun", "rerun"]


def rerun(
    root: str,
    cycle: str | None,
    stage: str | None = None,
    *,
    stale: bool = False,
    only: bool = False,
    reason: str = "",
    dry_run: bool = False,
) -> dict[str, Any]:
    """Reopen stages of an experiment and return which ones.

    Args:
        root: Address of the experiment.
        cycle: Name of the cycle; with `stale`, the first one that is looked at.
        stage: Stage of the cycle; by default all.
        stale: Reopen what is stale.
        only: Leave what depends on them as it is.
        reason: Why.
        dry_run: Only say what would be reopened.

    Raises:
        ValueError: There is no such experiment, cycle or stage, or its inputs are gone.
    """
    plan = Plan.read(root).at_once()
    wanted = _wanted(plan, cycle, stage, stale)
    if dry_run:
        reopened = stages_to_reopen(plan, wanted, only)
    else:
        try:
            reopened = list(reopen(plan, wanted, reason, only))
        finally:  # a drive looks from here on again, also if only some were reopened
            if wanted:
                cycle = cycle_name(min(time for time, _ in wanted))
                Journal(root).write(Entry(kind="rerun", text=reason, cycle=cycle))
    return {
        "experiment": root,
        "dry_run": dry_run,
        "reason": reason,
        "reopened": [{"cycle_time": t.isoformat(), "stage": s} for t, s in reopened],
    }


def _wanted(plan: Plan, cycle: str | None, stage: str | None, stale: bool) -> Sequence[Stage]:
    if stage is not None and stage not in STAGES:
        raise ValueError(f"--stage {stage!r}: allowed are {', '.join(STAGES)}")
    time = None if cycle is None else _known_cycle(plan, cycle)
    if stale:
        found = stale_stages(plan, time)
        return [one for one in found if stage in (None, one[1])]
    if time is None:
        raise ValueError(f"which cycle of {plan.root} to rerun is missing; or give --stale")
    return [(time, name) for name in STAGES if stage in (None, name)]


def _known_cycle(plan: Plan, cycle: str) -> pd.Timestamp:
    times = sorted({time for time, _ in stages_until(plan)})
    span = f"{cycle_name(times[0])} to {cycle_name(times[-1])}" if times else "none yet"
    try:
        time = cycle_time(cycle)
    except ValueError:
        time = None
    if time not in times:
        raise ValueError(f"cycle {cycle!r}: allowed are the cycles of {plan.root}, {span}")
    return time


def print_rerun(document: dict[str, Any]) -> None:
    """Print the grid of what was reopened."""
    cycles: dict[str, dict[str, str]] = {}
    for one in document["reopened"]:
        row = cycles.setdefault(one["cycle_time"], dict.fromkeys(STAGES, "-"))
        row[one["stage"]] = "open"
    verb = "would be reopened" if document["dry_run"] else "reopened"
    title = f"{document['experiment']}: {len(document['reopened'])} stages {verb}"
    print_rows([{"cycle": time, **row} for time, row in cycles.items()], title)


def clean(
    root: str, keep: str | None, keep_runs: str | None, dry_run: bool = False
) -> dict[str, Any]:
    """Remove what nobody needs: attempts of an experiment, and Prefect's records of its runs.

    Args:
        root: Address of the experiment.
        keep: Age up to which no attempt goes, an ISO 8601 duration; by default the settings'.
        keep_runs: The same for flow runs.
        dry_run: Only say what would be removed.

    Raises:
        ValueError: There is no experiment, or a duration is none.
    """
    plan, rules = Plan.read(root), _retention(root)
    keep, keep_runs = keep or _text(rules.attempts), keep_runs or _text(rules.runs)
    age, age_of_runs = _duration("--keep", keep), _duration("--keep-runs", keep_runs)
    found = removals(plan, age)
    if not dry_run:
        found = list(remove(plan, found, age))
    name = str(plan.identity["name"])
    return {
        "experiment": root,
        "dry_run": dry_run,
        "keep": keep,
        "runs": {"keep": keep_runs, **_clean_runs(name, root, age_of_runs, dry_run)},
        "bytes": sum(removal.bytes for removal in found),
        "removed": [
            {
                "cycle_time": removal.cycle_time.isoformat(),
                "stage": removal.stage,
                "attempt": removal.attempt,
                "why": removal.why,
                "bytes": removal.bytes,
            }
            for removal in found
        ],
    }


def _retention(root: str) -> Retention:
    """Return the settings of the last drive, or the defaults."""
    settings = settings_of(root)
    rules = load_text(settings, root).operations if settings else Operations()
    return rules.retention


def _text(delay: timedelta) -> str:
    return str(DURATIONS.dump_python(delay, mode="json"))


def _clean_runs(name: str, root: str, age: pd.Timedelta, dry_run: bool) -> dict[str, Any]:
    """Remove Prefect's records; a server that does not answer keeps nothing else from going."""
    from flows.recorded import remove_runs

    try:
        return remove_runs(name, root, age.to_pytimedelta(), dry_run)
    except OSError as error:
        sys.stderr.write(f"losda: {one_line(error)}\n")
        return {"failed": one_line(error)}


def _duration(name: str, text: str) -> pd.Timedelta:
    try:
        age = pd.Timedelta(DURATIONS.validate_python(text))
    except ValidationError:
        age = pd.Timedelta(-1)
    if age < pd.Timedelta(0):
        raise ValueError(f"{name} {text!r}: allowed is a duration such as P7D or PT12H")
    return age


def print_clean(document: dict[str, Any]) -> None:
    """Print how many attempts went from each stage, and why."""
    verb = "would be removed" if document["dry_run"] else "removed"
    removed = document["removed"]
    rows = []
    for stage in STAGES:
        for why in ("published", "lost"):
            these = [one for one in removed if (one["stage"], one["why"]) == (stage, why)]
            if these:
                rows.append({"stage": stage, "attempts": why, **_span(these)})
    total = f"{len(removed)} attempts, {_megabytes(document['bytes'])} MB"
    print_rows(rows, f"{document['experiment']}: {total} {verb}; kept: {document['keep']}")
    runs = document["runs"]
    if "failed" not in runs:
        text = f"{runs['flow_runs']} flow runs, {runs['artifacts']} artifacts {verb}"
        sys.stdout.write(f"Prefect: {text}; kept: {runs['keep']}\n")


def _span(removed: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {
        "number": str(len(removed)),
        "first cycle": removed[0]["cycle_time"],
        "last cycle": removed[-1]["cycle_time"],
        "MB": _megabytes(sum(one["bytes"] for one in removed)),
    }


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
