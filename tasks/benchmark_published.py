"""Cases of a benchmark whose rows are published, which nobody has to run again.

    DIRECTORY/benchmark.parquet   rows of the cases (`tasks.benchmark_report`)
    DIRECTORY/cases.parquet       name, analyses, digest of the code and configuration of each whole case

These two are all that has to be kept of a benchmark. `restore` gives each whole case its directory
back, so in a copy of DIRECTORY the same command runs what is missing and nothing else: another
network, or a method of one's own beside those that are there.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tasks.benchmark_case import Case, last_number, to_parquet
from tasks.store import write_bytes

__all__ = ["CASES", "ROWS", "folder_of", "published", "restore"]

CASES, ROWS = "cases.parquet", "benchmark.parquet"
COLUMNS = ["case", "analyses", "code", "configuration"]


def published(cases: Sequence[Case], directory: str) -> pd.DataFrame:
    """Return name, number of analyses, code and configuration of each case that is whole.

    Args:
        cases: The cases of the benchmark.
        directory: Where its results are.
    """
    found = []
    for case in cases:
        here = folder_of(case, directory)
        if (count := last_number(here, "scores")) >= case.steps:
            made = json.loads((here / "case.json").read_text())
            found.append((case.name, count, made.pop("code"), json.dumps(made)))
    return pd.DataFrame(found, columns=COLUMNS)


def restore(cases: Sequence[Case], directory: str) -> list[str]:
    """Give the published cases that have no directory one with their rows, and return their names.

    Args:
        cases: The cases of the benchmark.
        directory: Where its results are.
    """
    if not (Path(directory) / CASES).exists():
        return []
    records = pd.read_parquet(Path(directory) / CASES).set_index("case")
    missing = [
        case
        for case in cases
        if case.name in records.index and not folder_of(case, directory).exists()
    ]
    if not missing:
        return []
    rows = pd.read_parquet(Path(directory) / ROWS)
    labels = list(missing[0].labels)
    by_labels = {key: part.drop(columns=labels) for key, part in rows.groupby(labels)}
    for case in missing:
        analyses, code, configuration = records.loc[case.name]
        made = {"code": code, **json.loads(str(configuration))}
        here, part = folder_of(case, directory), by_labels[tuple(case.labels.values())]
        here.mkdir(parents=True)
        write_bytes(str(here / f"scores-{analyses:05d}.parquet"), to_parquet(part))
        write_bytes(str(here / "case.json"), json.dumps(made, indent=1).encode())
    return [case.name for case in missing]


def folder_of(case: Case, directory: str) -> Path:
    """Return the directory of a case."""
    return Path(directory) / "cases" / case.name
