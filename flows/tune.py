"""`losda tune`: search the settings of a method in cycles of the validation period."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from configs.benchmark import Search
from flows.benchmark import case_runner

__all__ = ["tune"]


def tune(search: Search, directory: str, workers: int = 2) -> dict[str, Any]:
    """Run a search from where it was stopped and write `NAME.csv` with all that was tried.

    Args:
        search: The method and the space.
        directory: Where the cases and the table are.
        workers: Processes side by side; 0 runs the cases in this one.

    Returns:
        The table's rows and the best settings.

    Raises:
        ValueError: A setting or a value does not exist; nothing was run.
    """
    from tasks.tuning import case_error, choose, search_cases

    for name, values in search.space.items():
        for value in values:
            search_cases(search, {name: value})

    def evaluate(choices: Sequence[Any]) -> list[dict[str, float]]:
        cases = [search_cases(search, choice) for choice in choices]
        run([case for group in cases for case in group])
        return [
            {c.network: case_error(search, c, str(Path(directory) / "cases" / c.name)) for c in g}
            for g in cases
        ]

    rows: list[dict[str, Any]] = []
    best: dict[str, Any] = {}
    with case_runner(directory, workers, fragile=True) as run:
        for row in choose(search, evaluate):
            rows.append(row)
            best = row["settings"] if row["best"] else best
            sys.stderr.write(f"{json.dumps(row['settings'])} {row['score']:.4g}\n")
            table(rows).to_csv(Path(directory) / f"{search.name}.csv", index=False)
    return {"name": search.name, "best": best, "rows": [finite(row) for row in rows]}


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows with a column for each setting and network."""
    return pd.DataFrame(
        [{**r["settings"], **r["errors"], "score": r["score"], "best": r["best"]} for r in rows]
    )


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for JSON, which knows no infinity."""
    errors = {k: v if math.isfinite(v) else None for k, v in row["errors"].items()}
    score = row["score"] if math.isfinite(row["score"]) else None
    return row | {"errors": errors, "score": score}
