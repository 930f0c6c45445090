import math

import numpy as np
import torch
from torch import Tensor

from models.world.constants import EARTH
from models.world.gravity_waves import GravityWaves
from models.world.timestepping import DIAGONAL, EXPLICIT, IMPLICIT, SIL3
from models.world.vertical import EIGHT_LEVELS

HOUR = 3600.0


def waves() -> GravityWaves:
    degree = np.arange(4.0)
    laplacian = -degree * (degree + 1) / EARTH.radius**2
    return GravityWaves(EIGHT_LEVELS, EARTH, 288.0, laplacian, torch.float64)


def state() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale = [1e-5] * 16 + [0.02] + [5.0] * 8 + [0.01] * 8
    x = torch.randn(4, 2, 1, 33, 4, generator=generator, dtype=torch.float64)
    x = x * torch.tensor(scale, dtype=torch.float64)[:, None]
    x[..., :16, 0] = 0  # vorticity and divergence have no mean over the sphere
    return x


def exact_waves(x: Tensor, time: float) -> Tensor:
    """Solve the linear equations by the matrix exponential of each degree."""
    linear = waves()
    identity = torch.eye(17, dtype=torch.float64)
    columns = linear(identity.t()[:, None, None, :, None].expand(17, 1, 1, 17, 4))
    matrices = columns[:, 0, 0].permute(2, 1, 0)  # degree, row, column
    propagator = torch.matrix_exp(time * matrices)
    later = x.clone()
    later[..., 8:25, :] = torch.einsum("lij,mpbjl->mpbil", propagator, x[..., 8:25, :])
    return later


def error_of_waves(steps: int) -> float:
    scheme = SIL3(waves(), 2 * HOUR / steps)
    x = state()
    for _ in range(steps):
        x = scheme(x, torch.zeros_like(x), torch.zeros_like)
    difference = (x - exact_waves(state(), 2 * HOUR))[..., 16, :]
    return float(difference.abs().max())


def test_linear_waves_converge_to_the_matrix_exponential() -> None:
    coarse, fine = error_of_waves(64), error_of_waves(128)
    assert fine < 2e-4
    assert math.log2(coarse / fine) > 1.8


def energy(x: Tensor) -> float:
    """½ Σ Δσ (D² / n + R T'² / (κ T_r)) + ½ R T_r π², which the waves conserve."""
    thickness = torch.as_tensor(EIGHT_LEVELS.thickness)[:, None]
    scale = EARTH.gas_constant / (EARTH.kappa * 288.0)
    kinetic = (thickness * x[..., 8:16, 1:] ** 2 / waves().n[1:]).sum()
    thermal = scale * (thickness * x[..., 17:25, 1:] ** 2).sum()
    return float(kinetic + thermal + EARTH.gas_constant * 288.0 * (x[..., 16, 1:] ** 2).sum())


def test_energy_of_waves_never_grows_however_long_the_step() -> None:
    scheme, x = SIL3(waves(), 12 * HOUR), state()
    energies = []
    for _ in range(20):
        energies.append(energy(x))
        x = scheme(x, torch.zeros_like(x), torch.zeros_like)
    assert max(np.diff(energies)) <= 0
    assert energies[-1] < 0.9 * energies[0]  # waves faster than the step are damped


def test_explicit_decay_is_third_order() -> None:
    """Vorticity and humidity have no implicit terms: ∂S/∂t = -S / τ is a Runge–Kutta problem."""
    errors = []
    for steps in (8, 16):
        step = HOUR / steps
        scheme, x = SIL3(waves(), step), torch.zeros_like(state())
        x[..., 25:, :] = 1.0
        for _ in range(steps):
            x = scheme(x, -x / HOUR, lambda s: -s / HOUR)
        errors.append(float((x[..., 25:, :] - math.exp(-1)).abs().max()))
    assert math.log2(errors[0] / errors[1]) > 2.9


def test_tableau_is_consistent() -> None:
    """Every stage advances explicit and implicit terms by the same time."""
    for explicit, implicit, diagonal in zip(EXPLICIT, IMPLICIT, DIAGONAL, strict=True):
        assert math.isclose(sum(explicit), sum(implicit) + diagonal, rel_tol=1e-15)
    assert sum(EXPLICIT[-1]) == 1
