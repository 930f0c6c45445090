"""Covariance C of the latent background error, and functions of it.

Where longitude is a circle, errors are taken as homogeneous along it, and the covariance is kept
as a kernel between a point and its neighbors within a few cells,

    K[Δ, j, d] = E[r(·, j, i + Δ) r(·, j + d, i)ᵀ] ρ(Δ, d),

a matrix between channels for each zonal lag Δ, latitude j and meridional lag d, localized by
Gaspari and Cohn's function ρ of compact support. Its Fourier transform in Δ gives one Hermitian
block over (channel, latitude) for each zonal wavenumber m, whose eigenvectors give any function of
C. On a regional grid C is a single block over (channel, latitude, longitude).

References:
    | Bannister (2008), A review of forecast error covariance statistics in atmospheric variational
    | data assimilation, doi 10.1002/qj.339
    | Gaspari & Cohn (1999), Construction of correlation functions, doi 10.1002/qj.49712555417
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "FLAT",
    "BlockCovariance",
    "DiagonalCovariance",
    "LatentCovariance",
    "Localization",
    "gaspari_cohn",
]

#: A noise level so high that nothing is known of the denoised state: Σ = C.
FLAT = 1e4


@dataclass(frozen=True)
class Localization:
    """Half-widths of the localization, in cells of the latent grid; its support is twice that.

    Attributes:
        zonal: Half-width in longitude.
        meridional: Half-width in latitude.
    """

    zonal: float = 3.4
    meridional: float = 2.49

    @property
    def zonal_lags(self) -> int:
        """Number of cells within the support."""
        return int(2 * self.zonal)

    @property
    def meridional_lags(self) -> int:
        """Number of cells within the support."""
        return int(2 * self.meridional)


class BlockCovariance(nn.Module, ABC):
    """A covariance over latent states that is made of independent Hermitian blocks.

    A transform that is unitary up to the rfft's half spectrum takes the states apart (`modes`); the
    eigenvectors of the blocks give any function of the covariance.

    Attributes:
        shape: Channels, latitudes and longitudes of the latent state.
        wraps: Whether longitude is a circle.
        localization: Where correlations end.
    """

    kernel: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        wraps: bool,
        localization: Localization = Localization(),
    ) -> None:
        """Set the layout.

        Args:
            shape: Channels, latitudes and longitudes of the latent state.
            wraps: Whether longitude is a circle.
            localization: Where correlations end.
        """
        super().__init__()
        self.shape, self.wraps, self.localization = shape, wraps, localization
        self._eigen: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def modes(self, v: Float[Tensor, "batch channel lat lon"]) -> Tensor:
        """Transform to shape (block, batch, size)."""

    @abstractmethod
    def state(self, h: Tensor) -> Float[Tensor, "batch channel lat lon"]:
        """Undo `modes`."""

    @abstractmethod
    def variance(self) -> Float[Tensor, "channel lat lon"]:
        """Return the diagonal of C; its longitudes are one where errors are homogeneous along it."""

    @abstractmethod
    def fit(self, r: Float[Tensor, "sample channel lat lon"]) -> None:
        """Estimate the covariance from samples of the error; their mean is not removed."""

    @abstractmethod
    def _unpack(self, kernel: Tensor) -> Tensor:
        """Return the blocks (block, size, size) of the kernel, Hermitian to round-off."""

    def _real_blocks(self) -> list[int]:
        """Return the blocks that are real: the mean and the shortest wave of a real field."""
        if not self.wraps:
            return []
        return [0, self.shape[2] // 2] if self.shape[2] % 2 == 0 else [0]

    @property
    def eigen(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (block, size) and eigenvectors (block, size, size)."""
        if self._eigen is None or self._eigen[0].device != self.kernel.device:
            values, vectors = torch.linalg.eigh(self._unpack(self.kernel.float().cpu()))
            for block in self._real_blocks():
                vectors[block].imag.zero_()
            device = self.kernel.device
            self._eigen = values.clamp(min=1e-6).to(device), vectors.to(device)
        return self._eigen

    def _load_from_state_dict(self, *arguments: object, **keywords: object) -> None:
        super()._load_from_state_dict(*arguments, **keywords)
        self._eigen = None

    def control(self, r: Float[Tensor, "batch channel lat lon"]) -> Tensor:
        """Return the control variables of r = 0."""
        return torch.zeros_like(r)

    def root(
        self, v: Float[Tensor, "batch channel lat lon"], sigma: float
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return L v with L Lᵀ = Σ = C σ² (C + σ² I)⁻¹, the error of the denoised state.

        With C = U Λ Uᴴ the root is U Λ^½ σ (Λ + σ²)^{-½}: v are components along eigenvectors.
        """
        values, u = self.eigen
        return self.state((self.modes(v) * denoised_error(values, sigma)[:, None]) @ u.mT)

    def root_adjoint(
        self, r: Float[Tensor, "batch channel lat lon"], sigma: float
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return Lᵀ r, the adjoint of `root`."""
        values, u = self.eigen
        return self.state(project(self.modes(r), u) * denoised_error(values, sigma)[:, None])

    def wiener(
        self, v: Float[Tensor, "batch channel lat lon"], sigma: Float[Tensor, "batch"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return C (C + σ² I)⁻¹ v, the best linear denoiser, with one σ for each sample."""
        values, u = self.eigen
        gain = values[:, None] / (values[:, None] + (sigma**2)[None, :, None])

        def apply(v: Tensor) -> Tensor:
            return self.state((project(self.modes(v), u) * gain) @ u.mT)

        filtered: Tensor = SelfAdjoint.apply(v, apply)  # type: ignore[no-untyped-call]
        return filtered


class LatentCovariance(BlockCovariance):
    """The covariance between all channels, as above.

    A block has (channels × latitudes)² numbers: for latent states of up to a few thousand numbers
    along a meridian. Above that: `models.separable_covariance`.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        wraps: bool,
        localization: Localization = Localization(),
    ) -> None:
        """Create an identity covariance; the arguments are those of `BlockCovariance`."""
        super().__init__(shape, wraps, localization)
        channels, lat, lon = shape
        self.size = channels * lat * (1 if wraps else lon)
        self.blocks = lon // 2 + 1 if wraps else 1
        identity = torch.eye(self.size).expand(self.blocks, -1, -1)
        self.register_buffer("kernel", self._pack(identity).half())

    def modes(self, v: Float[Tensor, "batch channel lat lon"]) -> Tensor:
        """Transform to shape (block, batch, size), unitary up to the rfft's half spectrum."""
        if not self.wraps:
            return v.flatten(1)[None]
        h: Tensor = torch.fft.rfft(v, norm="ortho")
        return h.movedim(-1, 0).flatten(2)

    def state(self, h: Tensor) -> Float[Tensor, "batch channel lat lon"]:
        """Undo `modes`."""
        channels, lat, lon = self.shape
        if not self.wraps:
            return h[0].reshape(-1, channels, lat, lon)
        h = h.reshape(self.blocks, -1, channels, lat).movedim(0, -1)
        v: Tensor = torch.fft.irfft(h, n=lon, norm="ortho")
        return v

    def variance(self) -> Float[Tensor, "channel lat lon"]:
        """Return the diagonal of C; its longitudes are one where errors are homogeneous along it."""
        channels, lat, lon = self.shape
        if not self.wraps:
            return self.kernel.float().diagonal().reshape(channels, lat, lon)
        at_a_point = self.kernel[0, :, self.localization.meridional_lags]
        variance: Tensor = at_a_point.float().diagonal(dim1=-2, dim2=-1).mT[..., None]
        return variance

    @torch.no_grad()
    def fit(self, r: Float[Tensor, "sample channel lat lon"]) -> None:
        """Estimate the covariance from samples of the error; their mean is not removed."""
        h = self.modes(r)
        moment = torch.stack([block.T @ block.conj() for block in h]) / h.shape[1]
        self.kernel.copy_(self._pack(moment).half())
        self._eigen = None

    def _pack(self, moment: Tensor) -> Tensor:
        """Localize the blocks and keep the kernel within the support."""
        channels, lat, lon = self.shape
        if not self.wraps:
            steps = [torch.arange(n, dtype=torch.float32) for n in (lat, lon)]
            widths = (self.localization.meridional, self.localization.zonal)
            tapers = [gaspari_cohn(s[:, None] - s, w) for s, w in zip(steps, widths, strict=True)]
            taper: Tensor = torch.kron(*tapers)
            return moment[0] * taper.repeat(channels, channels)
        reach = self.localization.meridional_lags
        k = torch.fft.irfft(moment.movedim(0, -1) + 0j, n=lon)
        k = k[..., : self.localization.zonal_lags + 1].movedim(-1, 0)
        k = k.reshape(-1, channels, lat, channels, lat).permute(0, 2, 4, 1, 3)
        rows = torch.arange(lat)[:, None] + torch.arange(-reach, reach + 1)
        banded = k[:, torch.arange(lat)[:, None], rows.clamp(0, lat - 1)]
        banded = banded * ((rows >= 0) & (rows < lat))[None, :, :, None, None]
        zonal = gaspari_cohn(torch.arange(len(k)).float(), self.localization.zonal)
        lags = torch.arange(-reach, reach + 1).float()
        meridional = gaspari_cohn(lags, self.localization.meridional)
        taper = zonal[:, None, None, None, None] * meridional[None, None, :, None, None]
        kernel: Tensor = banded * taper
        return kernel

    def _unpack(self, kernel: Tensor) -> Tensor:
        """Return the blocks of the kernel, Hermitian to round-off."""
        channels, lat, lon = self.shape
        if not self.wraps:
            return kernel[None]
        reach, lags = self.localization.meridional_lags, len(kernel)
        k = kernel.new_zeros(lags, lat, lat + 2 * reach, channels, channels)
        for j in range(lat):
            k[:, j, j : j + 2 * reach + 1] = kernel[:, j]
        k = k[:, :, reach : reach + lat].permute(0, 3, 1, 4, 2).reshape(lags, self.size, -1)
        full = functional.pad(k, (0, 0, 0, 0, 0, lon - lags))
        full[lon - lags + 1 :] = k[1:].flip(0).mT
        moment = torch.fft.fft(full, dim=0)[: self.blocks]
        blocks: Tensor = 0.5 * (moment + moment.mH)
        return blocks


class DiagonalCovariance:
    """A covariance without correlations, C = diag(variance)."""

    def __init__(self, variance: Float[Tensor, "channel lat lon"]) -> None:
        """Take the variances; with ones everywhere Σ is a multiple r_t² of the identity."""
        self.variance = variance

    def control(self, r: Float[Tensor, "batch channel lat lon"]) -> Tensor:
        """Return the control variables of r = 0."""
        return torch.zeros_like(r)

    def root(
        self, v: Float[Tensor, "batch channel lat lon"], sigma: float
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return L v with L Lᵀ = C σ² (C + σ²)⁻¹."""
        return v * denoised_error(self.variance, sigma)

    root_adjoint = root


class SelfAdjoint(torch.autograd.Function):
    """A symmetric linear map, which is its own derivative in reverse and forward mode.

    Derived from its parts, the reverse mode would make conjugate copies of all eigenvectors, which
    takes seven times as long as the filter.
    """

    @staticmethod
    def forward(v: Tensor, linear: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the image of `v`."""
        return linear(v)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep the map."""
        _, ctx.map = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Return the image of the gradient."""
        return SelfAdjoint.apply(gradient, ctx.map), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # noqa: ANN401
        """Return the image of the tangent."""
        image: Tensor = ctx.map(tangent)
        return image


def denoised_error(values: Tensor, sigma: float) -> Tensor:
    """Return the standard deviation of the denoised state along eigenvectors."""
    return (values * sigma**2 / (values + sigma**2)).sqrt()


def project(h: Tensor, u: Tensor) -> Tensor:
    """Return h ū, the components along eigenvectors, without a conjugate copy of all of them."""
    components: Tensor = (h.conj() @ u).conj()
    return components


def gaspari_cohn(distance: Tensor, half_width: float) -> Tensor:
    """Gaspari and Cohn's fifth-order function, 1 at 0 and 0 beyond twice the half-width."""
    d = (distance / half_width).abs()
    near = 1 - 5 / 3 * d**2 + 5 / 8 * d**3 + d**4 / 2 - d**5 / 4
    far = 4 - 5 * d + 5 / 3 * d**2 + 5 / 8 * d**3 - d**4 / 2 + d**5 / 12 - 2 / (3 * d.clamp(1e-9))
    return torch.where(d < 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
