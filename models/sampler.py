"""Reverse diffusion with an explicit random generator and a short list of noise levels.

From r_t the denoiser gives r̂ = E[r | r_t]; the next state keeps a part of the estimated noise:

    r_s = r̂ + σ_s (√(1 − η²) (r_t − r̂)/σ_t + η ε),    ε ~ N(0, I),

deterministic for η = 0, ancestral for η = 1 (up to the variance of the kernel). The noise levels
follow Karras et al. (2022, arXiv 2206.00364), σ_i^{1/ρ} linear in i with ρ = 7, and end at 0.
azula's samplers draw from the global random state, which a resumable cycle cannot use.
"""

import math
from collections.abc import Sequence

import torch
from azula.denoise import Denoiser
from azula.noise import VESchedule
from jaxtyping import Float
from torch import Tensor

__all__ = ["karras_levels", "randn", "reverse_diffusion"]


def karras_levels(steps: int, start: float, stop: float, rho: float = 7.0) -> list[float]:
    """Return `steps` noise levels from `start` down to `stop`."""
    if steps == 1:
        return [start]
    a, b = start ** (1 / rho), stop ** (1 / rho)
    return [(a + i / (steps - 1) * (b - a)) ** rho for i in range(steps)]


def randn(
    shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device
) -> Float[Tensor, "batch *rest"]:
    """Draw standard normal numbers, each sample of the batch from its own generator."""
    draws = [torch.randn(tuple(shape[1:]), generator=generator) for generator in generators]
    return torch.stack(draws).to(device)


def reverse_diffusion(
    denoiser: Denoiser,
    r: Float[Tensor, "batch channel lat lon"],
    levels: Sequence[float],
    eta: float,
    generators: Sequence[torch.Generator],
    **condition: Tensor,
) -> Float[Tensor, "batch channel lat lon"]:
    """Run the reverse process from the noisy state `r` at `levels[0]` down to zero noise.

    Args:
        denoiser: The (guided) denoiser.
        r: The state at the first noise level.
        levels: Decreasing noise levels σ.
        eta: Share of fresh noise, between 0 and 1.
        generators: One random generator for each sample.
        condition: Keyword arguments of the denoiser.

    Returns:
        The denoiser's mean at the last level.
    """
    mean = r
    for i, sigma in enumerate(levels):
        mean = denoiser(r, schedule_time(denoiser.schedule, sigma, r), **condition).mean
        if i + 1 == len(levels):
            break
        noise = math.sqrt(1 - eta**2) * (r - mean) / sigma
        if eta > 0:
            noise = noise + eta * randn(r.shape, generators, r.device)
        r = mean + levels[i + 1] * noise
    return mean


def schedule_time(schedule: VESchedule, sigma: float, like: Tensor) -> Tensor:
    """Invert σ(t) of the exponential schedule."""
    low, high = math.log(schedule.sigma_min), math.log(schedule.sigma_max)
    return like.new_tensor((math.log(sigma) - low) / (high - low))
