from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.grid import LatLonGrid
from models.observations.operator import InterpolationOperator
from models.state import StateSpec, Variable, embedded_spec

Tables = Callable[..., pd.DataFrame]
EMBEDDED = embedded_spec()
TILTED = StateSpec(
    (
        Variable("u", "eastward_wind", "m s-1"),
        Variable("sp", "surface_air_pressure", "Pa"),
    ),
    LatLonGrid(tuple(np.linspace(-87.5, 87.5, 36).tolist()), tuple(np.arange(72) * 5.0)),
    "sigma",
)
POLAR = StateSpec(
    TILTED.variables,
    LatLonGrid(tuple(np.linspace(90.0, -90.0, 37).tolist()), TILTED.grid.longitude),
    "sigma",
)


def surface(make: Tables, latitude: object, longitude: object, variable: str) -> pd.DataFrame:
    latitude = np.atleast_1d(np.asarray(latitude, np.float64))
    nothing = np.full(len(latitude), np.nan)
    return make(len(latitude), lat=latitude, lon=longitude, variable=variable, level=nothing)


def mesh(spec: StateSpec) -> tuple[torch.Tensor, torch.Tensor]:
    axes = (spec.grid.latitude, spec.grid.longitude)
    tensors = [torch.tensor(axis, dtype=torch.float64) for axis in axes]
    latitude, longitude = torch.meshgrid(*tensors, indexing="ij")
    return latitude, longitude


def random_table(make: Tables, spec: StateSpec, count: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    field = generator.integers(0, spec.n_fields, count)
    return make(
        count,
        lat=np.degrees(np.arcsin(generator.uniform(-1, 1, count))),
        lon=generator.uniform(0, 360, count),
        variable=[spec.fields[i].variable for i in field],
        level=[np.nan if spec.fields[i].level is None else spec.fields[i].level for i in field],
    )


def test_adjoint_passes_the_dot_test(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(random_table(make_table, EMBEDDED, 500), EMBEDDED)
    x, y = torch.randn(3, *EMBEDDED.shape).double(), torch.randn(3, 500).double()
    left = (operator(x) * y).sum((1,))
    right = (x * operator.adjoint(y)).sum((1, 2, 3))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_jvp_is_the_operator_and_vjp_its_adjoint(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(random_table(make_table, EMBEDDED, 200), EMBEDDED)
    x, u = torch.randn(2, 2, *EMBEDDED.shape).double()
    y = torch.randn(2, 200).double()
    value, tangent = torch.func.jvp(operator, (x,), (u,))
    torch.testing.assert_close(value, operator(x), rtol=0, atol=0)
    torch.testing.assert_close(tangent, operator(u), rtol=1e-12, atol=1e-12)
    adjoint = torch.func.vjp(operator, x)[1](y)[0]
    torch.testing.assert_close(adjoint, operator.adjoint(y), rtol=1e-12, atol=1e-12)
    left, right = (tangent * y).sum(), (u * adjoint).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_vmap_adds_a_batch_dimension(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(random_table(make_table, EMBEDDED, 50), EMBEDDED)
    x = torch.randn(4, 3, *EMBEDDED.shape)
    expected = torch.stack([operator(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(operator)(x), expected, rtol=0, atol=0)


@given(a=st.floats(-3, 3), b=st.floats(-3, 3), seed=st.integers(0, 1000))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_linear_functions_of_latitude_and_longitude_are_exact_in_a_region(
    make_table: Tables, europe: StateSpec, a: float, b: float, seed: int
) -> None:
    latitude, longitude = mesh(europe)
    field = 7 + a * latitude + b * longitude
    generator = np.random.default_rng(seed)
    lat, lon = generator.uniform(30, 55, 30), generator.uniform(-15, 15, 30)
    table = surface(make_table, lat, lon % 360, "msl")
    operator = InterpolationOperator.from_table(table, europe)
    x = field.expand(1, *europe.shape)
    np.testing.assert_allclose(operator(x)[0], 7 + a * lat + b * lon, atol=3e-5)


@pytest.mark.parametrize("spec", [EMBEDDED, TILTED, POLAR], ids=["gaussian", "cells", "poles"])
def test_grid_points_are_exact(make_table: Tables, spec: StateSpec) -> None:
    latitude, longitude = mesh(spec)
    table = surface(make_table, latitude.flatten().numpy(), longitude.flatten().numpy(), "sp")
    operator = InterpolationOperator.from_table(table, spec)
    assert operator.index.shape[1] == 1
    assert (operator.weight == 1).all()
    x = torch.randn(1, *spec.shape)
    assert torch.equal(operator(x)[0], x[0, -1].flatten())


def test_grid_points_keep_weight_one_beside_others(make_table: Tables) -> None:
    table = surface(make_table, [TILTED.grid.latitude[3], 0.0], [5.0, 7.0], "sp")
    operator = InterpolationOperator.from_table(table, TILTED)
    assert operator.weight[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert sorted(operator.weight[1].tolist()) == pytest.approx([0.2, 0.2, 0.3, 0.3], abs=1e-6)


def test_interpolation_wraps_across_the_date_line(make_table: Tables) -> None:
    longitude = mesh(TILTED)[1]
    x = torch.cos(torch.deg2rad(longitude)).expand(1, *TILTED.shape).clone()
    lon = np.array([355.0, 356.0, 357.5, 359.9, 360.0, -0.1, -2.5])
    operator = InterpolationOperator.from_table(surface(make_table, lon * 0, lon, "sp"), TILTED)
    edge = np.cos(np.radians(5.0))
    expected = np.interp(np.minimum(lon % 360, 360), [355.0, 360.0], [edge, 1.0])
    expected[lon == 360] = 1.0
    np.testing.assert_allclose(operator(x)[0], expected, atol=1e-6)


def test_longitudes_of_all_turns_are_the_same_point(make_table: Tables, europe: StateSpec) -> None:
    x = torch.randn(1, *europe.shape)
    values = []
    for lon in (-12.3, 347.7):
        table = surface(make_table, 44.4, [lon], "msl")
        values.append(InterpolationOperator.from_table(table, europe)(x).item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_smooth_scalars_and_winds_are_right_across_the_pole(make_table: Tables) -> None:
    """A flow straight over the pole: u, v jump from meridian to meridian, the vector does not."""
    latitude, longitude = (torch.deg2rad(axis) for axis in mesh(TILTED))
    scalar = 3 + torch.cos(latitude) * torch.cos(longitude)
    eastward = -torch.sin(longitude)
    x = torch.stack([eastward, scalar])[None]
    lat = np.array([88.0, 89.0, 89.9, 90.0, -88.0, -89.5, -90.0])
    lon = np.array([10.0, 92.5, 200.0, 331.0, 45.0, 120.0, 90.0])
    for variable, exact, tolerance in [
        ("sp", 3 + np.cos(np.radians(lat)) * np.cos(np.radians(lon)), 2e-3),
        ("u", -np.sin(np.radians(lon)), 2e-3),
    ]:
        table = surface(make_table, lat, lon, variable)
        operator = InterpolationOperator.from_table(table, TILTED)
        np.testing.assert_allclose(operator(x)[0], exact, atol=tolerance)


def test_absolute_weights_interpolate_constant_deviations(make_table: Tables) -> None:
    table = surface(make_table, [89.0, 90.0, 12.3], [10.0, 20.0, 30.0], "u")
    operator = InterpolationOperator.from_table(table, TILTED)
    ones = torch.ones(1, *TILTED.shape)
    assert operator(ones)[0, 1].abs() < 1e-6
    torch.testing.assert_close(operator.absolute()(ones)[0], torch.ones(3))


@pytest.mark.parametrize("spec", [EMBEDDED, TILTED, POLAR], ids=["gaussian", "cells", "poles"])
def test_constant_scalars_are_kept_everywhere(make_table: Tables, spec: StateSpec) -> None:
    generator = np.random.default_rng(1)
    lat = np.concatenate([generator.uniform(-90, 90, 300), [-90.0, 90.0]])
    lon = np.concatenate([generator.uniform(-360, 360, 300), [0.0, 123.0]])
    operator = InterpolationOperator.from_table(surface(make_table, lat, lon, "sp"), spec)
    assert (operator.weight >= 0).all()
    constant = torch.full((1, *spec.shape), 5.0).double()
    torch.testing.assert_close(
        operator(constant), torch.full((1, 302), 5.0).double(), atol=1e-6, rtol=0
    )


def test_pressure_levels_are_exact_for_fields_linear_in_the_logarithm(
    make_table: Tables, europe: StateSpec
) -> None:
    levels = torch.tensor([500.0, 850.0, 300.0]).double()
    x = torch.zeros(1, *europe.shape).double()
    x[:, 2:] = (250 + 40 * torch.log(levels / 500))[:, None, None]
    pressure = np.array([30000.0, 33333.0, 50000.0, 61000.0, 84999.0, 85000.0])
    nothing = np.full(6, np.nan)
    table = make_table(6, pres=pressure, level=nothing, variable="t")
    operator = InterpolationOperator.from_table(table, europe)
    np.testing.assert_allclose(operator(x)[0], 250 + 40 * np.log(pressure / 50000), atol=3e-5)
    at_levels = operator.weight[[0, 2, 5]]
    assert ((at_levels == 0) | (at_levels > 0.1)).all()


def test_named_level_takes_precedence_over_pressure(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(3, pres=np.full(3, 70000.0), level=[500.0, 850.0, np.nan], variable="t")
    x = torch.zeros(1, *europe.shape)
    x[:, 2:] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    value = InterpolationOperator.from_table(table, europe)(x)[0].tolist()
    assert value[:2] == pytest.approx([1.0, 2.0], abs=1e-6)
    assert value[2] == pytest.approx(1 + np.log(7 / 5) / np.log(8.5 / 5), abs=1e-6)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"lat": 91.0}, "latitude beyond the poles"),
        ({"lat": np.nan}, "position is not finite"),
        ({"lon": 400.0}, "longitude beyond 360 degrees"),
        ({"lat": 29.0}, "position outside the grid"),
        ({"lon": 100.0}, "position outside the grid"),
        ({"variable": "w"}, "unknown variable"),
        ({"level": 700.0}, "unknown level"),
        ({"level": np.nan}, "no level"),
        ({"level": np.nan, "pres": -1.0}, "no level"),
        ({"level": np.nan, "pres": 90000.0}, "pressure outside the levels"),
        ({"level": np.nan, "pres": 850.0}, "pressure outside the levels"),
        ({"variable": "msl"}, "variable has no levels"),
    ],
)
def test_rows_without_a_stencil_are_refused_with_the_reason(
    make_table: Tables, europe: StateSpec, columns: dict[str, object], reason: str
) -> None:
    table = make_table(3)
    for name, value in columns.items():
        table.loc[1, name] = value
    message = f"^1 observations cannot be used: .*: {reason}$"
    with pytest.raises(ValueError, match=message):
        InterpolationOperator.from_table(table, europe)


def test_no_observations_are_an_empty_vector(make_table: Tables) -> None:
    operator = InterpolationOperator.from_table(make_table(1).iloc[:0], EMBEDDED)
    x = torch.randn(2, *EMBEDDED.shape)
    assert operator(x).shape == (2, 0)
    assert torch.equal(operator.adjoint(torch.zeros(2, 0)), torch.zeros_like(x))
