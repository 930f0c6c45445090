"""Checks of what an observation should have been, and what follows for those beside it.

With independent errors O-B has the variance σ_o² + σ_b². Components of the wind go together: one
alone is no wind. And a station with many wrong values is not where it says, or broken altogether.

References:
    | Lorenc & Hammon (1988), Objective quality control of observations using Bayesian methods,
    | doi 10.1002/qj.49711448012
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["far_from", "of_bad_stations", "without_partner"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
PARTNERS = (("u", "v"), ("u10", "v10"))


def far_from(departure: Array, error: Array, deviation: Array, factor: float) -> Rows:
    """Tell where |departure| > factor · √(error² + deviation²); NaN is not checked.

    Args:
        departure: Observation minus what was expected [SI].
        error: Observation-error standard deviation [SI].
        deviation: Standard deviation of what was expected [SI].
        factor: Allowed number of standard deviations.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(departure) > factor * np.hypot(error, deviation))


def without_partner(table: pd.DataFrame, candidates: Rows, rejected: Rows) -> Rows:
    """Tell which candidates are a component of a wind whose other component was rejected.

    Args:
        table: Observations.
        candidates: Rows that nothing speaks against.
        rejected: Rows whose value is wrong.
    """
    found = np.zeros(len(table), bool)
    columns = ["time", "lat", "lon", "pres", "level", "station", "source"]
    name = table["variable"].to_numpy(object)
    for first, second in PARTNERS:
        for one, other in ((first, second), (second, first)):
            bad = np.flatnonzero(rejected & (name == one))
            good = np.flatnonzero(candidates & (name == other))
            if len(bad) and len(good):
                ours, theirs = (
                    pd.util.hash_pandas_object(table[columns].iloc[rows], index=False).to_numpy()
                    for rows in (good, bad)
                )
                found[good] |= np.isin(ours, theirs)
    return found


def of_bad_stations(table: pd.DataFrame, candidates: Rows, rejected: Rows, part: float) -> Rows:
    """Tell which candidates are of a station with too many wrong values in the window.

    Args:
        table: Observations; those without an identifier of a station are left alone.
        candidates: Rows that nothing speaks against.
        rejected: Rows whose value is wrong.
        part: So many of a station's values, and at least two, are too many [1].
    """
    names = table[["type", "station"]]
    key = pd.factorize(pd.util.hash_pandas_object(names, index=False))[0]
    wrong = np.bincount(key, rejected)
    judged = np.bincount(key, rejected | candidates)
    bad = (wrong >= 2) & (wrong >= part * judged)
    named = (table["station"] != "").to_numpy(bool)
    return np.asarray(candidates & named & bad[key])
