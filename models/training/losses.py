"""The losses of the autoencoder, of the denoiser and of the model error."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.model_error import ModelError
from models.normalization import Statistics, time_basis
from models.training.objective import Batch, Objective
from models.training.processes import ALONE, Processes
from models.training.trajectories import Trajectories

__all__ = [
    "AutoencoderObjective",
    "DenoiserObjective",
    "LatentPairs",
    "ModelErrorObjective",
    "draw_anomalies",
]


@dataclass(frozen=True)
class LatentPairs:
    """Backgrounds and truths in latent space.

    Thousands of pairs are gigabytes: they are kept on the CPU, in half precision.

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
        """Return the pairs at `index`, as they are kept."""
        return LatentPairs(*(part[index] for part in vars(self).values()))

    def single(self) -> "LatentPairs":
        """Return the pairs in single precision."""
        return LatentPairs(*(part.float() for part in vars(self).values()))


def numpy_from(generator: torch.Generator) -> np.random.Generator:
    """Return a NumPy generator keyed by a torch generator."""
    return np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))


def draw_anomalies(
    trajectories: Trajectories, statistics: Statistics, count: int, generator: torch.Generator
) -> Float[Tensor, "batch field lat lon"]:
    """Draw normalized anomalies of random samples, where the statistics are."""
    i, j = trajectories.draw(count, numpy_from(generator))
    x = trajectories.x(i, j).to(statistics.std.device)
    return statistics.normalize(x, trajectories.times(i, j))


class AutoencoderObjective(Objective):
    """Weighted reconstruction error of smoothed codes, `models.autoencoder`."""

    weight: Tensor

    def __init__(
        self,
        autoencoder: Autoencoder,
        trajectories: Trajectories,
        statistics: Statistics,
        area: Float[Tensor, "lat"],
        batch: int = 16,
        smoothing: float = 0.1,
    ) -> None:
        """Create the objective.

        Args:
            autoencoder: What is trained.
            trajectories: States to learn from.
            statistics: Climatology and error sizes.
            area: Cell-area weights, mean 1; polar rows keep at least 0.3 of the weight.
            batch: States for each step.
            smoothing: Standard deviation s of the noise on the code, before its standardization.
        """
        super().__init__(batch)
        self.autoencoder, self.statistics = autoencoder, statistics
        self.trajectories, self.smoothing = trajectories, smoothing
        weight = (statistics.weights[:, None, None] ** 2) * (0.3 + 0.7 * area)[None, :, None]
        self.register_buffer("weight", weight)

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        """Draw states [SI], their functions of time and the noise on their codes."""
        i, j = self.trajectories.draw(self.batch, numpy_from(generator))
        shape = self.autoencoder.shape
        noise = torch.randn(self.batch, shape.latent, *shape.latent_grid, generator=generator)
        i, j = processes.part(i), processes.part(j)
        basis = time_basis(self.trajectories.times(i, j), len(self.statistics.coefficients))
        x = self.trajectories.x(i, j)
        return x, torch.from_numpy(basis).float(), processes.part(noise)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        x, basis, noise = batch
        a = self.statistics.anomaly(x, basis)
        z = self.autoencoder.encode(a)
        divergence = 1e-4 * (z**2).mean()
        decoded = self.autoencoder.decode(z + self.smoothing * noise)
        return (self.weight * (decoded - a) ** 2).mean() + divergence


class DenoiserObjective(Objective):
    """(1 + σ²)/σ² |E[r | r_t] − r|², log σ ~ N(0.6, 1.4²).

    The level given to the denoiser has an error of 0.12, that of its estimate from innovations.
    """

    def __init__(self, denoiser: LatentDenoiser, pairs: LatentPairs, batch: int = 32) -> None:
        """Create the objective: what is trained, pairs to learn from, pairs for each step."""
        super().__init__(batch)
        self.denoiser, self.pairs = denoiser, pairs

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        """Draw pairs, the errors of their levels, their noise levels and their noise."""
        index = torch.randint(len(self.pairs), (self.batch,), generator=generator)
        shape = (self.batch, *self.pairs.z.shape[1:])
        sizes = (self.batch,), (self.batch,), shape
        random = [torch.randn(size, generator=generator) for size in sizes]
        chosen = vars(self.pairs.select(processes.part(index))).values()
        return (*chosen, *(processes.part(part) for part in random))

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        denoiser, (*chosen, error, size, noise) = self.denoiser, batch
        pairs = LatentPairs(*chosen).single()
        level = pairs.level + 0.12 * error
        r = (pairs.z - pairs.center) / denoiser.scale(level)
        sigma = torch.exp(0.6 + 1.4 * size).clamp(0.03, 30.0)
        r_t = r + sigma[:, None, None, None] * noise
        mean = denoiser.denoise(r_t, sigma, pairs.z_b, level, pairs.season)
        weight = (1 + sigma**2) / sigma**2
        return (weight * ((mean - r) ** 2).flatten(1).mean(1)).mean()


class ModelErrorObjective(Objective):
    """|(z − z_b − b̄)/s − f(z_b)|², with the climatology b̄ of the error as it is."""

    features: Tensor

    def __init__(
        self,
        error: ModelError,
        features: Float[Tensor, "1 feature lat lon"],
        pairs: LatentPairs,
        batch: int = 32,
    ) -> None:
        """Create the objective.

        Args:
            error: What is trained.
            features: Static features on the latent grid.
            pairs: Forecasts over one cycle from the truth.
            batch: Pairs for each step.
        """
        super().__init__(batch)
        self.error, self.pairs = error, pairs
        self.register_buffer("features", features)

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        """Draw pairs."""
        index = torch.randint(len(self.pairs), (self.batch,), generator=generator)
        return tuple(vars(self.pairs.select(processes.part(index))).values())

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        pairs = LatentPairs(*batch).single()
        target = pairs.z - pairs.z_b - self.error.mean(pairs.season)
        flow = self.error.flow(pairs.z_b, pairs.season, self.features)
        return (flow - target / self.error.scale[:, None, None]).pow(2).mean()
