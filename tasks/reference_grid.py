"""How the rows and columns of a gridded archive become those of a state.

Archives run from the north or from the south, from 0 or from −180 degrees east, some repeat the
first column at the end. Whatever has one meaning is put in order: on a circle the columns ascend
from 0 on, each once; rows and columns can be taken in the order of another grid of the same
points. Blocks of rows and columns can be averaged, weighted by area.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.grid import LatLonGrid

__all__ = ["GridView", "same_points"]

CLOSE = 1e-3
Index = NDArray[np.intp]


@dataclass(frozen=True)
class GridView:
    """Which rows and columns of an array make the state, in which order, and how many make one.

    Attributes:
        grid: The grid of the state.
        rows: Rows of the array.
        columns: Columns of the array.
        weights: Area of each row, where blocks are averaged.
        block: Rows and columns that are averaged to one.
    """

    grid: LatLonGrid
    rows: Index
    columns: Index
    weights: NDArray[np.float64]
    block: int = 1

    @classmethod
    def of(
        cls, latitude: NDArray[np.float64], longitude: NDArray[np.float64], block: int = 1
    ) -> "GridView":
        """Return the view of an archive's coordinates.

        Raises:
            ValueError: They are not those of a grid, or the blocks do not fit.
        """
        columns, degrees = in_order(longitude)
        grid = LatLonGrid(tuple(latitude.tolist()), tuple(degrees.tolist()))
        weights = np.asarray(grid.area_fractions)
        view = cls(grid, np.arange(len(latitude)), columns, weights, block)
        return view if block == 1 else replace(view, grid=coarsened(grid, block))

    def like(self, grid: LatLonGrid) -> "GridView":
        """Return the same points in the order of another grid.

        Raises:
            ValueError: The other grid has other points.
        """
        rows = positions(self.grid.latitude, grid.latitude)
        columns = positions(self.grid.longitude, grid.longitude, circle=self.grid.wraps)
        if rows is None or columns is None:
            raise ValueError("the grids have different points")
        step = np.arange(self.block)
        fine_rows = (rows[:, None] * self.block + step).ravel()
        fine_columns = (columns[:, None] * self.block + step).ravel()
        return GridView(
            grid,
            self.rows[fine_rows],
            self.columns[fine_columns],
            self.weights[fine_rows],
            self.block,
        )

    def take(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values on the grid of the state, from those of the whole array."""
        for axis, index in ((-2, self.rows), (-1, self.columns)):
            if not np.array_equal(index, np.arange(values.shape[axis])):
                values = values.take(index, axis)
        if self.block == 1:
            return values
        lat, lon = self.grid.shape
        blocks = values.reshape(*values.shape[:-2], lat, self.block, lon, self.block)
        share = self.weights.reshape(lat, self.block)
        share = share / share.sum(1, keepdims=True)
        mean = np.einsum("...aibj,ai->...ab", blocks, share, optimize=True) / self.block
        return np.asarray(mean, np.float32)


def in_order(longitude: NDArray[np.float64]) -> tuple[Index, NDArray[np.float64]]:
    """Return the columns in ascending order, each once, and their longitudes.

    On a circle they are counted from 0 on; the columns of a region follow one another, also across
    the seam.
    """
    turned = np.mod(longitude, 360.0)
    turned = np.where(turned >= 360.0 - CLOSE, turned - 360.0, turned)
    order = np.argsort(turned, kind="stable")
    order = order[np.concatenate([[True], np.diff(turned[order]) > CLOSE])]
    degrees = turned[order]
    gaps = np.diff(np.append(degrees, degrees[0] + 360.0))
    if len(order) > 2 and gaps.max() < 1.5 * gaps.min():  # a circle
        return order, degrees
    if _ascends(longitude) or len(order) < len(longitude):
        return np.arange(len(longitude)), longitude
    start = (int(gaps.argmax()) + 1) % len(order)
    west = degrees[start:] - (360.0 if start else 0.0)
    return np.roll(order, -start), np.concatenate([west, degrees[:start]])


def _ascends(values: NDArray[np.float64]) -> bool:
    return bool((np.diff(values) > 0).all()) and values[-1] - values[0] < 360 - CLOSE


def coarsened(grid: LatLonGrid, block: int) -> LatLonGrid:
    """Return the grid whose points are the middles of blocks of another's.

    Raises:
        ValueError: The rows or columns are no multiple of the block.
    """
    axes = []
    for name, axis in (("latitudes", grid.latitude), ("longitudes", grid.longitude)):
        if len(axis) % block:
            raise ValueError(f"{len(axis)} {name}; reference.coarsen {block} must divide them")
        axes.append(tuple(np.asarray(axis).reshape(-1, block).mean(1).tolist()))
    return LatLonGrid(axes[0], axes[1])


def positions(
    own: tuple[float, ...], wanted: tuple[float, ...], circle: bool = False
) -> Index | None:
    """Return where the values of another axis are on this one, or None if one is not there."""
    here, there = np.asarray(own), np.asarray(wanted)
    if len(here) != len(there):
        return None
    distance = np.abs(there[:, None] - here)
    if circle:
        distance = np.abs((distance + 180.0) % 360.0 - 180.0)
    nearest = distance.argmin(1)
    exact = distance[np.arange(len(there)), nearest] <= CLOSE
    return nearest if exact.all() and len(set(nearest.tolist())) == len(there) else None


def same_points(a: LatLonGrid, b: LatLonGrid) -> bool:
    """Return whether two grids have the same points, in whatever order."""
    rows = positions(a.latitude, b.latitude)
    columns = positions(a.longitude, b.longitude, circle=a.wraps and b.wraps)
    return rows is not None and columns is not None
