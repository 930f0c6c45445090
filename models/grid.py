"""Latitude–longitude grids, global or regional, and the area of their cells.

A cell between the latitudes φ₁ and φ₂ covers the fraction (sin φ₂ − sin φ₁) / 2 of the sphere's
belt. Cell edges lie midway between the rows and, on a global grid, at the poles; rows at the nodes
of Gauss–Legendre quadrature have the quadrature's own weights, which are the areas of cells with
edges near the midpoints. A grid whose columns go all the way round is periodic in longitude (it
wraps); any other grid is a region and ends at its outermost points.

References:
    | Rasp et al. (2024), WeatherBench 2, doi 10.1029/2023MS004019 (area weights)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LatLonGrid", "gaussian_nodes"]

NAMES = {"latitude": ("latitude", "lat"), "longitude": ("longitude", "lon")}
TOLERANCE = 1e-3
Values = NDArray[np.float64]


@dataclass(frozen=True)
class LatLonGrid:
    """Rows of latitude and columns of longitude.

    Attributes:
        latitude: Rows, north or south first [degrees_north].
        longitude: Columns, ascending, less than a full circle [degrees_east].
    """

    latitude: tuple[float, ...]
    longitude: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is not a grid."""
        for name, axis in (("latitude", self.latitude), ("longitude", self.longitude)):
            if len(axis) < 2:
                raise ValueError(f"{name} has {len(axis)} values, at least 2 are needed")
            if not np.isfinite(axis).all():
                raise ValueError(f"{name} has a value that is not finite: {first_bad(axis)}")
        outside = [value for value in self.latitude if abs(value) > 90]
        if outside:
            raise ValueError(f"latitude {outside[0]:g} is beyond the poles, allowed -90 to 90")
        steps = np.diff(self.latitude)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise ValueError("latitude must be strictly monotonic")
        if not (np.diff(self.longitude) > 0).all():
            raise ValueError("longitude must be strictly ascending")
        if self.longitude[-1] - self.longitude[0] >= 360 - TOLERANCE:
            extent = f"{self.longitude[0]:g} to {self.longitude[-1]:g}"
            raise ValueError(f"longitude {extent} must span less than 360 degrees")

    @classmethod
    def gaussian(cls, nlat: int, nlon: int) -> "LatLonGrid":
        """Return the global grid of `nlat` Gauss–Legendre rows, south first, from 0° east."""
        longitude = tuple((np.arange(nlon) * 360.0 / nlon).tolist())
        return cls(tuple(gaussian_nodes(nlat)[0].tolist()), longitude)

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> "LatLonGrid":
        """Read the grid from the coordinates latitude and longitude (or lat and lon)."""
        axes = {name: np.asarray(ds[coordinate_name(ds, name)], np.float64) for name in NAMES}
        return cls(tuple(axes["latitude"].tolist()), tuple(axes["longitude"].tolist()))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.latitude), len(self.longitude)

    @cached_property
    def wraps(self) -> bool:
        """Whether the columns close to a circle at their own spacing."""
        gap = self.longitude[0] + 360 - self.longitude[-1]
        spacing = np.diff(self.longitude)
        return bool(abs(gap - spacing.max()) <= TOLERANCE * gap and np.ptp(spacing) < 0.01 * gap)

    @cached_property
    def pole_at_end(self) -> tuple[bool, bool]:
        """Whether the first and the last row are the nearest to a pole on a global grid."""
        near, far = np.abs(np.diff(self.latitude))[[0, -1]] * (1 + TOLERANCE)
        first = self.wraps and 90 - abs(self.latitude[0]) < near
        last = self.wraps and 90 - abs(self.latitude[-1]) < far
        return bool(first), bool(last)

    @property
    def reaches_poles(self) -> bool:
        """Whether the grid covers the sphere from pole to pole."""
        return all(self.pole_at_end)

    @cached_property
    def area_fractions(self) -> Values:
        """Fraction of the grid's area that each row covers; the sum is 1."""
        latitude = np.asarray(self.latitude)
        nodes, weights = gaussian_nodes(len(latitude))
        if self.reaches_poles and np.allclose(np.sort(latitude), nodes, atol=0.01, rtol=0):
            return np.asarray(weights / weights.sum())
        bands = np.abs(np.diff(np.sin(np.radians(self._edges(latitude)))))
        return np.asarray(bands / bands.sum())

    def cell_area_weights(self) -> Float[Tensor, "lat"]:
        """Return the area of a cell in each row over the mean area of all cells [1]."""
        return torch.tensor(self.area_fractions * len(self.latitude), dtype=torch.float32)

    def contains(self, latitude: Values, longitude: Values) -> NDArray[np.bool_]:
        """Tell for each point whether it lies on the grid.

        Args:
            latitude: Latitudes [degrees_north].
            longitude: Longitudes, in any turn of the circle [degrees_east].
        """
        first, last = np.asarray(self.latitude)[[0, -1]]
        limits = [
            np.sign(row) * 90.0 if pole else row
            for row, pole in zip((first, last), self.pole_at_end, strict=True)
        ]
        inside = (latitude >= min(limits) - 1e-9) & (latitude <= max(limits) + 1e-9)
        return np.asarray(inside & self.turn(longitude)[1])

    def turn(self, longitude: Values) -> tuple[Values, NDArray[np.bool_]]:
        """Turn longitudes into [first column, first column + 360), and tell which are inside."""
        west, east = self.longitude[0], self.longitude[-1]
        finite = np.where(np.isfinite(longitude), longitude, np.nan)
        turned = np.mod(finite - west + 1e-9, 360.0) - 1e-9 + west
        inside = np.isfinite(turned) & (self.wraps | (turned <= east + 1e-9))
        return np.asarray(turned), np.asarray(inside)

    def _edges(self, latitude: Values) -> Values:
        """Return the edges of the rows, one more than there are rows."""
        middle = (latitude[1:] + latitude[:-1]) / 2
        ends = [2 * latitude[0] - middle[0], 2 * latitude[-1] - middle[-1]]
        for i, row in ((0, latitude[0]), (1, latitude[-1])):
            if self.pole_at_end[i]:
                ends[i] = float(np.sign(row) * 90)
        edges = np.concatenate([ends[:1], middle, ends[1:]])
        return np.asarray(np.clip(edges, -90.0, 90.0))


def gaussian_nodes(count: int) -> tuple[Values, Values]:
    """Return the Gauss–Legendre latitudes, south first [degrees_north], and their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.degrees(np.arcsin(nodes)), weights


def coordinate_name(ds: xr.Dataset, axis: str) -> str:
    """Return the name that `latitude` or `longitude` has in a dataset."""
    for name in NAMES[axis]:
        if name in ds.variables:
            return name
    present = ", ".join(str(name) for name in ds.variables)
    raise ValueError(f"no coordinate {' or '.join(NAMES[axis])}; present: {present}")


def first_bad(values: Sequence[float]) -> float:
    """Return the first value that is not finite."""
    return next(value for value in values if not np.isfinite(value))
