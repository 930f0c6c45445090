import math
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor

from models.world.model import SpectralModel
from models.world.nature import (
    FORECAST,
    NATURE,
    forecast_model,
    nature_model,
    rest_state,
)

JULY = 15_552_000.0
SCALE = torch.tensor([1.0] * 24 + [1e-4] * 8 + [100.0], dtype=torch.float64)[:, None, None]


def noise(x: Tensor, seed: int) -> Tensor:
    """Random fields of the size of analysis errors."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype) * SCALE.to(x.dtype)


def relative(x: Tensor, reference: Tensor) -> float:
    """Return the largest error of any field relative to the field's largest value."""
    error = (x - reference).abs().amax((0, 2, 3))
    return float((error / reference.abs().amax((0, 2, 3))).max())


def test_grid_and_spectral_states_are_equivalent(moist: SpectralModel, weather: Tensor) -> None:
    assert relative(moist.to_grid(moist.from_grid(weather)), weather) < 1e-11
    single = forecast_model()
    x = weather.float()
    assert relative(single.to_grid(single.from_grid(x)), x) < 5e-6


def test_batch_equals_single(weather: Tensor) -> None:
    model = forecast_model()
    x = weather.float()
    with torch.no_grad():
        both = model.forecast(x, JULY, 6)
        for member in range(2):
            single = model.forecast(x[member : member + 1], JULY, 6)
            assert relative(both[member : member + 1], single) < 1e-5


def test_each_member_can_have_its_own_time(moist: SpectralModel, weather: Tensor) -> None:
    times = torch.tensor([JULY, 0.0], dtype=torch.float64)
    with torch.no_grad():
        both = moist.forecast(weather, times, 3)
        winter = moist.forecast(weather[1:], 0.0, 3)
    assert relative(both[1:], winter) < 1e-11


def test_forecasts_are_bitwise_repeatable(weather: Tensor) -> None:
    x = weather.float()
    with torch.no_grad():
        first = forecast_model().forecast(x, JULY, 6)
        second = forecast_model().forecast(x, JULY, 6)
    assert torch.equal(first, second)


def test_a_forecast_in_two_parts_is_the_forecast(moist: SpectralModel, weather: Tensor) -> None:
    with torch.no_grad():
        whole = moist.forecast(weather, JULY, 6)
        half = moist.forecast(weather, JULY, 3)
        parts = moist.forecast(half, JULY + 3 * 3600, 3)
    assert relative(parts, whole) < 1e-10


def test_mass_of_dry_air_is_kept(moist: SpectralModel, weather: Tensor) -> None:
    mean = weather[:, 32].mean(-1) @ moist.transform.gauss_weights / 1e5
    torch.testing.assert_close(mean, torch.full_like(mean, 0.9855), rtol=1e-6, atol=0)
    later = moist.forecast(weather * torch.where(SCALE == 100, 1.01, 1.0), JULY, 2)
    mean = later[:, 32].mean(-1) @ moist.transform.gauss_weights / 1e5
    torch.testing.assert_close(mean, torch.full_like(mean, 0.9855), rtol=1e-5, atol=0)


def test_tangent_linear_and_adjoint_agree(moist: SpectralModel, weather: Tensor) -> None:
    """⟨M δ, η⟩ = ⟨δ, Mᵀ η⟩ for a six-hour forecast with physics."""
    x = weather[:1]

    def forecast(state: Tensor) -> Tensor:
        return moist.forecast(state, JULY, 6)

    delta, eta = noise(x, 1), noise(x, 2) / SCALE**2
    y, tangent = torch.func.jvp(forecast, (x,), (delta,))[:2]
    result = torch.func.vjp(forecast, x)
    same, pull_back = result[0], cast(Callable[[Tensor], tuple[Tensor]], result[1])
    (adjoint,) = pull_back(eta)
    assert torch.equal(y, same)
    assert float((tangent * eta).sum()) == pytest.approx(float((delta * adjoint).sum()), rel=1e-11)


def test_tangent_linear_is_the_finite_difference(moist: SpectralModel, weather: Tensor) -> None:
    """Averaged over the fields, so that a few switches of the physics do not matter."""
    x = weather[:1]
    delta = moist.to_grid(moist.from_grid(x + noise(x, 3))) - x

    def forecast(state: Tensor) -> Tensor:
        return moist.forecast(state, JULY, 3)

    _, tangent = torch.func.jvp(forecast, (x,), (delta,))[:2]
    with torch.no_grad():
        difference = (forecast(x + delta * 1e-5) - forecast(x - delta * 1e-5)) / 2e-5
    error = ((tangent - difference) / SCALE).square().mean() / (tangent / SCALE).square().mean()
    assert math.sqrt(float(error)) < 1e-3


def test_gradient_of_a_float32_forecast_is_finite(weather: Tensor) -> None:
    x = weather[:1].float().requires_grad_()
    size = forecast_model().forecast(x, JULY, 3)[:, :32].square().mean()
    (gradient,) = torch.autograd.grad(size, x)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().amax((0, 2, 3)) > 0).all()


def test_fit_truncates_and_pads(moist: SpectralModel, weather: Tensor) -> None:
    coarse = moist.from_grid(weather)
    nature = nature_model(torch.float64)
    fine = nature.fit(coarse)
    assert fine.shape == (32, 2, 2, 33, 32)
    assert torch.equal(moist.fit(fine), coarse)
    assert relative(nature.to_grid(fine, moist), weather) < 1e-11


def test_hyperdiffusion_has_its_time_scale_and_spares_the_mean_and_pressure() -> None:
    model = nature_model(torch.float64)
    assert model.damping[0, 31] == pytest.approx(math.exp(-2700 / (6 * 3600)))
    assert (model.damping[:, 0] == 1).all()
    assert (model.damping[16] == 1).all()
    assert (model.damping[:16, 1:].diff(dim=1) < 0).all()


def test_lead_time_must_be_whole_steps(moist: SpectralModel, weather: Tensor) -> None:
    with pytest.raises(ValueError, match=r"lead time 1.5 h: allowed are multiples of 1.0 h"):
        moist.forecast(weather, JULY, 1.5)
    with pytest.raises(ValueError, match="lead time -1 h"):
        moist.forecast(weather, JULY, -1)
    assert relative(moist.forecast(weather, JULY, 0), weather) < 1e-11


def test_rest_state_is_balanced_noise_by_seed(moist: SpectralModel) -> None:
    first, second = rest_state(moist, 2, seed=5), rest_state(moist, 2, seed=6)
    assert torch.equal(first, rest_state(moist, 2, seed=5))
    assert not torch.equal(first[:, :, :1], second[:, :, :1])
    x = moist.to_grid(first)
    assert x[:, :16].abs().max() == 0
    assert float(x[:, 32].amin()) < 66_000
    assert float(x[:, 32].amax()) > 98_000
    deviation = (x[:1] - x[1:])[:, 16:24].std() / math.sqrt(2)
    assert 0.2 < float(deviation) < 0.5  # 0.5 K less the part that T21 does not hold


def test_parameters_of_the_two_models_differ_as_documented() -> None:
    nature, forecast = nature_model(), forecast_model()
    assert (nature.settings, forecast.settings) == (NATURE, FORECAST)
    assert nature.orography.equal(nature.fit(forecast.orography))
