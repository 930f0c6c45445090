"""The losses of the autoencoder and of the denoiser."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.normalization import Statistics
from models.training.trajectories import Trajectories

__all__ = [
    "LatentPairs",
    "autoencoder_loss",
    "denoiser_loss",
    "draw_anomalies",
    "expect_anomalies",
    "model_error_loss",
]

Loss = Callable[[torch.Generator], Tensor]


@dataclass(frozen=True)
class LatentPairs:
    """Backgrounds and truths in latent space.

    Thousands of pairs are gigabytes: they are kept in half precision, and selected in single.

    Attributes:
        z_b: Latent backgrounds.
        z: Latent truths.
        center: z_b + b, latent backgrounds without the known part of the model error.
        level: ℓ, logarithm of the root-mean-square background error in units of the 24 h one,
            without the known part of the model error.
        season: Functions of the valid time, `models.normalization.time_basis`.
    """

    z_b: Float[Tensor, "sample channel lat lon"]
    z: Float[Tensor, "sample channel lat lon"]
    center: Float[Tensor, "sample channel lat lon"]
    level: Float[Tensor, "sample"]
    season: Float[Tensor, "sample basis"]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.level)

    @property
    def error(self) -> Float[Tensor, "sample channel lat lon"]:
        """The error of the background, z − z_b."""
        return self.z.float() - self.z_b

    def __add__(self, other: "LatentPairs") -> "LatentPairs":
        """Join two sets."""
        parts = zip(vars(self).values(), vars(other).values(), strict=True)
        return LatentPairs(*(torch.cat(part) for part in parts))

    def select(self, index: Tensor) -> "LatentPairs":
        """Return the pairs at `index`."""
        return LatentPairs(*(part[index].float() for part in vars(self).values()))


def numpy_from(generator: torch.Generator) -> np.random.Generator:
    """Return a NumPy generator keyed by a torch generator."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))


def draw_anomalies(
    trajectories: Trajectories, statistics: Statistics, count: int, generator: torch.Generator
) -> Float[Tensor, "batch field lat lon"]:
    """Draw normalized anomalies of random samples."""
    i, j = trajectories.draw(count, numpy_from(generator))
    return statistics.normalize(trajectories.x(i, j), trajectories.times(i, j))


def expect_anomalies(trajectories: Trajectories, count: int) -> Callable[[torch.Generator], None]:
    """Return what announces the samples that `draw_anomalies` will draw from a generator."""

    def expect(generator: torch.Generator) -> None:
        trajectories.expect(*trajectories.draw(count, numpy_from(generator)))

    return expect


def autoencoder_loss(
    autoencoder: Autoencoder,
    trajectories: Trajectories,
    statistics: Statistics,
    area: Float[Tensor, "lat"],
    batch: int = 16,
    smoothing: float = 0.1,
) -> Loss:
    """Return the loss of a batch: weighted reconstruction error of smoothed codes.

    Args:
        autoencoder: What is trained.
        trajectories: States to learn from.
        statistics: Climatology and error sizes.
        area: Cell-area weights, mean 1; polar rows keep at least 0.3 of the weight.
        batch: States for each step.
        smoothing: Standard deviation s of the noise on the code, before its standardization.
    """
    weight = (statistics.weights[:, None, None] ** 2) * (0.3 + 0.7 * area)[None, :, None]

    def loss(generator: torch.Generator) -> Tensor:
        a = draw_anomalies(trajectories, statistics, batch, generator)
        z = autoencoder.encode(a)
        noise = smoothing * torch.randn(z.shape, generator=generator)
        divergence = 1e-4 * (z**2).mean()
        return (weight * (autoencoder.decode(z + noise) - a) ** 2).mean() + divergence

    return loss


def denoiser_loss(denoiser: LatentDenoiser, pairs: LatentPairs, batch: int = 32) -> Loss:
    """Return the loss of a batch: (1 + σ²)/σ² |E[r | r_t] − r|², log σ ~ N(0.6, 1.4²).

    The level given to the denoiser has an error of 0.12, that of its estimate from innovations.
    """

    def loss(generator: torch.Generator) -> Tensor:
        chosen = pairs.select(torch.randint(len(pairs), (batch,), generator=generator))
        level = chosen.level + 0.12 * torch.randn(batch, generator=generator)
        r = (chosen.z - chosen.center) / denoiser.scale(level)
        sigma = torch.exp(0.6 + 1.4 * torch.randn(batch, generator=generator)).clamp(0.03, 30.0)
        noise = torch.randn(r.shape, generator=generator)
        r_t = r + sigma[:, None, None, None] * noise
        mean = denoiser.denoise(r_t, sigma, chosen.z_b, level, chosen.season)
        weight = (1 + sigma**2) / sigma**2
        return (weight * ((mean - r) ** 2).flatten(1).mean(1)).mean()

    return loss


def model_error_loss(denoiser: LatentDenoiser, pairs: LatentPairs, batch: int = 32) -> Loss:
    """Return the loss of a batch: |(z − z_b − b̄)/s − f(z_b)|², with the climatology b̄ as it is."""
    error = denoiser.model_error

    def loss(generator: torch.Generator) -> Tensor:
        chosen = pairs.select(torch.randint(len(pairs), (batch,), generator=generator))
        target = chosen.z - chosen.z_b - error.mean(chosen.season)
        flow = error.flow(chosen.z_b, chosen.season, denoiser.features)
        return (flow - target / error.scale[:, None, None]).pow(2).mean()

    return loss
