r"""Spherical harmonics on a global grid: synthesis, gradient, and their adjoints.

    f(λ, φ) = Σ_l Σ_{m=-l}^{l} f_lm Y_lm(λ, φ),    ∫ Y_lm Y_l'm' dS = δ_ll' δ_mm'

with real harmonics on the unit sphere. The quadrature on the latitudes is exact for polynomials in
sin φ of a degree below their number, at Gauss's nodes below twice their number. A truncation for
which it is exact for the product of two harmonics makes the analysis the adjoint of the synthesis:

    f_lm = ∫ Y_lm f dS = (Sᵀ W f)_lm,    W: area that belongs to each point.

References:
    | Bourke (1972), An efficient, one-level, primitive-equation spectral model,
    | doi 10.1175/1520-0493(1972)100<0683:AEOPSM>2.3.CO;2
    | Boer (1983), Homogeneous and isotropic turbulence on the sphere,
    | doi 10.1175/1520-0469(1983)040<0154:HAITOT>2.0.CO;2
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.grid import LatLonGrid
from models.world.spectral import legendre_functions, rotate
from models.world.tables import Array, register_tables

__all__ = ["HarmonicTransform", "exact_truncation"]

#: Rows at a pole are taken this far beside it [1 - |sin φ|], where the wind has a direction.
POLE = 1e-12


class HarmonicTransform(nn.Module):
    """Real spherical harmonics, ordered by their degree l."""

    fourier: Tensor
    legendre: Tensor
    legendre_east: Tensor
    legendre_north: Tensor
    weights: Tensor
    wavenumber: Int[Tensor, "mode"]
    place: Int[Tensor, "mode"]

    #: Whether all longitudes are alike.
    zonal = True

    def __init__(
        self, grid: LatLonGrid, truncation: int | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Tabulate the functions.

        Args:
            grid: A grid from pole to pole.
            truncation: Largest degree; the largest exact one if not given.
            dtype: Floating-point type of the transforms.

        Raises:
            ValueError: The grid does not resolve the truncation.
        """
        super().__init__()
        largest = exact_truncation(grid)
        if truncation is not None and not 0 < truncation <= largest:
            raise ValueError(f"truncation {truncation}: the grid allows 1 to {largest}")
        self.truncation = largest if truncation is None else truncation
        self.orders, self.grid = self.truncation + 1, grid.shape
        degree = np.arange(self.orders)
        modes = [(n, 2 * m + part) for n in degree for m in range(n + 1) for part in (0, 1)]
        modes = [(n, row) for n, row in modes if row != 1]  # sin 0λ
        place = [row * self.orders + n for n, row in modes]
        self.register_buffer("wavenumber", torch.tensor([n for n, _ in modes]), persistent=False)
        self.register_buffer("place", torch.tensor(place), persistent=False)
        register_tables(self, dtype, self._tables(grid))

    def _tables(self, grid: LatLonGrid) -> dict[str, Array]:
        mu = np.clip(sines(grid), POLE - 1, 1 - POLE)
        cosine = np.sqrt(1 - mu**2)[None, :, None]
        legendre, derivative = (
            table.transpose(0, 2, 1) for table in legendre_functions(self.orders, mu)
        )
        order = np.arange(self.orders)
        angle = np.outer(order, np.radians(grid.longitude))
        fourier = np.stack([np.cos(angle), np.sin(angle)], 1) / np.sqrt(np.pi)
        fourier[0] /= np.sqrt(2)
        return {
            "fourier": fourier.reshape(-1, grid.shape[1]),
            "legendre": legendre,
            "legendre_east": order[:, None, None] * legendre / cosine,
            "legendre_north": derivative / cosine,
            "weights": quadrature(mu)[:, None] * 2 * np.pi / grid.shape[1],
        }

    def synthesis(
        self, c: Float[Tensor, "batch channel mode"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return the fields S c of coefficients."""
        return self._fields(self._spread(c), self.legendre, c)

    def synthesis_adjoint(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "batch channel mode"]:
        """Return Sᵀ x."""
        return self._gather(self._coefficients(x, self.legendre), x)

    def analysis(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "batch channel mode"]:
        """Return the coefficients Sᵀ W x of fields."""
        return self.synthesis_adjoint(self.weights * x)

    def analysis_adjoint(
        self, c: Float[Tensor, "batch channel mode"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return W S c."""
        return self.weights * self.synthesis(c)

    def gradient(self, c: Float[Tensor, "batch channel mode"]) -> tuple[Tensor, Tensor]:
        """Return the eastward and northward derivatives of fields on the unit sphere."""
        f = self._spread(c)
        east = self._fields(rotate(f), self.legendre_east, c)
        return east, self._fields(f, self.legendre_north, c)

    def gradient_adjoint(
        self, east: Float[Tensor, "batch channel lat lon"], north: Tensor
    ) -> Float[Tensor, "batch channel mode"]:
        """Return the adjoint of `gradient`."""
        along = self._coefficients(east, self.legendre_east)
        return self._gather(self._coefficients(north, self.legendre_north) - rotate(along), east)

    def variance(self, power: Float[Tensor, "*batch bin"]) -> Float[Tensor, "*batch 1 1"]:
        """Return the variance of fields whose modes have a variance by degree."""
        multiplicity = 2 * torch.arange(self.orders, device=power.device) + 1
        total: Tensor = (power * multiplicity).sum(-1) / (4 * torch.pi)
        return total[..., None, None]

    def _spread(self, c: Tensor) -> Float[Tensor, "order part degree column"]:
        """Lay the coefficients out by order, cosine or sine, and degree."""
        flat = c.flatten(0, 1).mT
        full = flat.new_zeros(2 * self.orders**2, flat.shape[1]).index_copy(0, self.place, flat)
        return full.view(self.orders, 2, self.orders, -1)

    def _gather(self, f: Tensor, like: Tensor) -> Float[Tensor, "batch channel mode"]:
        """Undo `_spread`."""
        flat = f.reshape(2 * self.orders**2, -1).index_select(0, self.place)
        return flat.mT.reshape(*like.shape[:2], -1)

    def _fields(self, f: Tensor, table: Tensor, like: Tensor) -> Tensor:
        """Sum Legendre functions, then the Fourier series of each latitude."""
        rows = (table[:, None] @ f).reshape(2 * self.orders, -1)
        x = (self.fourier.mT @ rows).view(self.grid[1], self.grid[0], -1)
        return x.permute(2, 1, 0).reshape(*like.shape[:2], *self.grid)

    def _coefficients(self, x: Tensor, table: Tensor) -> Tensor:
        """Return the adjoint of `_fields`."""
        columns = x.flatten(0, 1).permute(2, 1, 0).reshape(self.grid[1], -1)
        rows = (self.fourier @ columns).view(self.orders, 2, self.grid[0], -1)
        return table.mT[:, None] @ rows


def sines(grid: LatLonGrid) -> Array:
    """Return the sines of the latitudes."""
    return np.sin(np.radians(np.asarray(grid.latitude, np.float64)))


def quadrature(mu: Array) -> Array:
    """Return the weights that integrate all polynomials of a degree below their number exactly."""
    legendre = np.polynomial.legendre.legvander(mu, len(mu) - 1)
    return np.asarray(np.linalg.solve(legendre.T, np.r_[2.0, np.zeros(len(mu) - 1)]))


def exact_truncation(grid: LatLonGrid) -> int:
    """Return the largest degree whose products the grid integrates exactly.

    Raises:
        ValueError: The grid does not cover the sphere, or its latitudes are no quadrature.
    """
    mu = sines(grid)
    if not grid.reaches_poles or (quadrature(mu) <= 0).any():
        raise ValueError("spherical harmonics need regular or Gaussian rows from pole to pole")
    nodes = np.polynomial.legendre.leggauss(len(mu))[0]
    gaussian = np.allclose(np.sort(mu), nodes, atol=1e-5, rtol=0)
    rows = len(mu) - 1 if gaussian else (len(mu) - 1) // 2
    return min(rows, (grid.shape[1] - 1) // 2)
