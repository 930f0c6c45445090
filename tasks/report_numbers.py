"""The numbers of the report, from the long table of scores.

A variable's error in one cycle is the mean over its levels of the area-weighted mean square error
in units of the climatological variance (metric `mse_climatology`), and the root of the mean over
its levels of the squared `rmse`. Means over cycles leave the spin-up out. The 95 % interval of the
mean difference analysis - background is a circular block bootstrap (Politis and Romano 1992) over
the cycles in blocks of about the square root of their number, because errors of one cycle live on
in the next.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.verification.bootstrap import block_means, interval

SOURCES = ("free", "background", "analysis")
ALL = "all"
NORMALIZED = "mse_climatology"
BACKGROUND_UNITS = "mse_background_24h"
ROOTS = ("rmse", "spread")


@dataclass(frozen=True)
class SummaryRow:
    """Mean errors of one variable after the spin-up, by source, and analysis - background."""

    variable: str
    metric: str
    error: Mapping[str, float]  # mean of the metric
    rmse: Mapping[str, float]  # SI
    difference: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        """Say whether the analysis is better than the background beyond chance."""
        if self.interval[1] < 0:
            return "better"
        return "worse" if self.interval[0] > 0 else "undecided"


def at_cycle_time(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Select a metric of the cycle's own states: the shortest lead time of every source."""
    rows = scores[(scores["metric"] == metric) & scores["source"].isin(SOURCES)]
    first = rows.groupby("source")["lead_time"].transform("min")
    return rows[rows["lead_time"] == first]


def through_time(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric by cycle time (rows), variable and source (columns)."""
    rows = at_cycle_time(scores, metric)
    keys = [rows["cycle_time"], rows["variable"], rows["source"]]
    return level_mean(rows["value"], keys, metric).unstack(["variable", "source"])


def by_level(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the mean of a metric over cycles by variable and level (rows) and source."""
    rows = at_cycle_time(scores, metric)
    rows = rows[rows["variable"] != ALL]
    keys = [rows["variable"], rows["level"], rows["source"]]
    return level_mean(rows["value"], keys, metric).unstack("source")


def level_mean(value: pd.Series, keys: list[pd.Series], metric: str) -> pd.Series:
    """Average a metric; those that are roots of mean squares average as squares."""
    if metric not in ROOTS:
        return value.groupby(keys, dropna=False, sort=False).mean()
    root: pd.Series = (value**2).groupby(keys, dropna=False, sort=False).mean() ** 0.5
    return root


def variables_in(scores: pd.DataFrame) -> list[str]:
    """Return the variables in the order of the table, without the row for all of them."""
    names = scores.loc[scores["metric"] == NORMALIZED, "variable"]
    return [str(name) for name in names.unique() if name != ALL]


def difference_interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a serially correlated series."""
    count = len(differences)
    if count < 4:
        return math.nan, math.nan
    return interval(block_means(differences[None], math.ceil(math.sqrt(count)))[0])


def summary(scores: pd.DataFrame) -> list[SummaryRow]:
    """Return a row per variable, one for all, and one for all in background-error variances.

    Args:
        scores: The cycles that count.
    """
    rmse = through_time(scores, "rmse")
    normalized, relative = (through_time(scores, m) for m in (NORMALIZED, BACKGROUND_UNITS))
    names = [name for name in [*variables_in(scores), ALL] if name in normalized]
    rows = [row_of(name, NORMALIZED, normalized, rmse) for name in names]
    if ALL in relative:
        rows.append(row_of(ALL, BACKGROUND_UNITS, relative, rmse))
    return rows


def row_of(variable: str, metric: str, errors: pd.DataFrame, rmse: pd.DataFrame) -> SummaryRow:
    """Average one variable over the cycles."""
    table = errors.xs(variable, axis=1, level="variable")
    empty = pd.DataFrame()
    squares = rmse.xs(variable, axis=1, level="variable") ** 2 if variable in rmse else empty
    differences = np.empty(0)
    if {"analysis", "background"} <= set(table):
        differences = (table["analysis"] - table["background"]).dropna().to_numpy(np.float64)
    return SummaryRow(
        variable,
        metric,
        {name: float(table[name].mean()) for name in SOURCES if name in table},
        {name: float(squares[name].mean()) ** 0.5 for name in SOURCES if name in squares},
        float(differences.mean()) if len(differences) else math.nan,
        difference_interval(differences),
    )


def lead_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean normalized error by lead time [days] (rows) and variable (columns).

    The first row is the analyses that the forecasts started from.
    """
    errors = scores[scores["metric"] == NORMALIZED]
    forecasts = errors[errors["source"] == "forecast"]
    started = errors["cycle_time"].isin(forecasts["cycle_time"].unique())
    now = errors["lead_time"] == pd.Timedelta(0)
    rows = pd.concat([errors[started & now & (errors["source"] == "analysis")], forecasts])
    days = rows["lead_time"].dt.total_seconds() / 86400
    return rows["value"].groupby([days, rows["variable"]]).mean().unstack("variable")
