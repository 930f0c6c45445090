import numpy as np
import pytest
import torch

from models.world.constants import EARTH
from models.world.gravity_waves import GravityWaves
from models.world.vertical import EIGHT_LEVELS, SigmaLevels, apply_to_columns, paired

TEMPERATURE = 288.0


def waves() -> GravityWaves:
    degree = np.arange(22.0)
    laplacian = -degree * (degree + 1) / EARTH.radius**2
    return GravityWaves(EIGHT_LEVELS, EARTH, TEMPERATURE, laplacian, torch.float64)


def test_isothermal_geopotential_is_logarithmic() -> None:
    sigma = EIGHT_LEVELS.mid_levels
    np.testing.assert_allclose(EIGHT_LEVELS.hydrostatic.sum(1), -np.log(sigma), rtol=1e-13)


def test_pressure_work_balances_the_geopotential_flux() -> None:
    """Σ Δσ D (G T) = Σ Δσ T (Ω D) for every D and T: energy is only converted."""
    weight = EIGHT_LEVELS.thickness[:, None]
    np.testing.assert_allclose(
        weight * EIGHT_LEVELS.hydrostatic, (weight * EIGHT_LEVELS.pressure_work).T, atol=1e-15
    )


def test_uniform_convergence_moves_no_air_through_sigma_surfaces() -> None:
    np.testing.assert_allclose(EIGHT_LEVELS.sigma_velocity @ np.ones(8), 0, atol=1e-15)


def test_sigma_velocity_closes_the_mass_budget_of_each_layer() -> None:
    g = np.random.default_rng(0).normal(size=8)
    flux = np.concatenate([[0], EIGHT_LEVELS.sigma_velocity @ g, [0]])
    mean = EIGHT_LEVELS.thickness @ g
    budget = np.diff(flux) / EIGHT_LEVELS.thickness + g - mean
    np.testing.assert_allclose(budget, 0, atol=1e-14)


@pytest.mark.parametrize("half", [(0.1, 1.0), (0.0, 0.5, 0.4, 1.0), (0.0, 0.9)])
def test_levels_that_do_not_rise_from_0_to_1_are_refused(half: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="allowed are numbers rising from 0 to 1"):
        SigmaLevels(half)


def test_vertical_modes_are_real_and_the_fastest_is_the_lamb_wave() -> None:
    squared_speed, modes = waves().modes()
    fastest = int(squared_speed.argmax())
    lamb = np.sqrt(EARTH.gas_constant * TEMPERATURE / (1 - EARTH.kappa))
    assert (squared_speed > 0).all()
    assert np.sqrt(squared_speed[fastest]) == pytest.approx(lamb, rel=0.03)
    assert (np.sign(modes[:, fastest]) == np.sign(modes[0, fastest])).all()


@pytest.mark.parametrize("tau", [150.0, 900.0, 3600.0])
def test_implicit_solve_inverts_the_implicit_operator(tau: float) -> None:
    linear = waves()
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1e-5] * 8 + [0.02] + [5.0] * 8, dtype=torch.float64)[:, None]
    shape = (22, 2, 2, 17, 22)
    x = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    right = x - tau * linear(x)
    error = (linear.solver(tau)(right) - x) / scale
    assert error.abs().max() < 1e-10


def test_gravity_waves_conserve_their_energy() -> None:
    """The discrete energy ½ Σ Δσ (D² / n + R T'² / (κ T_r)) + ½ R T_r π² does not change."""
    linear = waves()
    generator = torch.Generator().manual_seed(1)
    scale = torch.tensor([1e-5] * 8 + [0.02] + [5.0] * 8, dtype=torch.float64)[:, None]
    x = torch.randn(22, 2, 1, 17, 22, generator=generator, dtype=torch.float64) * scale
    change = linear(x)[..., 1:]
    x = x[..., 1:]
    thickness = torch.as_tensor(EIGHT_LEVELS.thickness)[:, None]
    n = linear.n[1:]
    kinetic = (thickness * x[..., :8, :] * change[..., :8, :] / n).sum(-2)
    thermal = EARTH.gas_constant / (EARTH.kappa * TEMPERATURE)
    thermal = thermal * (thickness * x[..., 9:, :] * change[..., 9:, :]).sum(-2)
    surface = EARTH.gas_constant * TEMPERATURE * x[..., 8, :] * change[..., 8, :]
    assert (kinetic + thermal + surface).abs().max() < 1e-11 * kinetic.abs().max()


def test_columns_are_multiplied_level_by_level() -> None:
    x = torch.arange(2.0 * 3 * 2 * 2).view(2, 3, 2, 2)
    operator = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]])
    expected = torch.stack([x.sum(1), 2 * x[:, 2]], 1)
    assert torch.equal(apply_to_columns(operator, x), expected)


def test_paired_variables_share_memory() -> None:
    x = torch.zeros(2, 6, 2, 2)
    paired(x)[:, 1, 0] = 1
    assert torch.equal(x[:, 3], torch.ones(2, 2, 2))
    assert float(x.sum()) == 8
