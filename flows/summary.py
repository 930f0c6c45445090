"""The result of a run as one JSON document and as a table, from the commits of the ledger.

Errors are area-weighted mean squares in units of the climatological anomaly variance, mean over
fields; `wmse` counts in units of the 24 h background-error variance. Means leave the spin-up out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from tasks.experiment import STAGES, Experiment
from tasks.plan import Plan

__all__ = ["cycle_row", "document", "means", "table"]

SOURCES = ("analysis", "background", "free")
Row = dict[str, Any]


def cycle_row(plan: Plan, time: pd.Timestamp) -> Row:
    """Return what the ledger says of a finished cycle.

    Raises:
        ReopenedError: It is not finished (any more).
    """
    done = {stage: plan.committed(time, stage) for stage in STAGES}
    summary: Mapping[str, Any] = done["verification"].summary
    return {
        "cycle_time": time.isoformat(),
        **{source: summary["mse"][source]["all"] for source in SOURCES},
        **{f"{source}_wmse": summary["wmse"][source] for source in SOURCES},
        "variables": {
            name: {source: summary["mse"][source][name] for source in SOURCES}
            for name in summary["mse"]["analysis"]
            if name != "all"
        },
        "seconds": {stage: sum(commit.seconds.values()) for stage, commit in done.items()},
    }


def document(experiment: Experiment, plan: Plan) -> dict[str, Any]:
    """Return the JSON document of a finished run."""
    plan = plan.at_once()
    rows = [cycle_row(plan, time) for time in experiment.cycle_times()]
    return {
        "experiment": experiment.root,
        "method": experiment.config.method.kind,
        "cycles": rows,
        "mean": means(rows[experiment.config.spin_up :]),
    }


def means(rows: list[Row]) -> dict[str, Any]:
    """Return the means over cycles; None where there is no cycle."""
    names = [*SOURCES, *(f"{source}_wmse" for source in SOURCES)]
    variables = rows[0]["variables"] if rows else {}
    return {
        **{name: _mean(row[name] for row in rows) for name in names},
        "variables": {
            name: {s: _mean(row["variables"][name][s] for row in rows) for s in SOURCES}
            for name in variables
        },
    }


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def table(mean: dict[str, Any]) -> list[dict[str, str]]:
    """Return the means as rows for people."""
    rows = [("all", mean), *mean["variables"].items()]
    return [
        {"variable": name, **{source: _text(values[source]) for source in SOURCES}}
        for name, values in rows
    ]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
