r"""Spherical harmonic transforms as matrix products on Gaussian grids.

A scalar field is a triangularly truncated sum of orthonormal harmonics,

    f(λ, φ) = Σ_m Σ_{l=m}^{N} [f_{lm}^c cos(mλ) + f_{lm}^s sin(mλ)] / √π · P_{lm}(sin φ),

held as a real tensor `[order m, part (cos, sin), batch, channel, degree l]`; grid fields are
`[batch, channel, lat, lon]`, south to north. A synthesis is one batched product over the
orders (Legendre) and one product over all rows (Fourier); an analysis is the reverse with
Gaussian weights. With μ = sin φ, a horizontal wind enters as (U, V) = (u, v) cos φ, and

    ζ = curl(U, V) = (∂V/∂λ - (1-μ²) ∂U/∂μ) / (a (1-μ²)),
    D = div (U, V) = (∂U/∂λ + (1-μ²) ∂V/∂μ) / (a (1-μ²)),

where the derivative in μ is moved to the Legendre functions by parts.

References:
    | Bourke (1972), An efficient, one-level, primitive-equation spectral model,
      doi 10.1175/1520-0493(1972)100<0683:AEOPSM>2.3.CO;2
    | Durran (2010), Numerical methods for fluid dynamics, section 6.4,
      doi 10.1007/978-1-4419-6412-0
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.tables import Array, register_tables

__all__ = ["GRIDS", "SphericalTransform", "legendre_functions", "rotate"]

#: Number of longitudes and latitudes that resolve quadratic products without aliasing.
GRIDS = {21: (64, 32), 31: (96, 48), 42: (128, 64), 63: (192, 96)}


def _epsilon(degree: int, order: int) -> float:
    """Coefficient of the recurrence μ P_l = ε_{l+1} P_{l+1} + ε_l P_{l-1}."""
    return math.sqrt(max(degree**2 - order**2, 0) / (4 * degree**2 - 1))


def legendre_functions(count: int, mu: Array) -> tuple[Array, Array]:
    """Evaluate P_lm(μ), orthonormal on [-1, 1], and H_lm = (1-μ²) dP_lm/dμ.

    Args:
        count: Number of orders m and of degrees l.
        mu: Sines of the latitudes [1].

    Returns:
        P and H, each of shape (order, degree, lat); zero where l < m.
    """
    legendre = np.zeros((count, count + 1, len(mu)))
    derivative = np.zeros((count, count, len(mu)))
    diagonal = np.full_like(mu, math.sqrt(0.5))
    for m in range(count):
        if m:
            diagonal = -math.sqrt((2 * m + 1) / (2 * m)) * np.sqrt(1 - mu**2) * diagonal
        legendre[m, m] = diagonal
        legendre[m, m + 1] = math.sqrt(2 * m + 3) * mu * diagonal
        for n in range(m + 2, count + 1):
            lower = mu * legendre[m, n - 1] - _epsilon(n - 1, m) * legendre[m, n - 2]
            legendre[m, n] = lower / _epsilon(n, m)
        for n in range(m, count):
            derivative[m, n] = -n * _epsilon(n + 1, m) * legendre[m, n + 1]
            if n:
                derivative[m, n] += (n + 1) * _epsilon(n, m) * legendre[m, n - 1]
    return legendre[:, :count], derivative


def _fourier_functions(count: int, n_lon: int) -> Array:
    """Orthonormal cosines and sines on the longitudes, shape (order * part, lon)."""
    angle = np.outer(np.arange(count), np.arange(n_lon) * 2 * np.pi / n_lon)
    functions = np.stack([np.cos(angle), np.sin(angle)], 1) / math.sqrt(math.pi)
    functions[0, 0] = 1 / math.sqrt(2 * math.pi)
    return functions.reshape(2 * count, n_lon)


def rotate(f: Float[Tensor, "order part *rest"]) -> Float[Tensor, "order part *rest"]:
    """Return the coefficients of (1/m) ∂f/∂λ: the sine parts become cosines."""
    return torch.stack((f[:, 1], -f[:, 0]), 1)


class SphericalTransform(nn.Module):
    """Synthesis, analysis and horizontal derivatives on one Gaussian grid."""

    legendre: Tensor
    legendre_mu: Tensor
    legendre_lambda: Tensor
    fourier: Tensor
    analysis_fourier: Tensor
    analysis_legendre: Tensor
    analysis_mu: Tensor
    analysis_lambda: Tensor
    cosine: Tensor
    sine: Tensor
    gauss_weights: Tensor

    def __init__(self, truncation: int, radius: float, dtype: torch.dtype = torch.float32) -> None:
        """Tabulate the functions.

        Args:
            truncation: Largest total wavenumber N, one of `GRIDS`.
            radius: Radius of the sphere [m].
            dtype: Floating-point type of the transforms.
        """
        super().__init__()
        if truncation not in GRIDS:
            raise ValueError(f"truncation {truncation}: allowed are {sorted(GRIDS)}")
        self.truncation = truncation
        self.n_lon, self.n_lat = GRIDS[truncation]
        self.orders = truncation + 1
        mu, weights = np.polynomial.legendre.leggauss(self.n_lat)
        self.latitude = np.degrees(np.arcsin(mu))
        self.longitude = np.arange(self.n_lon) * 360.0 / self.n_lon
        self.degree = np.arange(self.orders, dtype=np.float64)
        self.laplacian = -self.degree * (self.degree + 1) / radius**2
        register_tables(self, dtype, self._tables(mu, weights, radius))

    def _tables(self, mu: Array, weights: Array, radius: float) -> dict[str, Array]:
        legendre, derivative = legendre_functions(self.orders, mu)
        fourier = _fourier_functions(self.orders, self.n_lon)
        order = np.arange(self.orders)[:, None, None]
        quadrature = weights[:, None]
        flux = quadrature / (1 - mu[:, None] ** 2) / radius
        transposed = legendre.transpose(0, 2, 1)
        return {
            "legendre": legendre,
            "legendre_mu": derivative,
            "legendre_lambda": order * legendre,
            "fourier": fourier,
            "analysis_fourier": fourier * 2 * np.pi / self.n_lon,
            "analysis_legendre": transposed * quadrature,
            "analysis_mu": derivative.transpose(0, 2, 1) * flux,
            "analysis_lambda": order * transposed * flux,
            "cosine": np.sqrt(1 - mu**2)[:, None],
            "sine": mu[:, None],
            "gauss_weights": weights / 2,
        }

    @staticmethod
    def contract(
        f: Float[Tensor, "order part batch channel inner"],
        table: Float[Tensor, "order inner outer"],
    ) -> Float[Tensor, "order part batch channel outer"]:
        """Multiply the last dimension by the Legendre table of each order."""
        product = torch.bmm(f.reshape(f.shape[0], -1, f.shape[-1]), table)
        return product.view(*f.shape[:-1], -1)

    def from_fourier(
        self, f: Float[Tensor, "order part batch channel lat"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Sum the Fourier series on every latitude circle."""
        rows = f.reshape(2 * self.orders, -1).t() @ self.fourier
        return rows.view(*f.shape[2:], self.n_lon)

    def to_fourier(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "order part batch channel lat"]:
        """Project every latitude circle on cosines and sines."""
        rows = self.analysis_fourier @ x.reshape(-1, self.n_lon).t()
        return rows.view(self.orders, 2, *x.shape[:-1])

    def synthesis(
        self, f: Float[Tensor, "order part batch channel degree"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Evaluate spectral coefficients on the grid."""
        return self.from_fourier(self.contract(f, self.legendre))

    def analysis(
        self, x: Float[Tensor, "batch channel lat lon"]
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Project grid fields on the harmonics."""
        return self.contract(self.to_fourier(x), self.analysis_legendre)

    def divergence(
        self, zonal: Float[Tensor, "batch channel lat lon"], meridional: Tensor
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Project the divergence of a flux (U, V) = (u, v) cos φ."""
        along = self.contract(rotate(self.to_fourier(zonal)), self.analysis_lambda)
        return along - self.contract(self.to_fourier(meridional), self.analysis_mu)

    def curl_and_divergence(
        self, wind: Float[Tensor, "batch two_levels lat lon"]
    ) -> tuple[Tensor, Tensor]:
        """Project ζ and D of a wind given as the channels [U, V]."""
        f = self.to_fourier(wind)
        along_u, along_v = self.contract(rotate(f), self.analysis_lambda).chunk(2, 3)
        across_u, across_v = self.contract(f, self.analysis_mu).chunk(2, 3)
        return along_v + across_u, along_u - across_v
