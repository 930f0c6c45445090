"""What each variable is in a known atmosphere, on sigma levels and above the ground of the embedded world."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.observations.comparable import unobservable
from models.observations.equivalents import DRY_AIR, GRAVITY, LAPSE, POWER
from models.observations.mixed import build_operator
from models.observations.quality.reasons import Reason
from models.observations.terrain import terrain_of
from models.world.vertical import EIGHT_LEVELS
from tests.column_states import (
    COLUMNS,
    ROWS,
    SIGMA,
    SPEC,
    Tables,
    heights,
    isothermal,
    lapsing,
    lonely,
    observed,
    weather,
)

QUICK = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


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
