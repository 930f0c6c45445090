"""Brightness temperatures: which layers a channel sees, on sigma and on pressure levels."""

import numpy as np
import pytest
import torch

from models.observations.columns import layer_edges
from models.observations.comparable import unobservable
from models.observations.equivalents import POWER
from models.observations.mixed import build_operator
from models.state import SIGMA_HALF_LEVELS, StateSpec, Variable
from tests.column_states import (
    COLUMNS,
    ROWS,
    SIGMA,
    SPEC,
    Tables,
    isothermal,
    lapsing,
    lonely,
    observed,
    weather,
)


@pytest.mark.parametrize("temperature", [210.0, 255.0, 300.0])
def test_brightness_temperature_of_an_isothermal_atmosphere_is_its_temperature(
    make_table: Tables, temperature: float
) -> None:
    x = isothermal(temperature)
    for peak in (5e3, 2e4, 5e4, 9e4):
        found = lonely(make_table, "brightness_temperature", x, pressure=peak)
        # the ground is Γ z_K warmer than the lowest level, which a window channel would see
        warmer = temperature * (0.95**-POWER - 1)
        unseen = torch.exp(-((x[0, -1][list(ROWS), list(COLUMNS)] / peak) ** 2)).numpy()
        assert (found.numpy() >= temperature - 1e-9).all()
        assert (found.numpy() <= temperature + warmer * unseen * 1.3 + 1e-9).all()


def test_channels_are_most_sensitive_where_their_weighting_function_peaks(
    make_table: Tables,
) -> None:
    x = lapsing(288.0).requires_grad_()
    for peak in (8e3, 2e4, 3.5e4, 5e4, 6.8e4):
        value = lonely(make_table, "brightness_temperature", x, pressure=peak)[1]
        (slope,) = torch.autograd.grad(value, x)
        layers = slope[0, SPEC.slices["t"], ROWS[1], COLUMNS[1]]
        edges = np.log(np.maximum(SIGMA_HALF_LEVELS, 1e-3))
        density = layers.numpy() / np.diff(edges)
        sp = float(x[0, -1, ROWS[1], COLUMNS[1]])
        assert abs(np.log(SIGMA[int(density.argmax())].item() * sp / peak)) < 0.5
        assert (layers >= 0).all() and 0.6 < float(layers.sum()) < 1.4


def test_radiance_is_not_linear_in_temperature(make_table: Tables) -> None:
    cold, warm = weather(), weather()
    warm[:, SPEC.slices["t"]] += 20.0 * torch.tensor([1.0, -1.0] * 4)[:, None, None]
    both = [lonely(make_table, "brightness_temperature", x, pressure=4e4) for x in (cold, warm)]
    middle = lonely(make_table, "brightness_temperature", (cold + warm) / 2, pressure=4e4)
    assert ((both[0] + both[1]) / 2 - middle).abs().max() > 0.05


def test_layer_edges_of_the_worlds_levels_are_its_half_levels() -> None:
    assert layer_edges(SIGMA.numpy(), True) == pytest.approx(np.array(SIGMA_HALF_LEVELS), abs=1e-9)
    edges = layer_edges(np.array([1e4, 5e4, 1e5]), False)
    assert edges == pytest.approx([0.0, np.sqrt(5e8), np.sqrt(5e9), 1e5])


def test_brightness_temperature_on_pressure_levels(make_table: Tables) -> None:
    levels = (100.0, 200.0, 300.0, 500.0, 700.0, 850.0, 1000.0)
    t = Variable("t", "air_temperature", "K", levels)
    spec = StateSpec((t,), SPEC.grid, "pressure")
    table = observed(make_table, "brightness_temperature", 5e4)
    x = torch.full((1, *spec.shape), 260.0, dtype=torch.float64)
    assert unobservable(table, spec).tolist() == [""] * 4
    assert build_operator(table, spec)(x)[0].numpy() == pytest.approx(np.full(4, 260.0), rel=1e-12)
    dx = torch.randn(1, *spec.shape, generator=torch.Generator().manual_seed(0)).double()
    operator = build_operator(table, spec)
    y = torch.randn(1, 4).double()
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    adjoint = torch.func.vjp(operator, x)[1](y)[0]
    torch.testing.assert_close((tangent * y).sum(), (dx * adjoint).sum(), rtol=1e-10, atol=1e-10)
