"""One row of the monitor for each cycle: a small JSON document of what its stages committed.

    time, generations       the cycle, and which commits the row was made from
    errors, relative        mean squared errors over the climatological, and over the 24 h
                            background-error variance, by source and variable
    departures              counts and sums by source and variable of the observations
    seconds, done           work by stage [s], and when each stage was committed, UTC
    cost                    terms of the cost function at the end of the last step

Rows add up: `merged` gives the row of several cycles, with means of errors and seconds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tasks import archive
from tasks.departures import SUMS, departure_sums
from tasks.experiment import STAGES, cycle_name
from tasks.ledger import Commit, Standing
from tasks.plan import PUBLISHED_STAGES, Plan
from tasks.report_data import read_trace
from tasks.store import join

__all__ = ["Row", "generations", "merged", "row_of"]

Row = dict[str, Any]
MEANS = ("errors", "relative", "seconds", "cost")
DIGITS = 6


def row_of(plan: Plan, time: pd.Timestamp) -> Row:
    """Return the row of a published cycle.

    Raises:
        ReopenedError: The cycle is not complete (any more).
    """
    commits = {stage: plan.committed(time, stage) for stage in STAGES}
    summary: Mapping[str, Any] = commits["verification"].summary
    feedback = join(plan.root, "feedback", f"{cycle_name(time)}.parquet")
    sums = departure_sums(archive.read_table(feedback)).reset_index()
    return {
        "time": cycle_name(time),
        "generations": [commits[stage].generation for stage in PUBLISHED_STAGES],
        "errors": _short(summary.get("mse", {})),
        "relative": _short(summary.get("wmse", {})),
        "departures": [
            [row["source"], row["variable"], *(_short(row[name]) for name in SUMS)]
            for row in sums.to_dict("records")
        ],
        "seconds": _short({stage: sum(c.seconds.values()) for stage, c in commits.items()}),
        "done": {stage: commit.created[:19] for stage, commit in commits.items()},
        "cost": _short(cost_of(commits["analysis"])),
    }


def cost_of(commit: Commit) -> dict[str, float]:
    """Return the last cost function that an analysis left, if any."""
    trace = read_trace(commit)
    if not trace:
        return {}
    return {
        n: float(v) for n, v in trace[-1].items() if n in ("J", "J_b", "J_o") and v is not None
    }


def generations(standings: Mapping[str, Standing]) -> list[int] | None:
    """Return the generations of a cycle's published stages; None if one is not committed."""
    found = [standings.get(stage, Standing()) for stage in PUBLISHED_STAGES]
    return [one.generation for one in found] if all(one.committed for one in found) else None


def merged(rows: Sequence[Row]) -> Row:
    """Return the row of several cycles: means of errors and seconds, sums of departures."""
    sums: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for source, variable, *values in row["departures"]:
            before = sums.setdefault((source, variable), [0.0] * len(SUMS))
            sums[source, variable] = [a + b for a, b in zip(before, values, strict=True)]
    return {
        "time": rows[len(rows) // 2]["time"],
        "cycles": len(rows),
        **{name: _mean([row[name] for row in rows]) for name in MEANS},
        "departures": [[*key, *_short(values)] for key, values in sums.items()],
    }


def _mean(values: Sequence[Any]) -> Any:  # noqa: ANN401
    """Return the mean of numbers, or of numbers in mappings of one layout."""
    if isinstance(values[0], dict):
        names = {name: None for value in values for name in value}
        return {n: _mean([value[n] for value in values if n in value]) for n in names}
    numbers = [value for value in values if value is not None]
    return _short(sum(numbers) / len(numbers)) if numbers else None


def _short(value: Any) -> Any:  # noqa: ANN401
    """Return numbers with few digits; what is not finite is null."""
    if isinstance(value, Mapping):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    number = float(value)
    return float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None
