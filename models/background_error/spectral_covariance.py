r"""Correlations between all fields at all distances: a matrix for each total wavenumber.

Errors that are alike in all places and directions have harmonics that are independent of each
other, with the same covariance C_n between the fields for all modes of a wavenumber n: vertical
correlations may differ between long and short waves. Where they change with latitude, bands of
latitudes with weights w_b, Σ_b w_b² = 1, each have their own,

    p = Σ_b w_b S C_b^{½} v_b,    C = Σ_b w_b S C_b Sᵀ w_b,

with S the synthesis of fields from modes. C_b is the covariance of the modes of p with those of
w_b² p, which sums up what points of the band have in common with all others.

References:
    | Courtier et al. (1998), The ECMWF implementation of three-dimensional variational
    | assimilation (3D-Var). I, doi 10.1002/qj.49712455002
    | Fisher (2003), Background error covariance modelling, ECMWF seminar proceedings (the wavelet J_b)
    | Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices,
    | doi 10.1016/S0047-259X(03)00096-4
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.background_error.cosines import CosineTransform
from models.background_error.harmonics import HarmonicTransform

__all__ = ["SpectralCovariance", "Transform", "latitude_bands"]

Transform = HarmonicTransform | CosineTransform


class SpectralCovariance(nn.Module):
    """C and its root, on fields with a standard deviation of about 1."""

    spectrum: Float[Tensor, "band bin field field"]
    bands: Float[Tensor, "band lat 1"]

    def __init__(
        self, transform: Transform, fields: int, bands: Float[Tensor, "band lat"]
    ) -> None:
        """Create modes that are independent, all with the same variance.

        Args:
            transform: The modes.
            fields: Number of fields.
            bands: Weights w_b.
        """
        super().__init__()
        self.transform = transform
        self.sizes = torch.bincount(transform.wavenumber).tolist()
        self.register_buffer("bands", bands.to(transform.weights)[..., None], persistent=False)
        identity = torch.eye(fields).repeat(len(bands), len(self.sizes), 1, 1)
        self.register_buffer("spectrum", identity)
        self._roots: list[Tensor] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, fields and modes of the control vector."""
        return len(self.bands), self.spectrum.shape[-1], sum(self.sizes)

    def root(
        self, v: Float[Tensor, "batch band field mode"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return p = L v, with L Lᵀ = C."""
        fields = self.transform.synthesis(self._scale(v).flatten(1, 2))
        parts = fields.view(*v.shape[:3], *fields.shape[2:])
        return (parts * self.bands[:, None]).sum(1)

    def root_adjoint(
        self, p: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch band field mode"]:
        """Return Lᵀ p."""
        windowed = (p[:, None] * self.bands[:, None]).flatten(1, 2)
        modes = self.transform.synthesis_adjoint(windowed)
        return self._scale(modes.view(len(p), *self.shape))

    def variance(self) -> Float[Tensor, "field lat lon"]:
        """Return the diagonal of C; its longitudes are one where they are alike."""
        power = self.spectrum.diagonal(dim1=-2, dim2=-1).mT
        total: Tensor = (self.bands[:, None] ** 2 * self.transform.variance(power)).sum(0)
        return total

    def moments(
        self, p: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "band bin field field"]:
        """Return the sums over samples and modes that `fit` needs, in float64."""
        modes = self.transform.analysis(p).double()
        windowed = (p[:, None] * self.bands[:, None] ** 2).flatten(1, 2)
        parts = self.transform.analysis(windowed).double().view(len(p), *self.shape)
        pairs = zip(self._bins(parts), self._bins(modes), strict=True)
        return torch.stack([torch.einsum("bwfm,bgm->wfg", *pair) for pair in pairs], 1)

    @torch.no_grad()
    def fit(self, moments: Float[Tensor, "band bin field field"], count: int) -> None:
        """Set C.

        Few samples give correlations that are too large. They are shrunk by n / (n + fields),
        where n is the number of samples times the number of modes.

        Args:
            moments: Sum of `moments` over all samples.
            count: Number of samples.
        """
        weights = self.transform.weights.double()
        share = (self.bands.double() ** 2 * weights).sum((1, 2)) / weights.sum()
        modes = torch.tensor(self.sizes, dtype=torch.float64).clamp(min=1)
        number = count * modes * share[:, None]
        moments = 0.5 * (moments + moments.mT) / number[..., None, None]
        variance = torch.diag_embed(moments.diagonal(dim1=-2, dim2=-1).clamp(min=0))
        trust = (number / (number + moments.shape[-1]))[..., None, None]
        self.spectrum.copy_(trust * moments + (1 - trust) * variance)
        self._roots = None

    @property
    def roots(self) -> list[Float[Tensor, "band field field"]]:
        """The symmetric roots of C_b for each wavenumber."""
        if self._roots is None:
            values, vectors = torch.linalg.eigh(self.spectrum.double().cpu())
            root = (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT
            self._roots = list(root.to(self.bands).unbind(1))
        return self._roots

    def _bins(self, v: Tensor) -> tuple[Tensor, ...]:
        """Split modes by their wavenumber."""
        return torch.split(v, self.sizes, -1)

    def _scale(self, v: Tensor) -> Tensor:
        parts = zip(self.roots, self._bins(v), strict=True)
        return torch.cat([root @ part for root, part in parts], -1)

    def _load_from_state_dict(self, *arguments: object, **keywords: object) -> None:
        super()._load_from_state_dict(*arguments, **keywords)
        self._roots = None


def latitude_bands(latitude: Float[Tensor, "lat"], count: int) -> Float[Tensor, "band lat"]:
    """Return weights w_b of bands of latitudes that overlap smoothly, Σ_b w_b² = 1.

    Args:
        latitude: Latitudes [degrees_north].
        count: Number of bands, from south to north; their centers are equally far apart and the
            outer ones reach the poles.
    """
    width = 180 / count
    center = -90 + width * (torch.arange(count) + 0.5)
    offset = (latitude - center[:, None]) / width
    offset[0].clamp_(min=0)
    offset[-1].clamp_(max=0)
    return torch.cos(0.5 * math.pi * offset.abs().clamp(max=1)).clamp(min=0)
