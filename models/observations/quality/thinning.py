"""Dense observations to the resolution of the analysis: one of each box stays, or speaks for all.

Boxes are rows of equal height and, in each, columns of nearly the same width; layers are parts of
ln p. Thinning keeps the value nearest in time, then to the middle of the box, the same for all
variables of a report. A superobservation is that same row with the mean departure of all,

    y = H(x_b) + Σ w (O-B) / Σ w,  w = 1/σ_o²,   σ² = σ̄² (c + (1 - c) / n),

with the part c of the error variance that the values of a box have in common; so nothing is added
to the table, and the value that was reported stays beside it.

References:
    | Lorenc (1981), doi 10.1175/1520-0493(1981)109<0701:AGTDMS>2.0.CO;2 (superobservations)
    | Liu & Rabier (2002), The interaction between model resolution, observation resolution and
    | observation density in data assimilation, doi 10.1256/qj.00.211
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.errors import nominal_pressure

__all__ = ["ThinningSettings", "boxes", "superobservations", "thinned"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
Codes = NDArray[np.int64]
DEGREE = 111.195
SURFACE = ("t2m", "q2m", "u10", "v10", "sp", "msl", "sst")


@dataclass(frozen=True)
class ThinningSettings:
    """How dense observations may be.

    Attributes:
        kind: `none`, `thin` or `superob`.
        spacing: Size of a box [km].
        layer: Depth of a layer in ln p [1]; 0.2 is 18 % of the pressure.
        types: Report types that are thinned; each for itself.
        common: Part of the error variance that the values of a box have in common [1].
    """

    kind: Literal["none", "thin", "superob"] = "thin"
    spacing: float = 300.0
    layer: float = 0.2
    types: tuple[str, ...] = ("aircraft", "satwind", "metar", "synop", "ship", "buoy", "profiler")
    common: float = 0.3


def boxes(table: pd.DataFrame, settings: ThinningSettings) -> tuple[Codes, Array]:
    """Return a number for each type, variable, box and layer, and distances from the middle [km]."""
    latitude = table["lat"].to_numpy(np.float64)
    longitude = table["lon"].to_numpy(np.float64) % 360.0
    height = settings.spacing / DEGREE
    rows = max(1, round(180.0 / height))
    row = np.minimum(((latitude + 90.0) / 180.0 * rows).astype(np.int64), rows - 1)
    middle = (row + 0.5) * 180.0 / rows - 90.0
    columns = np.maximum(1, np.round(360.0 * np.cos(np.radians(middle)) / height))
    column = np.minimum(longitude / 360.0 * columns, columns - 1e-9).astype(np.int64)
    east = (longitude - (column + 0.5) * 360.0 / columns) * np.cos(np.radians(middle))
    distance = np.hypot(east, latitude - middle) * DEGREE
    surface = table["variable"].isin(SURFACE).to_numpy()
    level = np.floor(np.log(nominal_pressure(table)) / settings.layer).astype(np.int64)
    names = pd.DataFrame(
        {
            "type": pd.factorize(table["type"])[0],
            "variable": pd.factorize(table["variable"])[0],
            "box": row * 100_000 + column,
            "layer": np.where(surface, -1, level),
        }
    )
    key = pd.util.hash_pandas_object(names, index=False).to_numpy().view(np.int64)
    return np.asarray(np.unique(key, return_inverse=True)[1], np.int64), distance


def thinned(
    table: pd.DataFrame, candidates: Rows, offset: Array, settings: ThinningSettings
) -> tuple[Rows, Codes]:
    """Tell which candidates another one of their box stands for.

    Args:
        table: Observations.
        candidates: Rows that nothing speaks against.
        offset: Distance of each from the time it is compared at [s].
        settings: How dense they may be.

    Returns:
        The rows that are left out, and for each row the one that stands for it (itself where it
        stays or is no candidate).
    """
    stands, out = np.arange(len(table)), np.zeros(len(table), bool)
    dense = candidates & table["type"].isin(settings.types).to_numpy()
    rows = np.flatnonzero(dense)
    if settings.kind == "none" or not len(rows):
        return out, stands
    own = table.iloc[rows]
    box, distance = boxes(own, settings)
    minutes = np.round(np.abs(offset[rows]) / 600.0)
    report = pd.factorize(own["station"])[0]
    order = np.lexsort((report, np.round(distance, 3), minutes, box))
    ordered = box[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]]
    first = order[np.flatnonzero(begins)]
    chosen = np.empty(len(rows), np.int64)
    chosen[order] = first[np.cumsum(begins) - 1]
    out[rows] = chosen != np.arange(len(rows))
    stands[rows] = rows[chosen]
    return out, stands


def superobservations(
    table: pd.DataFrame, members: Rows, stands: Codes, departure: Array, common: float
) -> pd.DataFrame:
    """Return the table with the values and errors of superobservations in the rows that stay.

    Args:
        table: Observations.
        members: Rows that are merged, the staying ones among them.
        stands: For each row the one that stands for it.
        departure: O-B of each row [SI].
        common: Part of the error variance that the values of a box have in common [1].

    Returns:
        The table with `observation` and `error` changed, and the columns `reported` (the value
        before) and `merged` (of how many values it is; 0 for rows that are not used).
    """
    value, error = (table[n].to_numpy(np.float64).copy() for n in ("observation", "error"))
    rows = np.flatnonzero(members)
    target, weight, size = stands[rows], 1.0 / error[rows] ** 2, len(table)
    count = np.bincount(target, minlength=size)
    total = np.bincount(target, weight, size)
    mean = np.bincount(target, weight * departure[rows], size)
    several = np.flatnonzero(count > 1)
    n = count[several]
    value[several] += mean[several] / total[several] - departure[several]
    error[several] = np.sqrt(n / total[several] * (common + (1.0 - common) / n))
    return table.assign(
        observation=value, error=error, reported=table["observation"], merged=count
    )
