"""How far off the background is around an observation, by what other stations there say.

Normalized departures |O-B| / √(σ_o² + σ_b²) have the median 0.6745 where the background is as good as
assumed. Where it is worse, as over an ocean at a cold start, all stations show it; mistakes are those of
single ones. So the size of departures around an observation i is

    s_i = median over the nearest other stations within R of (median over the station's values) / 0.6745,

and not less than one; √(σ_o² + σ_b²) s_i is what may be expected there. Where there are too few stations
the size over all observations stands for it.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.observations.quality.withholding import station_names

__all__ = ["NORMAL_MEDIAN", "size_of_departures"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
NORMAL_MEDIAN = 0.6745
"""Median of |x| for x ~ N(0, 1)."""
EARTH_RADIUS = 6371.0
CELL = 5.0
"""The values of a moving station within so many degrees count as one station's."""


def size_of_departures(
    table: pd.DataFrame,
    normal: Array,
    counts: Rows,
    radius: float = 1500.0,
    nearest: int = 20,
    least: int = 4,
) -> Array:
    """Return the size of normalized departures around each row, 1 where they are as assumed or less.

    Args:
        table: Observations, with position and station.
        normal: Normalized departures (O-B) / √(σ_o² + σ_b²).
        counts: Rows that say how large departures are.
        radius: Distance R of the stations that are asked [km].
        nearest: So many of them, the nearest.
        least: With fewer, all observations are asked.
    """
    size = np.abs(normal)
    counts = counts & np.isfinite(size)
    if not counts.any():
        return np.ones(len(table))
    everywhere = max(1.0, float(np.median(size[counts])) / NORMAL_MEDIAN)
    name = pd.factorize(station_names(table))[0]
    stations = _stations(table[counts].assign(name=name[counts]), size[counts])
    tree = cKDTree(_vectors(stations))
    chord = 2.0 * np.sin(0.5 * radius / EARTH_RADIUS)
    # some of the nearest may be the station itself, in other cells
    _, found = tree.query(_vectors(table), k=nearest + 2, distance_upper_bound=chord)
    padded = np.append(stations["size"].to_numpy(np.float64), np.nan)[found]
    whose = np.append(stations["name"].to_numpy(np.int64), -1)[found]
    padded[whose == name[:, None]] = np.nan
    enough = np.isfinite(padded).sum(1) >= least
    around = np.full(len(table), everywhere)
    around[enough] = np.nanmedian(padded[enough], axis=1) / NORMAL_MEDIAN
    return np.asarray(np.maximum(around, 1.0))


def _stations(table: pd.DataFrame, size: Array) -> pd.DataFrame:
    """Return mean position, number and median size of each station in each cell."""
    own = pd.DataFrame(
        {
            "name": table["name"],
            "row": np.floor(table["lat"].to_numpy(np.float64) / CELL),
            "column": np.floor(table["lon"].to_numpy(np.float64) / CELL),
            "lat": table["lat"].to_numpy(np.float64),
            "lon": table["lon"].to_numpy(np.float64),
            "size": size,
        }
    )
    parts = own.groupby(["name", "row", "column"])
    found = parts[["lat", "lon"]].mean()
    return found.assign(size=parts["size"].median()).reset_index()


def _vectors(table: pd.DataFrame) -> Array:
    """Return the unit vectors of positions."""
    latitude, longitude = (np.radians(table[n].to_numpy(np.float64)) for n in ("lat", "lon"))
    east = np.cos(latitude)
    return np.stack([east * np.cos(longitude), east * np.sin(longitude), np.sin(latitude)], axis=1)
