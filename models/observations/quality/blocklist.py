"""The blocklist: rows that somebody decided not to use, by patterns and a period."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.errors import FIELDS, matches

__all__ = ["Block", "blocked"]


@dataclass(frozen=True)
class Block:
    """One entry: patterns such as `temp` or `89*`, and when it holds.

    Attributes:
        type: Report type.
        variable: Observed variable.
        station: Identifier of the station.
        source: Where it comes from.
        since: First time, UTC; from ever if None.
        until: Last time, UTC; for ever if None.
    """

    type: str = "*"
    variable: str = "*"
    station: str = "*"
    source: str = "*"
    since: pd.Timestamp | None = None
    until: pd.Timestamp | None = None


def blocked(table: pd.DataFrame, entries: Sequence[Block]) -> NDArray[np.bool_]:
    """Tell which rows are on the blocklist."""
    found = np.zeros(len(table), bool)
    for entry in entries:
        rows = matches(table, {name: getattr(entry, name) for name in FIELDS})
        if entry.since is not None:
            rows &= (table["time"] >= entry.since).to_numpy()
        if entry.until is not None:
            rows &= (table["time"] <= entry.until).to_numpy()
        found |= rows
    return found
