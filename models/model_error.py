"""The error that the forecast model makes in one cycle, as far as it is known beforehand.

    b(z_b, t) = E[z − z_b | z_b, t],    z_b = encode(M(truth)),

in latent space, for forecasts M over one cycle that start from the truth: a climatology of the
error (place, season and hour) plus a convolutional network of the state. Learned on forecasts from
the truth it is the fixed point of cycling. Learned on the backgrounds of cycles it would hold what
earlier analyses kept of earlier errors as well, and add that again at every cycle: if each cycle
keeps the part g of the error, the mean error of an uncorrected cycle is b / (1 − g).

References:
    | Dee (2005), Bias and data assimilation, doi 10.1256/qj.05.137
    | Farchi et al. (2021), Using machine learning to correct model error in data assimilation and
    | forecast applications, doi 10.1002/qj.4116
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.networks import Convolution, ResidualBlock, Topology

__all__ = ["ModelError", "ModelErrorShape", "local_forcing"]


@dataclass(frozen=True)
class ModelErrorShape:
    """Everything that fixes the architecture.

    Attributes:
        channels: Channels of the latent state.
        grid: Latitudes and longitudes of the latent state.
        features: Number of static features.
        basis: Functions of time, `models.normalization.time_basis`: 1, 5 or 7.
        hidden: Channels of the network.
        blocks: Residual blocks.
    """

    channels: int
    grid: tuple[int, int]
    features: int
    basis: int = 1
    hidden: int = 128
    blocks: int = 3

    @property
    def forcings(self) -> int:
        """Number of fields of `local_forcing`."""
        return 2 * (self.basis >= 5) + 2 * (self.basis >= 7)


class ModelError(nn.Module):
    """b(z_b, t); zero before it is fitted."""

    climatology: Tensor
    scale: Tensor

    def __init__(self, shape: ModelErrorShape, topology: Topology) -> None:
        """Create the model error."""
        super().__init__()
        self.shape = shape
        self.register_buffer("climatology", torch.zeros(shape.basis, shape.channels, *shape.grid))
        self.register_buffer("scale", torch.ones(shape.channels))
        self.enter = nn.Conv2d(shape.channels + shape.features + shape.forcings, shape.hidden, 1)
        blocks = (ResidualBlock(shape.hidden, topology) for _ in range(shape.blocks))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(8, shape.hidden)
        self.leave = Convolution(shape.hidden, shape.channels, topology, 1).zeroed()

    def mean(self, season: Float[Tensor, "batch basis"]) -> Float[Tensor, "batch channel lat lon"]:
        """Return the climatology of the error."""
        fields = season @ self.climatology.flatten(1)
        return fields.reshape(len(season), self.shape.channels, *self.shape.grid)

    def flow(
        self,
        z_b: Float[Tensor, "batch channel lat lon"],
        season: Float[Tensor, "batch basis"],
        features: Float[Tensor, "1 feature lat lon"],
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return the part that depends on the state, in units of `scale`."""
        forcing = local_forcing(season, self.shape.grid)
        h = self.enter(torch.cat([z_b, features.expand(len(z_b), -1, -1, -1), forcing], 1))
        for block in self.blocks:
            h = block(h)
        f: Tensor = self.leave(functional.silu(self.norm(h)))
        return f

    def forward(
        self,
        z_b: Float[Tensor, "batch channel lat lon"],
        season: Float[Tensor, "batch basis"],
        features: Float[Tensor, "1 feature lat lon"],
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return b(z_b, t), which is added to z_b."""
        scaled = self.scale[:, None, None] * self.flow(z_b, season, features)
        return self.mean(season) + scaled

    @torch.no_grad()
    def fit_climatology(
        self,
        error: Float[Tensor, "sample channel lat lon"],
        season: Float[Tensor, "sample basis"],
    ) -> None:
        """Fit the climatology to samples of z − z_b by least squares, and set the scale."""
        gram = (season.T @ season).double()
        fitted = torch.linalg.solve(gram, (season.T @ error.flatten(1)).double())
        self.climatology.copy_(fitted.reshape(self.climatology.shape))
        self.scale.copy_((error - self.mean(season)).pow(2).mean((0, 2, 3)).sqrt())


def local_forcing(
    season: Float[Tensor, "batch basis"], grid: tuple[int, int]
) -> Float[Tensor, "batch forcing lat lon"]:
    """Return cos and sin of the time of year, and of the local hour, where they are known.

    Args:
        season: Functions of time; 5 of them hold the seasons, 7 the hour too.
        grid: Latitudes and longitudes; with the hour, the longitudes are equally spaced on a circle.
    """
    lon = torch.arange(grid[1], device=season.device) / grid[1]
    phase = 2 * torch.pi * lon[None, None, None]
    parts = []
    if season.shape[1] >= 5:
        parts.append(season[:, 1:3, None, None] + 0 * phase)
    if season.shape[1] >= 7:
        cos, sin = season[:, 5:6, None, None], season[:, 6:7, None, None]
        parts.append(cos * phase.cos() - sin * phase.sin())
        parts.append(sin * phase.cos() + cos * phase.sin())
    joined = torch.cat(parts, 1) if parts else season[:, :0, None, None] + phase
    return joined.expand(-1, -1, grid[0], -1)
