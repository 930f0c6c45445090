"""Interpolation stencils: where an observation is in a state, and with what weights.

Horizontally the four grid points around a position with bilinear weights, around the circle where
the grid wraps. Beyond the outermost row of a global grid the next row is the same one on the other
side of the pole, half a turn away. Vertically the level that is named, or the two pressure levels
around with weights linear in ln p. What lies outside has no stencil but a reason.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.observations.observables import sources
from models.state import StateSpec
from models.variables import Variable

__all__ = ["Stencil", "horizontal_stencil", "vertical_stencil"]

HECTOPASCAL = 100.0
SAME_LEVEL = 1e-5
SMALL = 1e-9
Floats = NDArray[np.float64]
Strings = NDArray[np.object_]


@dataclass(frozen=True)
class Stencil:
    """Where the values of each observation are, and their weights.

    Attributes:
        index: Position on one axis (fields) or in a flattened field (points).
        weight: Weights, which sum to 1 except across a pole.
        reason: Why an observation has no stencil, else the empty string.
        mirrored: Which points lie across a pole (points only).
    """

    index: NDArray[np.int64]
    weight: Floats
    reason: Strings
    mirrored: NDArray[np.bool_]


def horizontal_stencil(table: pd.DataFrame, grid: LatLonGrid) -> Stencil:
    """Return the four grid points around each position and their bilinear weights."""
    latitude = np.asarray(table["lat"], np.float64)
    longitude = np.asarray(table["lon"], np.float64)
    reason = np.full(len(latitude), "", object)
    reason[~grid.contains(latitude, longitude)] = "position outside the grid"
    reason[np.abs(latitude) > 90] = "latitude beyond the poles"
    reason[np.abs(longitude) > 360] = "longitude beyond 360 degrees"
    reason[~np.isfinite(latitude) | ~np.isfinite(longitude)] = "position is not finite"
    usable = reason == ""
    latitude = np.where(usable, latitude, grid.latitude[0])
    longitude = np.where(usable, longitude, grid.longitude[0])
    rows, row_weight, mirrored = row_stencil(latitude, grid)
    index, weight = np.empty((len(latitude), 4), np.int64), np.empty((len(latitude), 4))
    for side in (0, 1):
        turned = longitude + 180.0 * mirrored[:, side]
        columns, column_weight = column_stencil(turned, grid)
        part = slice(2 * side, 2 * side + 2)
        index[:, part] = rows[:, side, None] * grid.shape[1] + columns
        weight[:, part] = row_weight[:, side, None] * column_weight
    return Stencil(index, weight, reason, np.repeat(mirrored, 2, axis=1))


def row_stencil(
    latitude: Floats, grid: LatLonGrid
) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """Return the two rows around each latitude, their weights, and which lie across a pole."""
    axis = np.asarray(grid.latitude)
    south_first = bool(axis[0] < axis[-1])
    axis = axis if south_first else axis[::-1]
    last = len(axis) - 1
    lower = np.searchsorted(axis, latitude, side="right") - 1
    rows = np.stack([lower, lower + 1], axis=1).clip(0, last)
    position = np.stack([axis[rows[:, 0]], axis[rows[:, 1]]], axis=1)
    beyond = np.stack([lower < 0, lower >= last], axis=1)
    mirror = np.array([-180.0, 180.0]) - position
    position = np.where(beyond, mirror, position)
    width = position[:, 1] - position[:, 0]
    safe = np.where(np.abs(width) > SMALL, width, 1.0)
    upper = snap((latitude - position[:, 0]) / safe)
    weight = np.stack([1 - upper, upper], axis=1)
    return (rows if south_first else last - rows), weight, beyond


def column_stencil(longitude: Floats, grid: LatLonGrid) -> tuple[NDArray[np.int64], Floats]:
    """Return the two columns around each longitude and their weights."""
    axis = np.asarray(grid.longitude)
    turned = grid.turn(longitude)[0]
    if grid.wraps:
        axis = np.append(axis, axis[0] + 360.0)
    left = (np.searchsorted(axis, turned, side="right") - 1).clip(0, len(axis) - 2)
    right = snap((turned - axis[left]) / (axis[left + 1] - axis[left]))
    columns = np.stack([left, left + 1], axis=1) % grid.shape[1]
    return columns, np.stack([1 - right, right], axis=1)


def snap(fraction: Floats) -> Floats:
    """Clip to [0, 1] and round what is nearly 0 or 1, so that grid points are exact."""
    fraction = np.where(fraction < 1e-7, 0.0, fraction)
    return np.asarray(np.where(fraction > 1 - 1e-7, 1.0, fraction))


def vertical_stencil(table: pd.DataFrame, spec: StateSpec) -> Stencil:
    """Return the two fields above and below each observation and their weights.

    A wind speed has the fields of the eastward wind.
    """
    codes, names = pd.factorize(table["variable"])
    level, pressure = (np.asarray(table[name], np.float64) for name in ("level", "pres"))
    index = np.zeros((len(codes), 2), np.int64)
    weight = np.tile([1.0, 0.0], (len(codes), 1))
    reason = np.full(len(codes), "", object)
    known = sources(spec)
    reason[codes < 0] = "unknown variable"
    for code, name in enumerate(names):
        rows = np.flatnonzero(codes == code)
        if name not in known:
            reason[rows] = "unknown variable"
            continue
        part = levels_of(level[rows], pressure[rows], known[name], spec.vertical)
        index[rows] = part.index + spec.slices[known[name].name].start
        weight[rows], reason[rows] = part.weight, part.reason
    return Stencil(index, weight, reason, np.zeros_like(index, np.bool_))


def levels_of(level: Floats, pressure: Floats, variable: Variable, vertical: str) -> Stencil:
    """Return the levels of one variable around each observation, by level or by pressure."""
    if variable.levels is None:
        index = np.zeros((len(level), 2), np.int64)
        weight = np.tile([1.0, 0.0], (len(level), 1))
        reason = np.where(np.isnan(level), "", "variable has no levels").astype(object)
        return Stencil(index, weight, reason, np.zeros_like(index, np.bool_))
    levels = np.asarray(variable.levels)
    nearest = np.abs(level[:, None] - levels).argmin(1)
    exact = np.abs(level - levels[nearest]) <= SAME_LEVEL * np.abs(levels[nearest])
    index = np.stack([nearest, nearest], axis=1)
    weight = np.tile([1.0, 0.0], (len(level), 1))
    reason = np.where(exact, "", "unknown level").astype(object)
    free = np.isnan(level)
    if vertical == "sigma":
        reason[free] = "no level"
    elif free.any():
        index[free], weight[free], reason[free] = between_levels(pressure[free], levels)
    return Stencil(index, weight, reason, np.zeros_like(index, np.bool_))


def between_levels(pressure: Floats, levels: Floats) -> tuple[NDArray[np.int64], Floats, Strings]:
    """Return the pressure levels around each pressure [Pa] and weights linear in ln p."""
    order = np.argsort(levels)
    axis = np.log(levels[order] * HECTOPASCAL)
    with np.errstate(invalid="ignore", divide="ignore"):
        height = np.log(np.where(pressure > 0, pressure, np.nan))
    reason = np.full(len(pressure), "", object)
    outside = (height < axis[0] - SAME_LEVEL) | (height > axis[-1] + SAME_LEVEL)
    reason[outside] = "pressure outside the levels"
    reason[np.isnan(height)] = "no level"
    height = np.where(np.isnan(height), axis[0], height)
    upper = np.searchsorted(axis, height, side="right").clip(1, max(len(axis) - 1, 1)) - 1
    lower = np.minimum(upper + 1, len(axis) - 1)
    width = np.where(lower > upper, axis[lower] - axis[upper], 1.0)
    fraction = snap(((height - axis[upper]) / width).clip(0, 1))
    weight = np.stack([1 - fraction, fraction], axis=1)
    return np.stack([order[upper], order[lower]], axis=1), weight, reason
