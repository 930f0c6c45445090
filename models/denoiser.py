"""The background-conditioned latent prior: a denoiser E[r | r_t, z_b, ℓ].

The unknown is the standardized latent residual r = (z − z_b − b) / (s e^ℓ): b is the known part of
the forecast model's error (`models.model_error`), s the standard deviation for each channel and ℓ
the logarithm of the expected background error relative to the training's, so that one prior
serves good and poor backgrounds. With r_t = r + σ_t ε,

    E[r | r_t] ≈ C (C + σ_t²)⁻¹ r_t + σ_t / √(1 + σ_t²) F(r_t / √(1 + σ_t²), σ_t, z_b, ℓ):

the best linear denoiser for the covariance C of the residual, plus a network F for what depends
on the flow, season and hour. F starts at zero: a small U-net, or a transformer for large latent
states, for which C too has another form (`models.separable_covariance`).

References:
    | Karras et al. (2022), Elucidating the design space of diffusion-based generative models,
    | arXiv 2206.00364
    | Sun et al. (2025), LO-SDA, arXiv 2510.22562
"""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import VESchedule
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.covariance import BlockCovariance, LatentCovariance
from models.model_error import ModelError, ModelErrorShape, local_forcing
from models.networks import Convolution, ResidualBlock, Topology, downsample, upsample
from models.separable_covariance import SeparableCovariance
from models.transformer import LatentTransformer, TransformerShape

__all__ = ["DenoiserShape", "LatentDenoiser"]

SIGMA_MIN, SIGMA_MAX = 0.03, 10.0
FREQUENCIES = (0.5, 1.0, 2.0, 4.0)
WAVES = 2 * len(FREQUENCIES) + 1


@dataclass(frozen=True)
class DenoiserShape:
    """Everything that fixes the architecture.

    Attributes:
        channels: Channels of the latent state.
        grid: Latitudes and longitudes of the latent state.
        wraps: Whether longitude is a circle.
        poles: Whether the grid reaches the poles.
        features: Number of static features.
        hidden: Channels at the finest level.
        deep: Channels at the coarser levels.
        basis: Functions of time that the prior knows, as the climatology: 1, 5 or 7.
        error_hidden: Channels of the network of the model error.
        error_blocks: Residual blocks of it.
        network: What F is.
        depth: Blocks of a transformer, whose tokens have `hidden` channels.
        heads: Heads of its attention.
        covariance: Whether C has correlations between all channels, or is separable.
    """

    channels: int
    grid: tuple[int, int]
    wraps: bool
    poles: bool
    features: int
    hidden: int = 64
    deep: int = 96
    basis: int = 1
    error_hidden: int = 128
    error_blocks: int = 3
    network: Literal["unet", "transformer"] = "unet"
    depth: int = 12
    heads: int = 8
    covariance: Literal["full", "separable"] = "full"

    def to_dict(self) -> dict[str, object]:
        """Return the fields for a checkpoint card."""
        return asdict(self)


class UNet(nn.Module):
    """F: three levels, one residual block before and after each change of level."""

    def __init__(self, shape: DenoiserShape, inputs: int, embedding: int = 96) -> None:
        """Create the network; its last convolution is zero."""
        super().__init__()
        topology = Topology(shape.wraps, shape.poles)
        fine, deep = shape.hidden, shape.deep
        self.embed = nn.Sequential(
            nn.Linear(2 * WAVES, embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
            nn.SiLU(),
        )
        self.enter = nn.Conv2d(inputs, fine, 1)
        self.down_1, self.down_2 = nn.Conv2d(4 * fine, deep, 1), nn.Conv2d(4 * deep, deep, 1)
        self.up_1, self.up_2 = nn.Conv2d(deep, 4 * fine, 1), nn.Conv2d(deep, 4 * deep, 1)
        self.block_in, self.block_out, self.block_1, self.block_2, self.block_3 = (
            ResidualBlock(channels, topology, embedding)
            for channels in (fine, fine, deep, deep, deep)
        )
        self.norm = nn.GroupNorm(8, fine)
        self.leave = Convolution(fine, shape.channels, topology).zeroed()

    def forward(self, x: Tensor, levels: Float[Tensor, "batch level"]) -> Tensor:
        """Apply F, with the embedded noise and background-error levels."""
        e = self.embed(levels)
        h = self.block_in(self.enter(x), e)
        g = self.block_1(self.down_1(downsample(h)), e)
        k = self.block_2(self.down_2(downsample(g)), e)
        g = self.block_3(g + upsample(self.up_2(k), (g.shape[-2], g.shape[-1])), e)
        h = self.block_out(h + upsample(self.up_1(g), (h.shape[-2], h.shape[-1])), e)
        f: Tensor = self.leave(functional.silu(self.norm(h)))
        return f


def wave_embedding(value: Float[Tensor, "batch"]) -> Float[Tensor, "batch embedding"]:
    """Return (sin 2^k v, cos 2^k v …, v)."""
    v = value[:, None]
    phase = v * v.new_tensor(FREQUENCIES)
    return torch.cat([phase.sin(), phase.cos(), v], 1)


def transformer(shape: DenoiserShape, inputs: int) -> LatentTransformer:
    """Return the transformer of an architecture."""
    sizes = shape.channels, inputs - shape.channels, shape.grid, shape.hidden
    return LatentTransformer(TransformerShape(*sizes, shape.depth, shape.heads), 2 * WAVES)


class LatentDenoiser(Denoiser):  # type: ignore[misc]
    """E[r | r_t, z_b, ℓ] for the standardized latent residual r."""

    residual_scale: Tensor
    features: Tensor
    reference_level: Tensor

    def __init__(self, shape: DenoiserShape, static: Float[Tensor, "feature lat lon"]) -> None:
        """Create the denoiser.

        Args:
            shape: The architecture.
            static: Static features on the latent grid [1].
        """
        super().__init__()
        self.shape = shape
        self.schedule = VESchedule(SIGMA_MIN, SIGMA_MAX)
        self.register_buffer("features", static[None].clone())
        self.register_buffer("residual_scale", torch.ones(shape.channels))
        self.register_buffer("reference_level", torch.zeros(()))
        kind = SeparableCovariance if shape.covariance == "separable" else LatentCovariance
        self.covariance: BlockCovariance = kind((shape.channels, *shape.grid), shape.wraps)
        sizes = (shape.channels, shape.grid, shape.features, shape.basis)
        error = ModelErrorShape(*sizes, shape.error_hidden, shape.error_blocks)
        self.model_error = ModelError(error, Topology(shape.wraps, shape.poles))
        inputs = 2 * shape.channels + shape.features + error.forcings
        self.network = (
            UNet(shape, inputs) if shape.network == "unet" else transformer(shape, inputs)
        )

    def center(
        self, z_b: Float[Tensor, "batch channel lat lon"], season: Float[Tensor, "batch basis"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return z_b + b, the background without the known part of the model's error.

        Args:
            z_b: Latent background.
            season: Functions of the valid time, `models.normalization.time_basis`.
        """
        error: Tensor = self.model_error(z_b, season, self.features)
        return z_b + error

    def scale(self, level: Float[Tensor, "batch"]) -> Float[Tensor, "batch channel 1 1"]:
        """Return s e^ℓ, by which r is multiplied to give z − z_b − b.

        Args:
            level: Logarithm of the root-mean-square background error, each field in units of its
                24 h background error.
        """
        ratio = torch.exp(level - self.reference_level)
        return self.residual_scale[:, None, None] * ratio[:, None, None, None]

    def denoise(
        self,
        r_t: Float[Tensor, "batch channel lat lon"],
        sigma: Float[Tensor, "batch"],
        z_b: Float[Tensor, "batch channel lat lon"],
        level: Float[Tensor, "batch"],
        season: Float[Tensor, "batch basis"],
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return E[r | r_t, z_b, ℓ, season] for the noise level σ."""
        norm = (1 + sigma**2).rsqrt()[:, None, None, None]
        features = self.features.expand(len(r_t), -1, -1, -1)
        forcing = local_forcing(season, self.shape.grid)
        inputs = torch.cat([r_t * norm, z_b, features, forcing], 1)
        noise, error = sigma.log() / 4, level - self.reference_level
        f = self.network(inputs, torch.cat([wave_embedding(noise), wave_embedding(error)], 1))
        mean: Tensor = self.covariance.wiener(r_t, sigma) + sigma[:, None, None, None] * norm * f
        return mean

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return the posterior mean at the time t of the noise schedule, as azula asks.

        Args:
            x_t: Noisy residual, with shape (batch, channel, lat, lon).
            t: Time in [0, 1], with shape () or (batch,).
            condition: The latent background `z_b`, the `level` and the `season`.
        """
        sigma = self.schedule.sigma(t).expand(len(x_t))
        names = ("z_b", "level", "season")
        return DiracPosterior(self.denoise(x_t, sigma, *(condition[name] for name in names)))
