"""How much memory of a device the members of an ensemble take, counted before anything is trained.

The configuration's own method and forecast model run where tensors have shapes only
(`tasks.live_memory`), for two and three members. The peak of the bytes alive is linear in the
members and in the size of a chunk:

    peak = fixed + members · each + chunk · at_once.

`fixed` has the networks and the covariance's eigenvectors, `each` the states and latent coordinates
that a member keeps, `at_once` what a member takes while it is computed, mostly what linearizing the
decoder keeps. Steps and iterations follow one another, so a few stand for all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from configs import Config
from configs.forecast import EmulatorForecast
from configs.methods import Latent
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from tasks.components_latent import LATENT, settings_of
from tasks.live_memory import LiveMemory
from tasks.untrained import (
    unit_statistics,
    untrained_autoencoder,
    untrained_denoiser,
    untrained_emulator,
)

__all__ = ["MemberMemory", "memory_of_members", "usable"]

TIME = pd.Timestamp("2019-01-01")
#: Left free of a device: bytes of its runtime, and a share for fragments and what kernels need.
RUNTIME, SHARE = 1e9, 0.1


def usable(device: float) -> float:
    """Return how much of a device's memory tensors may take [bytes]."""
    return (1 - SHARE) * (device - RUNTIME)


@dataclass(frozen=True)
class MemberMemory:
    """The memory that an ensemble takes.

    Attributes:
        fixed: What does not depend on the members [bytes].
        each: Of each member [bytes].
        at_once: Of each member of a chunk, besides [bytes].
    """

    fixed: float
    each: float
    at_once: float

    def peak(self, members: int, chunk: int | None = None) -> float:
        """Return the memory of an ensemble; in one chunk, or in chunks of a size [bytes]."""
        return self.fixed + members * self.each + min(chunk or members, members) * self.at_once

    def largest_ensemble(self, memory: float, chunk: int | None = None) -> int:
        """Return how many members so many bytes hold; in one chunk, or in chunks of a size."""
        all_at_once = int((memory - self.fixed) // (self.each + self.at_once))
        if chunk is None or all_at_once < chunk:
            return max(0, all_at_once)
        return int((memory - self.fixed - chunk * self.at_once) // self.each)


def memory_of_members(
    config: Config, fields: int, grid: tuple[int, int], features: int = 4
) -> MemberMemory:
    """Return the memory that the members of a latent method take in analysis and forecast.

    Args:
        config: The configuration; its method is a latent one.
        fields: Fields of a state.
        grid: Latitudes and longitudes of a state.
        features: Static features that the networks see.
    """
    ensemble = Ensemble(config, fields, grid, features)
    chunks, two, three = (ensemble.peak(*sizes) for sizes in ((2, 1), (2, 2), (3, 3)))
    at_once = two - chunks
    each = three - two - at_once
    return MemberMemory(two - 2 * (each + at_once), each, at_once)


class Ensemble:
    """The analysis of an ensemble, and the forecast of its members, on a device without values."""

    def __init__(self, config: Config, fields: int, grid: tuple[int, int], features: int) -> None:
        """Make the networks; the arguments are those of `memory_of_members`.

        Raises:
            TypeError: The method is not a latent one.
        """
        if not isinstance(config.method, Latent):
            raise TypeError(
                f"method.kind: {config.method.kind!r}; only latent methods are counted"
            )
        self.shape = (fields, *grid)
        self.memory = LiveMemory()
        with self.memory, torch.device("meta"):
            autoencoder = untrained_autoencoder(config, fields, grid, features)
            denoiser = untrained_denoiser(config, autoencoder.shape, features)
            statistics = unit_statistics(fields, grid)
            for module in (autoencoder, denoiser):
                module.requires_grad_(False).eval()
            parts = statistics, autoencoder, denoiser, torch.ones(grid[0])
            self.method = LATENT[config.method.kind][0](*parts, few(settings_of(config.method)))
            self.emulator = None
            if isinstance(config.forecast_model, EmulatorForecast):
                self.emulator = untrained_emulator(config, statistics).requires_grad_(False).eval()
            fraction = getattr(config.observations.network, "fraction", 0.05)
            count = max(1, int(fraction * statistics.coefficients[0].numel()))
            index, ones = torch.zeros(count, 1, dtype=torch.long), torch.ones(count)
            operator = InterpolationOperator(index, ones[:, None], self.shape)
            self.observations = Observations(ones, ones, operator)
        with self.memory:
            _ = denoiser.covariance.eigen

    def peak(self, members: int, chunk: int) -> int:
        """Return the largest number of bytes alive at once."""
        analyzed = self.counted(members, lambda x: self.analyze(x, chunk))
        if self.emulator is None:
            return analyzed
        return max(analyzed, self.counted(chunk, self.forecast))

    def analyze(self, x_b: Tensor, chunk: int) -> Tensor:
        """Return the analysis."""
        self.method.chunk = chunk
        generators = [torch.Generator() for _ in range(len(x_b))]
        return self.method(x_b, TIME, self.observations, generators).x_a

    def forecast(self, x: Tensor) -> Tensor:
        """Return a forecast of one chunk, which alone is on the device."""
        assert self.emulator is not None
        with torch.no_grad():
            return self.emulator.step(x, TIME, self.emulator.native_step)

    def counted(self, members: int, function: Callable[[Tensor], Tensor]) -> int:
        """Return the peak while a function of some states runs."""
        with self.memory:
            x = torch.empty(members, *self.shape, device="meta")
            self.memory.restart()
            function(x)
        return self.memory.peak


def few(settings: Any) -> Any:  # noqa: ANN401  (of the method's own class)
    """Return settings with a few steps and iterations, which need the memory of many."""
    changes: dict[str, Any] = {}
    if hasattr(settings, "steps"):
        changes["steps"] = min(settings.steps, 2)
    if hasattr(settings, "solver"):
        solver = settings.solver
        changes["solver"] = replace(solver, outer=min(solver.outer, 2), inner=1)
    return replace(settings, **changes)
