import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.normalization import Statistics, fit_statistics, time_basis

AREA = torch.tensor([0.5, 1.5])
SHAPE = (3, 2, 4)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def statistics(n_basis: int = 7) -> Statistics:
    return Statistics(random(n_basis, *SHAPE), torch.tensor([1e-3, 1.0, 500.0]))


@pytest.mark.parametrize("n_basis", [5, 7])
def test_fit_recovers_a_climatology_made_of_the_harmonics(n_basis: int) -> None:
    times = pd.date_range("2001-01-01", "2004-12-31T18", freq="6h")
    scale = torch.tensor([1e-3, 1.0, 1e5])[:, None, None]
    truth = random(n_basis, *SHAPE) * scale
    basis = torch.from_numpy(time_basis(times, n_basis)).float()
    x = torch.tensordot(basis, truth, 1) + 0.1 * scale * random(len(times), *SHAPE, seed=1)
    fitted = fit_statistics([(x[:1000], times[:1000]), (x[1000:], times[1000:])], AREA, n_basis)
    error = (fitted.coefficients - truth) / scale
    assert error.abs().max() < 6 * 0.1 * np.sqrt(2 / len(times))
    torch.testing.assert_close(
        fitted.std / (0.1 * scale.flatten()), torch.ones(3), rtol=0.02, atol=0
    )


def test_fit_does_not_depend_on_the_blocks() -> None:
    times = pd.date_range("2001-01-01", periods=400, freq="30h")
    x = random(400, *SHAPE) + 300
    whole = fit_statistics([(x, times)], AREA)
    blocks = fit_statistics([(x[i : i + 7], times[i : i + 7]) for i in range(0, 400, 7)], AREA)
    torch.testing.assert_close(whole.coefficients, blocks.coefficients, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(whole.std, blocks.std, rtol=1e-6, atol=0)


def test_std_is_the_area_weighted_rms_of_the_anomalies() -> None:
    times = pd.date_range("2001-01-01", periods=300, freq="30h")
    x = random(300, *SHAPE) * torch.tensor([1.0, 4.0])[:, None] + 1e5
    fitted = fit_statistics([(x, times)], AREA)
    square = (x.double() - fitted.climatology(times).double()) ** 2
    expected = (square * AREA[:, None]).mean((0, 2, 3)).sqrt()
    torch.testing.assert_close(fitted.std.double(), expected, rtol=2e-3, atol=0)


def test_mean_is_the_climatology_of_a_short_series() -> None:
    times = pd.date_range("2026-03-25", periods=24, freq="7h")
    x = random(24, *SHAPE)
    fitted = fit_statistics([(x, times)], AREA, n_basis=1)
    torch.testing.assert_close(fitted.climatology(times[:1])[0], x.mean(0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"times determine \d of 7 coefficients"):
        fit_statistics([(x, times)], AREA, n_basis=7)


def test_daily_data_cannot_tell_the_diurnal_cycle() -> None:
    times = pd.date_range("2000-01-01T12", periods=1000, freq="1D")
    x = random(1000, *SHAPE)
    assert len(fit_statistics([(x, times)], AREA, 5).coefficients) == 5
    with pytest.raises(ValueError, match="they must cover the year and the day, or take fewer"):
        fit_statistics([(x, times)], AREA, 7)


@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_denormalize_undoes_normalize(scale: float, seed: int) -> None:
    own = Statistics(random(7, *SHAPE, seed=seed) * scale, torch.full((3,), scale))
    times = pd.date_range("2003-12-30", periods=4, freq="17h")
    a = random(4, *SHAPE, seed=seed + 1)
    torch.testing.assert_close(
        own.normalize(own.denormalize(a, times), times), a, atol=1e-5, rtol=1e-5
    )


def test_climatology_has_the_annual_and_diurnal_period() -> None:
    own = statistics()
    start = pd.Timestamp("2001-01-01T00")
    days = [start, start + pd.Timedelta("1D")]
    diurnal = own.coefficients[5:].abs().amax()
    first, second = own.climatology(days)
    seasonal = own.coefficients[1:5].abs().sum(0) * 2 * 2 * np.pi / 365.25
    assert ((first - second).abs() <= seasonal).all()
    noon = own.climatology([start + pd.Timedelta("12h")])[0]
    torch.testing.assert_close(
        first - noon, 2 * own.coefficients[5], atol=float(2e-2 * diurnal + seasonal.amax()), rtol=0
    )
    years = [pd.Timestamp(f"{year}-01-01") for year in (1999, 2004, 2026)]
    for state in own.climatology(years):
        torch.testing.assert_close(state, first)


def test_equal_times_broadcast_and_different_times_do_not_mix() -> None:
    own, x = statistics(), random(3, *SHAPE)
    times = [pd.Timestamp("2004-01-01"), pd.Timestamp("2004-07-01"), pd.Timestamp("2004-07-01")]
    together = own.normalize(x, times)
    for i, time in enumerate(times):
        torch.testing.assert_close(together[i], own.normalize(x[i : i + 1], [time])[0])
    same = own.normalize(x, [times[0]] * 3)
    torch.testing.assert_close(same[2], own.normalize(x[2:], times[:1])[0])


def test_weights_are_inverse_errors_where_they_count() -> None:
    own = statistics().with_error_std(
        torch.tensor([0.5, 0.0, 0.25]), torch.tensor([True, False, True])
    )
    assert own.weights.tolist() == [2.0, 1.0, 4.0]
    assert statistics().weights.tolist() == [1.0, 1.0, 1.0]


def test_checkpoint_round_trip_is_exact() -> None:
    mask = torch.tensor([True, False, True])
    own = statistics(5).with_error_std(torch.tensor([0.5, 0.1, 0.25]), mask)
    again = Statistics.from_tensors(dict(own.state_dict()))
    for name, tensor in own.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    tensors = dict(own.state_dict())
    del tensors["error_mask"]
    with pytest.raises(ValueError, match="statistics lack the tensor 'error_mask'"):
        Statistics.from_tensors(tensors)


def test_statistics_without_scale_are_refused() -> None:
    times = pd.date_range("2001-01-01", periods=300, freq="30h")
    x = random(300, *SHAPE)
    x[:, 1] = 7.0
    with pytest.raises(ValueError, match="field number 1 does not vary"):
        fit_statistics([(x, times)], AREA)
    with pytest.raises(ValueError, match="must be finite and positive"):
        Statistics(random(7, *SHAPE), torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match="error_std must be finite and positive"):
        statistics().with_error_std(torch.zeros(3), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="climatology of 6 coefficients, allowed: 1"):
        Statistics(random(6, *SHAPE), torch.ones(3))
    with pytest.raises(ValueError, match="3 states are too few, at least 14"):
        fit_statistics([(x[:3], times[:3])], AREA)
    with pytest.raises(ValueError, match="3 states have 4 times"):
        fit_statistics([(x[:3], times[:4])], AREA)


def test_normalize_is_differentiable_in_both_modes() -> None:
    own, times = statistics(), [pd.Timestamp("2004-01-01")]
    x, u = random(1, *SHAPE), random(1, *SHAPE, seed=2)

    def normalize(x: torch.Tensor) -> torch.Tensor:
        return own.normalize(x, times)

    tangent = torch.func.jvp(normalize, (x,), (u,))[1]
    torch.testing.assert_close(tangent, u / own.std[:, None, None])
    adjoint = torch.func.vjp(normalize, x)[1](u)[0]
    torch.testing.assert_close(adjoint, tangent)
