"""3DVar on a small linear-Gaussian world, where the analysis is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.background_error.covariance import BackgroundCovariance
from models.grid import LatLonGrid
from models.local_error import LocalError
from models.methods.base import AssimilationMethod
from models.methods.threedvar import ThreeDVar, ThreeDVarSettings
from models.normalization import Statistics
from models.observations.anomalies import of_anomalies
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.state import StateSpec, Variable

TIME = pd.Timestamp("2005-01-01")
GRID = LatLonGrid.gaussian(6, 12)
SPEC = StateSpec(
    (
        Variable("u", "eastward_wind", "m s-1", (0.5,)),
        Variable("v", "northward_wind", "m s-1", (0.5,)),
        Variable("sp", "surface_air_pressure", "Pa"),
    ),
    GRID,
    "sigma",
)
SIZE = 3 * 6 * 12
FIXED = ThreeDVarSettings(adaptive=False, tolerance=1e-5)


@pytest.fixture(scope="module")
def method() -> ThreeDVar:
    """B fitted to smooth errors whose size is the 24 h error of the statistics."""
    g = torch.Generator().manual_seed(0)
    std = torch.tensor([5.0, 4.0, 300.0])
    covariance = BackgroundCovariance(SPEC, std)
    modes = torch.randn(500, 3, 36, generator=g)
    n = covariance.transform.wavenumber
    errors = covariance.transform.synthesis(modes / (1 + n) * (n > 0))
    errors[:, 2] += errors[:, 0]
    errors = 0.3 * errors / errors.pow(2).mean((0, 2, 3), keepdim=True).sqrt()
    covariance.fit(lambda: errors.split(100))
    coefficients = torch.randn(1, *SPEC.shape, generator=g)
    statistics = Statistics(coefficients, std, torch.full((3,), 0.3))
    return ThreeDVar(statistics, covariance, GRID.cell_area_weights(), FIXED)


def matrix(covariance: BackgroundCovariance) -> torch.Tensor:
    """Return B of normalized anomalies as a matrix."""
    unit = torch.eye(SIZE).view(SIZE, *SPEC.shape)
    return covariance.root(covariance.root_adjoint(unit)).flatten(1).double()


def observations(x: torch.Tensor, count: int, error: float, seed: int = 1) -> Observations:
    """Observe normalized values at random points with an error in units of `std`."""
    random = np.random.default_rng(seed)
    index = torch.from_numpy(random.choice(SIZE, count, replace=False))[:, None]
    operator = InterpolationOperator(index, torch.ones(count, 1), SPEC.shape)
    std = error * torch.tensor([5.0, 4.0, 300.0])[index[:, 0] // 72]
    noise = torch.from_numpy(random.standard_normal(count)).float()
    return Observations(operator(x)[0] + std * noise, std, operator)


def states(method: ThreeDVar, seed: int, size: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Background and truth, whose difference is a draw from B."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(1, *SPEC.shape, generator=generator)
    error = size * method.covariance.sample([generator])
    both = [method.statistics.denormalize(value, [TIME]) for value in (a, a + error)]
    return both[0], both[1]


def kalman(
    method: ThreeDVar,
    x_b: torch.Tensor,
    observed: Observations,
    factor: float | torch.Tensor = 1.0,
) -> torch.Tensor:
    """Return the analysis x_b + B Hᵀ (H B Hᵀ + R)⁻¹ (y − H x_b) with explicit matrices."""
    scale = method.statistics.std.repeat_interleave(72).double()
    b = factor * matrix(method.covariance) * scale[:, None] * scale
    h = b[observed.operator.index[:, 0]]
    hbh = h[:, observed.operator.index[:, 0]]
    innovation = (observed.y - observed.operator(x_b)[0]).double()
    weight = torch.linalg.solve(hbh + torch.diag(observed.error.double() ** 2), innovation)
    return x_b + (h.T @ weight).view(x_b.shape).float()


def run(method: ThreeDVar, x_b: torch.Tensor, observed: Observations) -> torch.Tensor:
    return method(x_b, TIME, observed, [torch.Generator().manual_seed(0)]).x_a


def test_it_is_an_assimilation_method(method: ThreeDVar) -> None:
    assert isinstance(method, AssimilationMethod)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_minimum_is_the_analysis_of_the_kalman_filter(method: ThreeDVar, scale: float) -> None:
    x_b, x = states(method, 1)
    observed = observations(x, 40, 0.1)
    x_a = run(method.with_settings(scale=scale), x_b, observed)
    expected = kalman(method, x_b, observed, scale)
    increment = (expected - x_b) / method.statistics.std[:, None, None]
    assert increment.abs().max() > 0.2
    found = (x_a - x_b) / method.statistics.std[:, None, None]
    torch.testing.assert_close(found, increment, atol=2e-4, rtol=1e-3)


def test_with_a_map_of_the_expected_error_it_is_the_filter_with_that_covariance(
    method: ThreeDVar,
) -> None:
    parts, local = (method.statistics, method.covariance, method.area), LocalError.of
    mapped = ThreeDVar(*parts, FIXED, local=local(GRID, (3, 6), 2.0, 3000.0))
    x_b, x = states(method, 8)
    observed = observations(x, 40, 0.1)
    anomalies = of_anomalies(observed, method.statistics, method.area, [TIME])
    a_b = method.statistics.normalize(x_b, [TIME])
    level, relief = mapped.expected(a_b, anomalies, ensemble=False)
    assert relief is not None and float(relief.max() / relief.min()) > 1.1
    size = (mapped.size(level)[:, None, None, None] * relief).expand(1, *SPEC.shape)
    size = size.flatten().double()
    std = method.statistics.std[:, None, None]
    expected = (kalman(method, x_b, observed, size[:, None] * size) - x_b) / std
    assert expected.abs().max() > 0.2
    found = (run(mapped, x_b, observed) - x_b) / std
    torch.testing.assert_close(found, expected, atol=5e-4, rtol=1e-3)


def test_a_second_linearization_of_a_linear_operator_changes_nothing(method: ThreeDVar) -> None:
    x_b, x = states(method, 2)
    observed = observations(x, 40, 0.1)
    once, twice = (run(method.with_settings(outer=k), x_b, observed) for k in (1, 2))
    scaled = (twice - once) / method.statistics.std[:, None, None]
    assert scaled.abs().max() < 1e-4


def test_the_iterations_stop_at_the_tolerance(method: ThreeDVar) -> None:
    x_b, x = states(method, 3)
    observed = observations(x, 60, 0.05)
    traces = [
        method.with_settings(tolerance=t)(x_b, TIME, observed, [torch.Generator()]).trace[0]
        for t in (0.3, 1e-3, 1e-5)
    ]
    steps = [trace["iterations"] for trace in traces]
    assert 0 < steps[0] < steps[1] < steps[2] < 100
    costs = [trace["J_b"] + trace["J_o"] for trace in traces]
    assert traces[0]["J_o_before"] > costs[0] >= costs[1] >= costs[2] - 1e-3
    assert costs[1] == pytest.approx(costs[2], rel=1e-3)
    limited = method.with_settings(inner=2)(x_b, TIME, observed, [torch.Generator()])
    assert limited.trace[0]["iterations"] == 2


def test_the_cost_is_half_the_number_of_observations_if_b_and_r_are_right(
    method: ThreeDVar,
) -> None:
    total = 0.0
    for seed in range(10):
        x_b, x = states(method, 100 + seed)
        row = method(x_b, TIME, observations(x, 60, 0.1, seed), [torch.Generator()]).trace[0]
        total += row["J_b"] + row["J_o"]
    assert total == pytest.approx(10 * 60 / 2, rel=3 / 300**0.5)


def test_the_size_of_b_follows_the_innovations(method: ThreeDVar) -> None:
    x_b, x = states(method, 4, size=3.0)
    observed = observations(x, 200, 0.05)
    analysis = method.with_settings(adaptive=True)(x_b, TIME, observed, [torch.Generator()])
    assert analysis.expected_error == pytest.approx(3.0, rel=0.4)
    expected = kalman(method, x_b, observed, analysis.expected_error**2)
    scaled = (analysis.x_a - expected) / method.statistics.std[:, None, None]
    assert scaled.abs().max() < 1e-3
    assert analysis.background_error is not None
    index, scale = observed.operator.index[:, 0], method.statistics.std
    explicit = matrix(method.covariance).diagonal()[index].float().sqrt() * scale[index // 72]
    size = analysis.expected_error / method.level_of_samples.exp()
    ratio = (analysis.background_error / (size * explicit))[index >= 2 * 72]
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0.05, atol=0)


def test_a_fixed_size_is_that_of_the_samples(method: ThreeDVar) -> None:
    # the samples have an equal size per cell, not per area
    assert float(method.level_of_samples) == pytest.approx(0.0, abs=0.05)
    x_b, x = states(method, 5)
    analysis = method(x_b, TIME, observations(x, 20, 0.1), [torch.Generator()])
    assert analysis.expected_error == pytest.approx(float(method.level_of_samples.exp()))


def test_without_observations_the_background_stays(method: ThreeDVar) -> None:
    x_b, x = states(method, 6)
    assert torch.equal(run(method, x_b, observations(x, 0, 0.1)), x_b)


def test_a_field_that_does_not_count_keeps_its_background_and_tells_nothing(
    method: ThreeDVar,
) -> None:
    x_b, x = states(method, 7)
    observed = observations(x, 150, 0.1)
    statistics = method.statistics.with_error_std(
        method.statistics.error_std, torch.tensor([True, True, False])
    )
    masked = ThreeDVar(statistics, method.covariance, method.area, FIXED)
    x_a = run(masked, x_b, observed)
    assert torch.equal(x_a[:, 2], x_b[:, 2]) and not torch.equal(x_a[:, 0], x_b[:, 0])
    kept = observed.operator.index[:, 0] < 2 * 72
    wind = InterpolationOperator(
        observed.operator.index[kept], observed.operator.weight[kept], SPEC.shape
    )
    alone = run(masked, x_b, Observations(observed.y[kept], observed.error[kept], wind))
    torch.testing.assert_close(alone, x_a, atol=1e-2, rtol=1e-4)


def test_the_known_model_error_is_taken_off_the_background(method: ThreeDVar) -> None:
    x_b, _ = states(method, 8)
    bias = 0.2 * torch.randn(1, *SPEC.shape, generator=torch.Generator().manual_seed(8))
    truth = x_b + bias * method.statistics.std[:, None, None]
    exact = observations(truth, 60, 1e-4)
    centered = ThreeDVar(
        method.statistics, method.covariance, method.area, FIXED, lambda a, times: a + bias
    )
    scaled = (run(centered, x_b, exact) - truth) / method.statistics.std[:, None, None]
    assert scaled.abs().max() < 2e-3


def test_members_have_their_own_backgrounds_and_perturbed_observations(
    method: ThreeDVar,
) -> None:
    x_b, x = states(method, 9)
    observed = observations(x, 40, 0.3)
    members = x_b.expand(60, -1, -1, -1)
    generators = [torch.Generator().manual_seed(k) for k in range(60)]
    x_a = method(members, TIME, observed, generators).x_a
    mean = (x_a.mean(0) - run(method, x_b, observed)[0]) / method.statistics.std[:, None, None]
    spread = (x_a / method.statistics.std[:, None, None]).std(0)
    assert spread.max() > 0.05 and mean.abs().max() < 5 * spread.max() / 60**0.5
    drawn = method.with_settings(prior_draw=1.0)(members, TIME, observed, generators).x_a
    wide = (drawn / method.statistics.std[:, None, None]).std(0)
    # background errors and perturbed observations together: the analysis error of the Kalman filter
    b, scale = matrix(method.covariance), observed.operator.index[:, 0]
    hbh = b[scale][:, scale] + 0.3**2 * torch.eye(40, dtype=torch.float64)
    a = b - b[:, scale] @ torch.linalg.solve(hbh, b[scale])
    assert float((wide**2).mean() / a.diagonal().mean()) == pytest.approx(1.0, abs=0.15)


def test_the_same_generators_give_the_same_analysis_bit_for_bit(method: ThreeDVar) -> None:
    x_b, x = states(method, 10)
    observed, members = observations(x, 20, 0.2), x_b.expand(2, -1, -1, -1)
    drawn = method.with_settings(prior_draw=0.5)
    first, second = (
        drawn(members, TIME, observed, [torch.Generator().manual_seed(k) for k in (1, 2)]).x_a
        for _ in range(2)
    )
    assert torch.equal(first, second)
