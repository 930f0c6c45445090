"""Observations that are kept from the analysis and judge it: cross-validation by station.

The stations are split into parts, and those of one part are withheld:

    part of a station = SHA-256(seed, name) mod parts

A station is in the same part whatever else is observed, so in a cycle it has had no influence on
the background either. Each is in one part, so analyses with each part withheld in turn withhold each
station once. What has no name is told by its position.

References:
    | Wahba & Wendelberger (1980), Some new mathematical methods for variational objective analysis
    | using splines and cross validation, doi 10.1175/1520-0493(1980)108<1122:SNMMFV>2.0.CO;2
"""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.quality.reasons import Reason, Verdicts

__all__ = ["part_of_stations", "station_names", "withheld", "withhold"]

Rows = NDArray[np.bool_]


def station_names(table: pd.DataFrame) -> pd.Series:
    """Return what each row's station is told by: its name, or else its position to 0.01 degrees."""
    places = zip(table["station"], table["lat"], table["lon"], strict=True)
    names = [station or f"{lat:.2f} {lon:.2f}" for station, lat, lon in places]
    return pd.Series(names, table.index, dtype="str")


def part_of_stations(table: pd.DataFrame, parts: int, seed: int) -> NDArray[np.int64]:
    """Return the part that each row's station belongs to.

    Args:
        table: A validated table.
        parts: Number of parts.
        seed: Seed of the experiment.
    """
    codes, names = pd.factorize(station_names(table))
    found = [_number(f"{seed}\0withheld\0{name}") % parts for name in names]
    return np.asarray(found, np.int64)[codes]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def withhold(table: pd.DataFrame, parts: int, part: int, seed: int) -> pd.DataFrame:
    """Take the used rows of one part of the stations out of use.

    Args:
        table: A screened table.
        parts: Number of parts.
        part: The one that is withheld, from 0.
        seed: Seed of the experiment.
    """
    verdicts = Verdicts.of(table)
    verdicts.reject(part_of_stations(table, parts, seed) == part, Reason.WITHHELD)
    return verdicts.on(table)


def withheld(table: pd.DataFrame) -> Rows:
    """Tell which rows are withheld."""
    return np.asarray(table["reason"] == Reason.WITHHELD, bool)
