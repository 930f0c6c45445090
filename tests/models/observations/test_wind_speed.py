"""Wind speeds, the nonlinear rows of the observation operator."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from models.grid import LatLonGrid
from models.observations.batch import to_observations
from models.observations.operator import InterpolationOperator
from models.observations.table import background_check, screen, validate_table
from models.state import StateSpec, Variable, embedded_spec

Tables = Callable[..., pd.DataFrame]
SIGMA = embedded_spec()
GRID = LatLonGrid(
    tuple(np.linspace(-87.5, 87.5, 36).tolist()), tuple((np.arange(72) * 5.0).tolist())
)
PRESSURE = StateSpec(
    (
        Variable("t", "air_temperature", "K", (500.0, 850.0)),
        Variable("v", "northward_wind", "m s-1", (500.0, 850.0)),
        Variable("u", "eastward_wind", "m s-1", (500.0, 850.0)),
    ),
    GRID,
    "pressure",
)


def mixed(make: Tables, count: int = 60) -> pd.DataFrame:
    """Winds, speeds and temperatures at the same random places."""
    random = np.random.default_rng(0)
    place = {
        "lat": np.degrees(np.arcsin(random.uniform(-1, 1, count))),
        "lon": random.uniform(0, 360, count),
        "level": random.choice(SIGMA.variable("u").levels or (), count),
    }
    names = ("u", "v", "wind_speed", "t")
    return pd.concat([make(count, variable=name, **place) for name in names], ignore_index=True)


def test_a_speed_is_the_length_of_the_interpolated_wind(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(mixed(make_table), SIGMA)
    x = 10 * torch.randn(3, *SIGMA.shape).double()
    u, v, speed, t = operator(x).chunk(4, 1)
    torch.testing.assert_close(speed, torch.hypot(u, v))
    linear = mixed(make_table)
    linear = linear[linear["variable"] != "wind_speed"]
    alone = InterpolationOperator.from_table(linear, SIGMA)(x)
    assert torch.equal(torch.cat([u, v, t], 1), alone)


def test_a_speed_on_pressure_levels_is_found_by_level_and_by_pressure(make_table: Tables) -> None:
    x = torch.zeros(1, *PRESSURE.shape)
    x[:, 2:] = torch.tensor([3.0, 6.0, 4.0, 8.0])[:, None, None]
    pressure = 100 * np.sqrt(500 * 850.0)
    level = [500.0, 850.0, np.nan]
    table = make_table(3, variable="wind_speed", level=level, pres=[np.nan, np.nan, pressure])
    speed = InterpolationOperator.from_table(table, PRESSURE)(x)[0].tolist()
    assert speed == pytest.approx([5.0, 10.0, 7.5], rel=1e-5)


def test_the_tangent_is_the_limit_of_differences_and_the_transpose_of_the_gradient(
    make_table: Tables,
) -> None:
    operator = InterpolationOperator.from_table(mixed(make_table), SIGMA)
    x, dx = 10 * torch.randn(2, 2, *SIGMA.shape).double()
    dy = torch.randn(2, 240).double()
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    step = 1e-6
    difference = (operator(x + step * dx) - operator(x - step * dx)) / (2 * step)
    torch.testing.assert_close(tangent, difference, atol=1e-5, rtol=1e-5)
    gradient = torch.func.vjp(operator, x)[1](dy)[0]
    torch.testing.assert_close((tangent * dy).sum(), (dx * gradient).sum())


def test_derivatives_are_finite_at_no_wind(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(mixed(make_table), SIGMA)
    x, dx = torch.zeros(1, *SIGMA.shape), torch.randn(1, *SIGMA.shape)
    value, tangent = torch.func.jvp(operator, (x,), (dx,))
    assert (value == 0).all() and tangent.isfinite().all()
    speed = tangent.chunk(4, 1)[2]
    assert (speed == 0).all()
    x.requires_grad_()
    operator(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_vmap_adds_a_batch_dimension(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(mixed(make_table), SIGMA)
    x = torch.randn(4, 3, *SIGMA.shape)
    expected = torch.stack([operator(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(operator)(x), expected, rtol=0, atol=0)


def test_a_flow_straight_over_the_pole_has_the_same_speed_on_both_sides(
    make_table: Tables,
) -> None:
    longitude = torch.deg2rad(torch.tensor(GRID.longitude))
    x = torch.zeros(1, *PRESSURE.shape)
    for pole in (slice(18, None), slice(0, 18)):
        x[:, 4:, pole] = -10 * torch.sin(longitude)
    x[:, 2:4, 18:], x[:, 2:4, :18] = -10 * torch.cos(longitude), 10 * torch.cos(longitude)
    lat = np.array([88.0, 89.0, 89.9, 90.0, -88.0, -89.5, -90.0])
    lon = np.array([10.0, 92.5, 200.0, 331.0, 45.0, 120.0, 90.0])
    table = make_table(7, lat=lat, lon=lon, variable="wind_speed", level=500.0)
    speed = InterpolationOperator.from_table(table, PRESSURE)(x)[0]
    np.testing.assert_allclose(speed, 10.0, rtol=2e-3)


def test_deviations_of_a_speed_are_the_mean_of_its_components(make_table: Tables) -> None:
    table = mixed(make_table)
    table.loc[0, "lat"] = table.loc[120, "lat"] = 89.5
    operator = InterpolationOperator.from_table(table, SIGMA).absolute()
    std = torch.arange(1.0, 34.0)[:, None, None].expand(1, *SIGMA.shape)
    u, v, speed, _ = operator(std).chunk(4, 1)
    torch.testing.assert_close(speed, (u + v) / 2)
    x = torch.randn(2, *SIGMA.shape)
    assert operator.speed is None
    torch.testing.assert_close(operator(2 * x), 2 * operator(x))
    torch.testing.assert_close(operator.to("cpu")(x), operator(x))


def test_an_operator_with_speeds_has_no_adjoint(make_table: Tables) -> None:
    table = mixed(make_table)
    with pytest.raises(ValueError, match="not linear"):
        InterpolationOperator.from_table(table, SIGMA).adjoint(torch.zeros(1, 240))
    others = table[table["variable"] != "wind_speed"]
    InterpolationOperator.from_table(others, SIGMA).adjoint(torch.zeros(1, 180))


def test_moving_to_a_device_keeps_the_speeds(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(mixed(make_table), SIGMA)
    x = torch.randn(1, *SIGMA.shape)
    assert torch.equal(operator.to("cpu")(x), operator(x))


def test_speeds_are_screened(make_table: Tables, europe: StateSpec) -> None:
    values = [12.0, -0.5, 300.0, np.nan, 20.0]
    level = [0.95, 0.95, 0.95, 0.95, 0.7777]
    table = make_table(5, variable="wind_speed", level=level, observation=values)
    screened = screen(validate_table(table), SIGMA)
    assert screened["reason"].tolist() == [
        "", "", "value is not plausible", "value is not finite", "unknown level",
    ]  # fmt: skip
    nowhere = screen(validate_table(table), europe)
    assert set(nowhere["reason"]) == {"unknown variable"}


def test_a_speed_far_from_the_background_is_refused(make_table: Tables) -> None:
    table = make_table(2, variable="wind_speed", level=0.95, observation=[11.0, 60.0])
    screened = screen(validate_table(table), SIGMA)
    observations = to_observations(screened, SIGMA)
    x = torch.zeros(1, *SIGMA.shape)
    x[:, :8] = 10.0
    departure = (observations.y - observations.equivalents(x)[0]).numpy()
    error = observations.operator.absolute()(torch.full((1, *SIGMA.shape), 2.0))[0].numpy()
    assert error.tolist() == [2.0, 2.0]
    checked = background_check(screened, departure, error)
    assert checked["reason"].tolist() == ["", "far from the background"]
