"""Operators for real variables, on sigma levels and above the ground of the embedded world."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.observations.columns import layer_edges
from models.observations.comparable import unobservable
from models.observations.equivalents import DRY_AIR, EQUIVALENTS, GRAVITY, LAPSE, POWER
from models.observations.mixed import MixedOperator, build_operator
from models.observations.operator import InterpolationOperator
from models.observations.positions import observation_positions
from models.observations.quality.reasons import Reason
from models.observations.terrain import terrain_of
from models.state import SIGMA_HALF_LEVELS, StateSpec, Variable, embedded_spec
from models.world.vertical import EIGHT_LEVELS

Tables = Callable[..., pd.DataFrame]
SPEC = embedded_spec()
SIGMA = torch.tensor(SPEC.variable("t").levels, dtype=torch.float64)
ALOFT = ("t", "u", "v", "wind_speed", "q", "z", "brightness_temperature")
STATION = ("t2m", "q2m", "u10", "v10", "sp", "msl")
#: On grid points: interpolation between them is tested elsewhere.
ROWS, COLUMNS = (5, 16, 20, 27), (0, 11, 30, 50)
QUICK = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def ground() -> torch.Tensor:
    terrain = terrain_of(SPEC)
    assert terrain is not None
    return torch.from_numpy(terrain.height)


def observed(
    make: Tables, variable: str, pressure: object = np.nan, elev: object = np.nan
) -> pd.DataFrame:
    nothing = np.full(len(ROWS), np.nan)
    return make(
        len(ROWS),
        lat=[SPEC.grid.latitude[i] for i in ROWS],
        lon=[SPEC.grid.longitude[j] for j in COLUMNS],
        variable=variable,
        level=nothing,
        pres=np.broadcast_to(np.asarray(pressure, np.float64), len(ROWS)),
        elev=np.broadcast_to(np.asarray(elev, np.float64), len(ROWS)),
    )


def state(**fields: torch.Tensor) -> torch.Tensor:
    x = torch.zeros(1, *SPEC.shape, dtype=torch.float64)
    x[:, SPEC.slices["sp"]] = 1e5
    x[:, SPEC.slices["t"]] = 280.0
    for name, values in fields.items():
        x[0, SPEC.slices[name]] = values
    return x


def isothermal(temperature: float) -> torch.Tensor:
    """A dry isothermal atmosphere of 101325 Pa at sea level."""
    scale = DRY_AIR * temperature / GRAVITY
    sp = 101_325.0 * torch.exp(-ground() / scale)
    return state(sp=sp, t=torch.full((8, 1, 1), temperature, dtype=torch.float64))


def lapsing(at_sea: float) -> torch.Tensor:
    """A dry atmosphere with the lapse rate Γ, of 101325 Pa at sea level."""
    sp = 101_325.0 * (1 - LAPSE * ground() / at_sea) ** (1 / POWER)
    t = (at_sea - LAPSE * ground()) * SIGMA[:, None, None] ** POWER
    return state(sp=sp, t=t)


def lonely(make: Tables, variable: str, x: torch.Tensor, **places: object) -> torch.Tensor:
    return build_operator(observed(make, variable, **places), SPEC)(x)[0]  # type: ignore[arg-type]


def heights() -> torch.Tensor:
    return ground()[list(ROWS), list(COLUMNS)]


def random_table(
    make: Tables, count: int = 60, seed: int = 0, names: tuple[str, ...] = (*ALOFT, *STATION)
) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    parts = []
    for name in names:
        nothing = np.full(count, np.nan)
        parts.append(
            make(
                count,
                lat=np.degrees(np.arcsin(random.uniform(-1, 1, count))),
                lon=random.uniform(0, 360, count),
                variable=name,
                level=nothing,
                pres=random.uniform(4e3, 6e4, count) if name in ALOFT else nothing,
                elev=random.uniform(-100, 600, count) if name in STATION else nothing,
                station=[f"{name}{i}" for i in range(count)],
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table[unobservable(table, SPEC) == ""].reset_index(drop=True)


def weather(seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, *SPEC.shape, generator=g, dtype=torch.float64)
    x = lapsing(288.0)
    scale = torch.zeros(SPEC.n_fields, dtype=torch.float64)
    for name, size in {"u": 10.0, "v": 10.0, "t": 3.0, "q": 5e-4, "sp": 500.0}.items():
        scale[SPEC.slices[name]] = size
    x[:, SPEC.slices["q"]] += 2e-3
    return x + scale[:, None, None] * noise


@given(temperature=st.floats(200.0, 310.0), pressure=st.floats(3_000.0, 60_000.0))
@QUICK
def test_isothermal_atmosphere_has_its_temperature_everywhere(
    make_table: Tables, temperature: float, pressure: float
) -> None:
    found = lonely(make_table, "t", isothermal(temperature), pressure=pressure)
    assert found.numpy() == pytest.approx(np.full(4, temperature), rel=1e-12)


@pytest.mark.parametrize("temperature", [220.0, 300.0])
def test_geopotential_of_an_isothermal_atmosphere(make_table: Tables, temperature: float) -> None:
    x = isothermal(temperature)
    for pressure in (95_000.0, 85_000.0, 50_000.0, 20_000.0, 2_000.0):
        expected = DRY_AIR * temperature * np.log(101_325.0 / pressure)
        if pressure < 60_000.0:  # above all ground
            found = lonely(make_table, "z", x, pressure=pressure)
            assert found.numpy() == pytest.approx(np.full(4, expected), rel=1e-12)


def test_geopotential_of_the_levels_is_that_of_the_worlds_hydrostatic_equation(
    make_table: Tables,
) -> None:
    x = weather()
    x[:, SPEC.slices["q"]] = 0
    column = x[0, SPEC.slices["t"]][:, list(ROWS), list(COLUMNS)]
    sp = x[0, -1][list(ROWS), list(COLUMNS)]
    matrix = torch.from_numpy(EIGHT_LEVELS.hydrostatic)
    expected = GRAVITY * heights() + DRY_AIR * (matrix @ column)
    for k in range(8):
        table = observed(make_table, "z", (SIGMA[k] * sp).numpy())
        found = build_operator(table, SPEC)(x)[0]
        torch.testing.assert_close(found, expected[k], rtol=1e-9, atol=1e-6)


@given(part=st.floats(0.03, 0.94))
@QUICK
def test_between_levels_all_is_linear_in_log_pressure(make_table: Tables, part: float) -> None:
    x = weather(3)
    sp = x[0, -1][list(ROWS), list(COLUMNS)]
    pressure = part * sp
    k = int(torch.searchsorted(SIGMA, torch.tensor(part, dtype=torch.float64))) - 1
    for name in ("t", "u", "v", "q"):
        column = x[0, SPEC.slices[name]][:, list(ROWS), list(COLUMNS)]
        share = (np.log(part) - SIGMA[k].log()) / (SIGMA[k + 1].log() - SIGMA[k].log())
        expected = (1 - share) * column[k] + share * column[k + 1]
        found = build_operator(observed(make_table, name, pressure.numpy()), SPEC)(x)[0]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at_sea", [250.0, 288.15, 305.0])
def test_stations_in_an_atmosphere_of_the_standard_lapse_rate_are_exact(
    make_table: Tables, at_sea: float
) -> None:
    x, elev = lapsing(at_sea), heights().numpy() + np.array([-300.0, 0.0, 120.0, 450.0])
    temperature = at_sea - LAPSE * elev
    pressure = 101_325.0 * (temperature / at_sea) ** (1 / POWER)
    warm = lonely(make_table, "t2m", x, elev=elev)
    assert warm.numpy() == pytest.approx(temperature, rel=1e-12)
    assert lonely(make_table, "sp", x, elev=elev).numpy() == pytest.approx(pressure, rel=1e-12)
    below = 1.02 * x[0, -1][list(ROWS), list(COLUMNS)].numpy()
    expected = at_sea * (below / 101_325.0) ** POWER
    assert lonely(make_table, "t", x, pressure=below).numpy() == pytest.approx(expected, rel=1e-9)
    reduced = lonely(make_table, "msl", x).numpy()
    assert reduced == pytest.approx(np.full(4, 101_325.0), rel=1e-12)


def test_a_station_without_elevation_is_on_the_models_ground(make_table: Tables) -> None:
    x = weather()
    at_ground = lonely(make_table, "t2m", x, elev=heights().numpy())
    torch.testing.assert_close(lonely(make_table, "t2m", x), at_ground)
    expected = x[0, -1][list(ROWS), list(COLUMNS)]
    torch.testing.assert_close(lonely(make_table, "sp", x, elev=heights().numpy()), expected)


def test_moist_air_has_less_pressure_drop(make_table: Tables) -> None:
    dry, moist = lapsing(300.0), lapsing(300.0)
    moist[:, SPEC.slices["q"]] = 0.015
    elev = heights().numpy() + 400.0
    difference = lonely(make_table, "sp", moist, elev=elev) - lonely(
        make_table, "sp", dry, elev=elev
    )
    virtual = 0.60776 * 0.015
    drop = 101_325.0 * GRAVITY * 400.0 / (DRY_AIR * 300.0)
    assert difference.numpy() == pytest.approx(np.full(4, virtual * drop), rel=0.2)


def test_wind_at_10_m_keeps_its_direction_and_is_weaker_over_land(make_table: Tables) -> None:
    x = weather()
    u, v = (lonely(make_table, name, x) for name in ("u10", "v10"))
    low = x[0][[SPEC.index("u", 0.95), SPEC.index("v", 0.95)]][:, list(ROWS), list(COLUMNS)]
    torch.testing.assert_close(u * low[1], v * low[0])
    terrain = terrain_of(SPEC)
    assert terrain is not None
    land = terrain.land[list(ROWS), list(COLUMNS)]
    factor = (u / low[0]).numpy()
    assert ((factor > 0.5) & (factor < 0.8)).all()
    assert np.polyfit(land, factor, 1)[0] < 0


def test_wind_speed_is_the_length_of_the_interpolated_wind(make_table: Tables) -> None:
    x = weather()
    u, v, speed = (lonely(make_table, n, x, pressure=5e4) for n in ("u", "v", "wind_speed"))
    torch.testing.assert_close(speed, torch.hypot(u, v))


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


def test_tangent_linear_is_the_limit_of_differences(make_table: Tables) -> None:
    operator, x = build_operator(random_table(make_table), SPEC), weather(1)
    dx = weather(2) - x
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    for size, bound in ((1e-3, 2e-3), (1e-4, 2e-4)):
        difference = (operator(x + size * dx) - operator(x - size * dx)) / (2 * size)
        error = (difference - tangent).abs().max() / tangent.abs().max()
        assert error < bound


def test_adjoint_passes_the_dot_test(make_table: Tables) -> None:
    operator, x = build_operator(random_table(make_table), SPEC), weather(1)
    dx, y = torch.randn(1, *SPEC.shape).double(), torch.randn(1, len(operator.index)).double()
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    adjoint = torch.func.vjp(operator, x)[1](y)[0]
    torch.testing.assert_close((tangent * y).sum(), (dx * adjoint).sum(), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("variable", EQUIVALENTS)
def test_gradient_of_each_variable_agrees_with_differences(
    make_table: Tables, variable: str
) -> None:
    table = random_table(make_table, 3, names=(variable,))
    operator, x = build_operator(table, SPEC), weather(4)

    def along(step: torch.Tensor) -> torch.Tensor:
        return operator(x + step * direction).sum()

    direction = weather(5) - x
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, (zero,), eps=1e-5, rtol=1e-3, atol=1e-4)


def test_vmap_and_members_are_the_same(make_table: Tables) -> None:
    operator = build_operator(random_table(make_table, 5), SPEC)
    x = torch.cat([weather(i) for i in range(3)])
    one_by_one = torch.cat([operator(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(operator(x), one_by_one)
    mapped = torch.func.vmap(operator)(x[:, None])[:, 0]
    torch.testing.assert_close(mapped, one_by_one)


def test_rows_keep_their_order_among_those_that_are_interpolated_as_they_are(
    make_table: Tables,
) -> None:
    real = random_table(make_table, 4)
    twin = make_table(4, variable="t", level=0.51)
    mixed = pd.concat([real, twin], ignore_index=True).sample(frac=1.0, random_state=0)
    mixed = mixed.reset_index(drop=True)
    x = weather()
    found = build_operator(mixed, SPEC)(x)[0]
    for i in range(len(mixed)):
        alone = build_operator(mixed.iloc[[i]], SPEC)(x)[0, 0]
        torch.testing.assert_close(found[i], alone)
    assert isinstance(build_operator(twin, SPEC), InterpolationOperator)
    moved = build_operator(mixed, SPEC).to("cpu")
    assert isinstance(moved, MixedOperator) and torch.equal(moved(x)[0], found)


def test_linear_stencil_is_the_derivative_of_what_is_nearly_linear(make_table: Tables) -> None:
    # standard deviations of 1 K in temperature alone: those of temperatures come out as about 1 K
    deviation = torch.zeros(1, *SPEC.shape)
    deviation[:, SPEC.slices["t"]] = 1.0
    for name, pressure, elev in (("t", 5e4, np.nan), ("t2m", np.nan, 100.0)):
        table = observed(make_table, name, pressure, elev)
        spread = build_operator(table, SPEC).absolute()(deviation)[0]
        assert spread.numpy() == pytest.approx(np.ones(4), abs=0.02)
    deviation = torch.zeros(1, *SPEC.shape)
    deviation[:, SPEC.slices["sp"]] = 100.0
    table = observed(make_table, "sp", elev=heights().numpy())
    spread = build_operator(table, SPEC).absolute()(deviation)[0]
    assert spread.numpy() == pytest.approx(np.full(4, 100.0), rel=1e-3)


def test_the_operator_can_be_built_where_gradients_are_off(make_table: Tables) -> None:
    table = random_table(make_table, 3)
    with torch.no_grad():
        found = build_operator(table, SPEC)
    assert torch.equal(found.weight, build_operator(table, SPEC).weight)
    assert not found.weight.requires_grad


def test_positions_are_where_observations_are(make_table: Tables) -> None:
    table = random_table(make_table, 20, names=("t", "u", "q"))
    found = observation_positions(build_operator(table, SPEC), SPEC)
    assert found.latitude.numpy() == pytest.approx(table["lat"].to_numpy(), abs=3.0)
    expected = np.log(table["pres"].to_numpy() / 101_325.0)
    assert found.level.numpy() == pytest.approx(expected, abs=0.75)
    assert np.corrcoef(found.level.numpy(), expected)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("variable", "columns", "reason"),
    [
        ("t", {"pres": 500.0}, Reason.PRESSURE),
        ("t", {"pres": 120_000.0}, Reason.BELOW),
        ("t", {"pres": np.nan}, Reason.NO_LEVEL),
        ("t2m", {"elev": 8_000.0}, Reason.HEIGHT),
        ("sp", {"elev": 8_000.0}, Reason.HEIGHT),
        ("sst", {}, Reason.VARIABLE),
        ("refractivity", {"pres": 5e4}, Reason.VARIABLE),
        ("t", {"pres": 5e4, "lat": 95.0}, Reason.LATITUDE),
        ("t", {"pres": 5e4}, ""),
        ("t2m", {"elev": 0.0}, ""),
    ],
)
def test_what_cannot_be_compared_has_a_reason(
    make_table: Tables, variable: str, columns: dict[str, float], reason: str
) -> None:
    table = make_table(1, variable=variable, level=np.nan, lat=0.0, lon=180.0).assign(**columns)
    assert unobservable(table, SPEC).tolist() == [reason]
    if reason and variable in ("sst", "refractivity"):
        with pytest.raises(ValueError, match="unknown variable"):
            build_operator(table, SPEC)


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
