r"""Cosines on a region, a spectrum for fields that do not end where the grid ends.

The orthonormal type-II discrete cosine transform along both axes continues a field by mirror images,
so that its two ends stay apart. A mode of p half-waves in latitude and q in longitude has

    k = L √((p / L_φ)² + (q / L_λ)²)

half-waves on the shorter side L of the region, with its sides L_φ, L_λ as long as on the sphere;
modes of about the same k share a covariance.

References:
    | Denis et al. (2002), Spectral decomposition of two-dimensional atmospheric fields on
    | limited-area domains using the discrete cosine transform,
    | doi 10.1175/1520-0493(2002)130<1812:SDOTDA>2.0.CO;2
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.grid import LatLonGrid
from models.world.tables import Array, register_tables

__all__ = ["CosineTransform"]


class CosineTransform(nn.Module):
    """Cosines in latitude times cosines in longitude, ordered by their wavenumber k."""

    rows: Tensor
    columns: Tensor
    weights: Tensor
    wavenumber: Int[Tensor, "mode"]
    place: Int[Tensor, "mode"]

    #: Whether all longitudes are alike.
    zonal = False

    def __init__(
        self, grid: LatLonGrid, truncation: int | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Tabulate the functions.

        Args:
            grid: A region.
            truncation: Largest wavenumber; all that the grid has if not given.
            dtype: Floating-point type of the transforms.
        """
        super().__init__()
        k = wavenumbers(grid).ravel().astype(np.int64)
        kept = np.flatnonzero(k <= (k.max() if truncation is None else truncation))
        place = kept[np.argsort(k[kept], kind="stable")]
        self.truncation, self.grid = int(k[place].max()), grid.shape
        self.register_buffer("wavenumber", torch.from_numpy(k[place]), persistent=False)
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        rows, columns = (cosines(count) for count in grid.shape)
        ones = np.ones((grid.shape[0], 1))
        register_tables(self, dtype, {"rows": rows, "columns": columns, "weights": ones})

    def synthesis(
        self, c: Float[Tensor, "batch channel mode"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return the fields S c of coefficients."""
        size = self.grid[0] * self.grid[1]
        full = c.new_zeros(*c.shape[:2], size).index_copy(2, self.place, c)
        return self.rows.mT @ full.view(*c.shape[:2], *self.grid) @ self.columns

    def synthesis_adjoint(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "batch channel mode"]:
        """Return Sᵀ x, which are the coefficients of x."""
        return (self.rows @ x @ self.columns.mT).flatten(2).index_select(2, self.place)

    def analysis(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "batch channel mode"]:
        """Return the coefficients of fields."""
        return self.synthesis_adjoint(x)

    def variance(self, power: Float[Tensor, "*batch bin"]) -> Float[Tensor, "*batch lat lon"]:
        """Return the variance of fields whose modes have a variance by wavenumber."""
        size = self.grid[0] * self.grid[1]
        modes = power[..., self.wavenumber]
        full = modes.new_zeros(*modes.shape[:-1], size).index_copy(-1, self.place, modes)
        squares = (self.rows**2).to(power), (self.columns**2).to(power)
        total: Tensor = squares[0].mT @ full.view(*power.shape[:-1], *self.grid) @ squares[1]
        return total


def cosines(count: int) -> Array:
    """Return the orthonormal cosines on `count` points, of shape (wavenumber, point)."""
    k = np.arange(count)
    functions = np.cos(np.pi * np.outer(k, k + 0.5) / count) * np.sqrt(2 / count)
    functions[0] /= np.sqrt(2)
    return np.asarray(functions)


def wavenumbers(grid: LatLonGrid) -> Array:
    """Return the wavenumber k of each mode, rounded, of shape (lat, lon)."""
    latitude = np.asarray(grid.latitude)
    widths = [abs(np.diff(axis).mean()) for axis in (latitude, np.asarray(grid.longitude))]
    sides = np.array(widths) * grid.shape
    sides[1] *= np.cos(np.radians(latitude)).mean()
    p, q = (np.arange(n) / side for n, side in zip(grid.shape, sides, strict=True))
    return np.asarray(np.rint(sides.min() * np.hypot(p[:, None], q)))
