"""The buddy check: a departure is judged by those of the neighbors.

Normalized departures δ_i = (O-B)_i / σ_b,i = β_i + ε_i have the variances 1 and r_i = σ_o²/σ_b², and
background errors the correlation ρ(D) = exp(-D²/2L²). With m the mean of the n neighbors' departures,
the best linear estimate of β_i and the variance of what is left are

    κ m,  κ = cov / var,    1 + r_i - κ cov,
    cov = ρ(D_i),   var = 1/n + (1 - 1/n) ρ(D) + r̄/n,

with the root-mean-square distances D_i from i to the neighbors and D among them. A departure fails if

    |δ_i - κ m| > factor · √(1 + r_i - κ cov).

So a value that the background denies but the neighbors confirm is kept, and one that the background
would let pass is found where the neighbors know better. Neighbors are the values of other stations
of the same variable and layer in the 27 cells of the size L/2 around i; only sums over cells are
needed, so the cost is linear. What fails worst in its cell goes first, the others are looked at
again without it.

References:
    | Lorenc (1981), A global three-dimensional multivariate statistical interpolation scheme,
    | doi 10.1175/1520-0493(1981)109<0701:AGTDMS>2.0.CO;2
    | Dee et al. (2001), An adaptive buddy check for observational quality control,
    | doi 10.1002/qj.49712757722
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.errors import nominal_pressure

__all__ = ["BuddySettings", "Judgement", "Places", "buddy_statistic", "judge"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
Codes = NDArray[np.int64]
EARTH_RADIUS = 6371.0
LAYER = 0.25
ROUNDS = 6
SIDE = 1 << 12
SURFACE = ("t2m", "q2m", "u10", "v10", "sp", "msl", "sst")


@dataclass(frozen=True)
class BuddySettings:
    """How neighbors judge.

    Attributes:
        factor: Allowed number of standard deviations.
        length: Correlation length L of background errors [km].
        least: So many neighbors are needed.
    """

    factor: float = 4.0
    length: float = 400.0
    least: int = 2


@dataclass(frozen=True)
class Judgement:
    """What the neighbors say; where there are too few of them, nothing.

    Attributes:
        far: Rows that they speak against.
        near: Rows that they confirm.
    """

    far: Rows
    near: Rows


def judge(
    table: pd.DataFrame,
    candidates: Rows,
    departure: Array,
    deviation: Array,
    settings: BuddySettings,
) -> Judgement:
    """Return what the neighbors say about the candidates.

    Args:
        table: Observations.
        candidates: Rows that nothing speaks against.
        departure: O-B of each row [SI].
        deviation: Background-error standard deviation at each row [SI].
        settings: How neighbors judge.
    """
    usable = candidates & np.isfinite(departure) & (deviation > 0)
    rows = np.flatnonzero(usable)
    far, near = np.zeros((2, len(table)), bool)
    if len(rows) <= settings.least:
        return Judgement(far, near)
    own = table.iloc[rows]
    places = Places.of(own, settings.length)
    normal = departure[rows] / deviation[rows]
    ratio = (own["error"].to_numpy(np.float64) / deviation[rows]) ** 2
    active = np.ones(len(rows), bool)
    for number in range(ROUNDS):
        statistic, _ = buddy_statistic(places, normal, ratio, active, settings)
        failing = active & (statistic > settings.factor)
        if not failing.any():
            break
        worst = np.zeros(places.count)
        np.maximum.at(worst, places.cell, np.where(failing, statistic, 0.0))
        last = number == ROUNDS - 1
        active &= ~(failing & ((statistic >= worst[places.cell]) | last))
    again, known = buddy_statistic(places, normal, ratio, active, settings)
    far[rows] = ~active & (again > settings.factor)
    near[rows] = known & (again <= settings.factor)
    return Judgement(far, near)


@dataclass(frozen=True)
class Places:
    """Where the rows of a table are.

    Attributes:
        vector: Unit vectors, of the shape (row, 3).
        cell: The cell of each row: a variable, a layer and a box.
        station: The station in its cell.
        around: The cells around each cell, of the shape (cell, 27); `count` where there is none.
        count: Number of cells.
        stations: Number of stations in cells.
    """

    vector: Array
    cell: Codes
    station: Codes
    around: Codes
    count: int
    stations: int

    @classmethod
    def of(cls, table: pd.DataFrame, length: float) -> "Places":
        """Return the places of a table's rows, for a correlation length [km]."""
        latitude = np.radians(table["lat"].to_numpy(np.float64))
        longitude = np.radians(table["lon"].to_numpy(np.float64))
        vector = np.stack(
            [
                np.cos(latitude) * np.cos(longitude),
                np.cos(latitude) * np.sin(longitude),
                np.sin(latitude),
            ],
            axis=1,
        )
        group = _groups(table)
        size = max(0.5 * length / EARTH_RADIUS, 4.0 / SIDE)
        box = np.floor(vector / size).astype(np.int64) + SIDE // 2
        steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
        keys, cell = np.unique(_key(group, box), return_inverse=True)
        first = np.zeros(len(keys), np.int64)
        first[cell] = np.arange(len(cell))
        near = _key(group[first][:, None], box[first][:, None] + steps)
        place = np.searchsorted(keys, near).clip(0, len(keys) - 1)
        around = np.where(keys[place] == near, place, len(keys))
        name = pd.factorize(table["station"])[0].astype(np.int64)
        pairs, station = np.unique(cell * (name.max() + 1) + name, return_inverse=True)
        return cls(vector, cell, station, around, len(keys), len(pairs))


def _groups(table: pd.DataFrame) -> Codes:
    """Return a number for each variable and layer."""
    variable = pd.factorize(table["variable"])[0].astype(np.int64)
    surface = table["variable"].isin(SURFACE).to_numpy()
    layer = np.floor(np.log(nominal_pressure(table)) / LAYER).astype(np.int64)
    return np.asarray(variable * 1024 + np.where(surface, 0, layer + 100))


def _key(group: Codes, box: Codes) -> Codes:
    return ((group * SIDE + box[..., 0]) * SIDE + box[..., 1]) * SIDE + box[..., 2]


def buddy_statistic(
    places: Places, normal: Array, ratio: Array, active: Rows, settings: BuddySettings
) -> tuple[Array, Rows]:
    """Return |δ - κ m| over its standard deviation, and where there are enough neighbors."""
    ones = np.ones(len(normal))
    parts = np.column_stack([ones, normal, ratio, places.vector]) * active[:, None]
    cells = _sums(parts, places.cell, places.count)
    padded = np.vstack([cells, np.zeros(cells.shape[1])])
    around = padded[places.around].sum(1)
    own = _sums(parts, places.station, places.stations)
    others = around[places.cell] - own[places.station]
    number = np.round(others[:, 0])
    enough = number >= settings.least
    n = np.where(enough, number, 1.0)
    mean, r, center = others[:, 1] / n, others[:, 2] / n, others[:, 3:] / n[:, None]
    scale = (EARTH_RADIUS / settings.length) ** 2
    apart = 2.0 * (1.0 - (places.vector * center).sum(1))
    among = 2.0 * (1.0 - (center**2).sum(1)) * n / np.maximum(n - 1.0, 1.0)
    covariance = np.exp(-0.5 * scale * np.maximum(apart, 0.0))
    correlation = np.exp(-0.5 * scale * np.maximum(among, 0.0))
    variance = 1.0 / n + (1.0 - 1.0 / n) * correlation + r / n
    weight = covariance / variance
    left = 1.0 + ratio - weight * covariance
    statistic = np.abs(normal - weight * mean) / np.sqrt(np.maximum(left, 1e-12))
    return np.where(enough, statistic, 0.0), enough


def _sums(parts: Array, code: Codes, count: int) -> Array:
    """Return the sums of each column over the rows of each code; (code, column)."""
    return np.stack([np.bincount(code, part, count) for part in parts.T], axis=1)
