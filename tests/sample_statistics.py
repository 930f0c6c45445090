"""Statistics of what files hold, by source, report type and variable, for people to look at.

    python -m tests.sample_statistics FILE…

prints one line each: count, mean, standard deviation, least and largest value, and how many of them
the first checks of the quality control refuse (values that no atmosphere has).
"""

import sys
from collections.abc import Sequence

import pandas as pd

from models.observations.quality.values import impossible_places, impossible_values
from tasks.ingest_files import read_tables

__all__ = ["statistics_of"]

GROUPS = ["source", "type", "variable"]


def statistics_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return count, mean, std, min, max and the number of refused values by group."""
    refused = impossible_values(table) | impossible_places(table)
    groups = table.assign(refused=refused).groupby(GROUPS, sort=True)
    numbers = groups["observation"].agg(["count", "mean", "std", "min", "max"])
    return numbers.assign(refused=groups["refused"].sum())


def main(addresses: Sequence[str]) -> None:
    """Print the statistics of files."""
    found = statistics_of(read_tables(addresses).table)
    sys.stdout.write(found.to_string(float_format=lambda value: f"{value:.4g}") + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
