"""How well analyses fit observations that were withheld from them, against their backgrounds.

For each type and variable, over the withheld observations of all cycles,

    RMS(O-B),  RMS(O-A),  RMS(O-A) - RMS(O-B) with the 95 % interval of a bootstrap over the stations.

The observations' own errors are in both. Below zero the analysis brought something from elsewhere.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from models.observations.quality.withholding import station_names, withheld
from models.verification.bootstrap import group_rms, interval

__all__ = ["fit_of_withheld", "withheld_rows"]

DEPARTURES = ["o_minus_b", "o_minus_a"]
KEYS = ["type", "variable"]


def withheld_rows(feedback: pd.DataFrame) -> pd.DataFrame:
    """Return what was withheld and passed the checks: type, variable, station, O-B and O-A [SI].

    Args:
        feedback: Every observation of a cycle, with `o_minus_b` and `o_minus_a`.
    """
    rows = feedback[withheld(feedback)]
    found = rows[["type", "variable", *DEPARTURES]].assign(station=station_names(rows))
    return found.reset_index(drop=True)


def fit_of_withheld(rows: pd.DataFrame) -> pd.DataFrame:
    """Return counts, RMS of O-B and O-A, and the interval of their difference, by type and variable.

    Args:
        rows: Of `withheld_rows`, of any number of cycles.
    """
    found = [_fit(type_, variable, own) for (type_, variable), own in _groups(rows)]
    names = [*KEYS, "count", "stations", "background", "analysis", "low", "high"]
    return pd.DataFrame(found, columns=names)


def _groups(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    for (type_, variable), own in rows.groupby(KEYS, sort=True):
        yield (str(type_), str(variable)), own


def _fit(type_: str, variable: str, own: pd.DataFrame) -> tuple[object, ...]:
    squares = (own[DEPARTURES].astype(np.float64) ** 2).groupby(own["station"])
    sums, counts = squares.sum().to_numpy().T, squares.size().to_numpy(np.float64)
    background, analysis = np.sqrt(sums.sum(1) / counts.sum())
    drawn = group_rms(sums, counts)
    numbers = (float(background), float(analysis), *interval(drawn[1] - drawn[0]))
    return (type_, variable, len(own), len(counts), *numbers)
