"""A covariance of latent states too large for blocks between all channels.

At 69 channels on 32 × 64 cells a block over (channel, latitude) has 2208² numbers for each of 33
zonal wavenumbers: gigabytes, and minutes for their eigenvectors. Here the channels are first turned
by the eigenvectors V of their covariance, averaged over the sphere; the turned channels k are then
taken as uncorrelated with each other, each with a covariance of its own in space,

    C = V diag_k(C_k) Vᵀ,    C_k = F* diag_m(C_km) F,

with F the Fourier transform along longitude, where it is a circle. C_km are Hermitian blocks over
latitude, of 32² numbers here. What is lost are correlations between channels that differ from their
mean over places and scales; variances of each turned channel by latitude, and correlation lengths
that differ between channels, latitudes and scales, are kept. C_k is kept as a localized kernel
between neighbors, as in `models.covariance`, from which every function of C follows exactly.

References:
    | Bannister (2008), A review of forecast error covariance statistics in atmospheric variational
    | data assimilation, doi 10.1002/qj.339 (vertical eigenvectors, then horizontal correlations)
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from models.covariance import BlockCovariance, Localization, gaspari_cohn

__all__ = ["SeparableCovariance"]

CHUNK = 64
LOCALIZATION = Localization()


class SeparableCovariance(BlockCovariance):
    """A covariance over latent states, without correlations between turned channels."""

    rotation: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        wraps: bool,
        localization: Localization = LOCALIZATION,
    ) -> None:
        """Create an identity covariance; the arguments are those of `BlockCovariance`."""
        super().__init__(shape, wraps, localization)
        channels, lat, lon = shape
        self.size = lat if wraps else lat * lon
        self.waves = lon // 2 + 1 if wraps else 1
        self.register_buffer("rotation", torch.eye(channels))
        identity = torch.eye(self.size).expand(self.waves, channels, -1, -1)
        self.register_buffer("kernel", self._pack(identity).half())

    def modes(self, v: Float[Tensor, "batch channel lat lon"]) -> Tensor:
        """Transform to shape (wave × turned channel, batch, size)."""
        turned = torch.einsum("bcji,ck->bkji", v, self.rotation)
        if not self.wraps:
            return turned.flatten(2).movedim(0, 1)
        h: Tensor = torch.fft.rfft(turned, norm="ortho")
        return h.permute(3, 1, 0, 2).flatten(0, 1)

    def state(self, h: Tensor) -> Float[Tensor, "batch channel lat lon"]:
        """Undo `modes`."""
        channels, lat, lon = self.shape
        if self.wraps:
            h = h.reshape(self.waves, channels, -1, lat).permute(2, 1, 3, 0)
            turned: Tensor = torch.fft.irfft(h, n=lon, norm="ortho")
        else:
            turned = h.movedim(0, 1).reshape(-1, channels, lat, lon)
        return torch.einsum("bkji,ck->bcji", turned, self.rotation)

    def variance(self) -> Float[Tensor, "channel lat lon"]:
        """Return the diagonal of C; its longitudes are one where errors are homogeneous along it."""
        channels, lat, lon = self.shape
        kernel = self.kernel.float()
        if self.wraps:
            own = kernel[0, :, self.localization.meridional_lags].T[..., None]
        else:
            own = kernel.diagonal(dim1=-2, dim2=-1).reshape(channels, lat, lon)
        return torch.einsum("ck,kji->cji", self.rotation**2, own)

    @torch.no_grad()
    def fit(self, r: Float[Tensor, "sample channel lat lon"]) -> None:
        """Estimate the covariance from samples of the error; their mean is not removed."""
        channels = self.shape[0]
        among = torch.zeros(channels, channels, dtype=torch.float64)
        for part in torch.split(r, CHUNK):
            rows = part.float().movedim(1, 0).flatten(1)
            among += (rows @ rows.T).double()
        self.rotation.copy_(torch.linalg.eigh(among)[1].flip(1))
        moment = torch.zeros(())
        for part in torch.split(r, CHUNK):
            h = self.modes(part.float())
            moment = moment + h.mT @ h.conj()
        moment = moment / len(r)
        blocks = moment.reshape(self.waves, channels, self.size, self.size)
        self.kernel.copy_(self._pack(blocks).half())
        self._eigen = None

    def _real_blocks(self) -> list[int]:
        return [
            wave * self.shape[0] + channel
            for wave in super()._real_blocks()
            for channel in range(self.shape[0])
        ]

    def _pack(self, blocks: Tensor) -> Tensor:
        """Localize blocks (wave, channel, size, size) and keep the kernel within the support.

        Returns:
            (lag, latitude, meridional lag, channel) on a circle, else (channel, size, size).
        """
        _, lat, lon = self.shape
        zonal, meridional = self.localization.zonal, self.localization.meridional
        if not self.wraps:
            pairs = ((lat, meridional), (lon, zonal))
            steps = [(torch.arange(n, dtype=torch.float32), width) for n, width in pairs]
            tapers = [gaspari_cohn(s[:, None] - s, width) for s, width in steps]
            near: Tensor = blocks[0].real * torch.kron(*tapers)
            return near
        reach, lags = self.localization.meridional_lags, self.localization.zonal_lags
        k = torch.fft.irfft(blocks.movedim(0, -1) + 0j, n=lon)[..., : lags + 1]
        k = k.permute(3, 1, 2, 0)
        rows = torch.arange(lat)[:, None] + torch.arange(-reach, reach + 1)
        banded = k[:, torch.arange(lat)[:, None], rows.clamp(0, lat - 1)]
        banded = banded * ((rows >= 0) & (rows < lat))[None, :, :, None]
        along = gaspari_cohn(torch.arange(len(k)).float(), zonal)
        across = gaspari_cohn(torch.arange(-reach, reach + 1).float(), meridional)
        kernel: Tensor = banded * (along[:, None, None, None] * across[None, None, :, None])
        return kernel

    def _unpack(self, kernel: Tensor) -> Tensor:
        """Return the blocks (wave × channel, size, size) of the kernel, Hermitian to round-off."""
        channels, lat, lon = self.shape
        if not self.wraps:
            return 0.5 * (kernel + kernel.mT)
        reach, lags = self.localization.meridional_lags, len(kernel)
        k = kernel.new_zeros(lags, lat, lat + 2 * reach, channels)
        for j in range(lat):
            k[:, j, j : j + 2 * reach + 1] = kernel[:, j]
        k = k[:, :, reach : reach + lat].permute(0, 3, 1, 2)
        full = functional.pad(k, (0, 0, 0, 0, 0, 0, 0, lon - lags))
        full[lon - lags + 1 :] = k[1:].flip(0).mT
        moment = torch.fft.fft(full, dim=0)[: self.waves]
        hermitian: Tensor = 0.5 * (moment + moment.mH)
        return hermitian.flatten(0, 1)
