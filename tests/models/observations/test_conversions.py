import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observations import conversions as convert

ICAO = {  # ICAO Doc 7488, table 1: geopotential height [m], pressure [Pa]
    -1000.0: 113929.0,
    0.0: 101325.0,
    1000.0: 89874.6,
    5000.0: 54019.9,
    11000.0: 22632.0,
    20000.0: 5474.88,
    32000.0: 868.017,
    47000.0: 110.906,
}


def array(*values: float) -> convert.Array:
    return np.array(values)


def test_standard_atmosphere_has_the_tabulated_pressures() -> None:
    pressure = convert.height_to_pressure(array(*ICAO))
    assert pressure == pytest.approx(list(ICAO.values()), rel=3e-6)


@given(st.floats(-5000.0, 79_000.0, allow_subnormal=False))
def test_height_and_pressure_are_inverse(height: float) -> None:
    back = convert.pressure_to_height(convert.height_to_pressure(array(height)))
    assert back[0] == pytest.approx(height, abs=1e-4)


def test_no_pressure_outside_of_the_standard_atmosphere() -> None:
    assert np.isnan(convert.height_to_pressure(array(-6000.0, 90_000.0, np.nan))).all()
    assert np.isnan(convert.pressure_to_height(array(-1.0, 0.0, np.nan))).all()


@pytest.mark.parametrize(
    ("direction", "u", "v"), [(0, 0, -1), (90, -1, 0), (180, 0, 1), (270, 1, 0), (360, 0, -1)]
)
def test_wind_blows_from_its_direction(direction: float, u: float, v: float) -> None:
    found = convert.wind_components(array(1.0), array(direction))
    assert np.concatenate(found) == pytest.approx([u, v], abs=1e-12)


@given(st.integers(0, 150), st.integers(0, 360))
def test_wind_keeps_its_speed(speed: float, direction: float) -> None:
    u, v = convert.wind_components(array(speed), array(direction))
    assert np.hypot(u, v)[0] == pytest.approx(speed, abs=1e-9)


def test_calm_needs_no_direction() -> None:
    u, v = convert.wind_components(array(0.0), array(np.nan))
    assert (u[0], v[0]) == (0.0, 0.0)


@given(st.floats(-180.0, 360.0, allow_subnormal=False))
def test_longitudes_are_from_0_to_360(longitude: float) -> None:
    turned = convert.longitude_360(array(longitude))[0]
    assert 0.0 <= turned < 360.0
    assert np.cos(np.radians(turned - longitude)) == pytest.approx(1.0)


def test_longitudes_of_no_convention_are_missing() -> None:
    assert np.isnan(convert.longitude_360(array(-180.1, 360.1, 3.4e38, np.nan))).all()


def test_saturation_at_the_triple_point_and_at_20_degrees() -> None:
    # Goff-Gratch: 611.2 Pa and 2338.5 Pa; the Magnus form is within 0.4 % (Alduchov & Eskridge)
    found = convert.saturation_vapour_pressure(array(273.16, 293.15))
    assert found == pytest.approx([611.2, 2338.5], rel=4e-3)


def test_humidity_of_saturated_air_is_that_of_its_dewpoint() -> None:
    temperature, pressure = array(250.0, 280.0, 300.0), array(50_000.0, 90_000.0, 100_000.0)
    dewpoint = convert.dewpoint_to_specific_humidity(temperature, pressure)
    relative = convert.relative_to_specific_humidity(np.ones(3), temperature, pressure)
    assert dewpoint == pytest.approx(relative, rel=1e-14)
    # q = 0.62198 e / (p - 0.37802 e) by hand for 300 K and 1000 hPa: e = 3527.8 Pa
    assert dewpoint[2] == pytest.approx(0.022239, abs=1e-6)


def test_boiling_air_has_no_humidity() -> None:
    assert np.isnan(convert.dewpoint_to_specific_humidity(array(380.0), array(50_000.0))).all()


def test_altimeter_of_the_standard_atmosphere_gives_its_pressure() -> None:
    height = array(0.0, 500.0, 1609.0, 3000.0)
    pressure = convert.altimeter_to_station_pressure(np.full(4, 101_325.0), height)
    assert pressure == pytest.approx(convert.height_to_pressure(height), rel=1e-12)


def test_hypsometric_equation_is_exact_in_an_isothermal_layer() -> None:
    scale = convert.DRY_AIR * 250.0 / convert.GRAVITY
    assert convert.hypsometric_pressure(array(1e5), array(scale), array(250.0))[0] == (
        pytest.approx(1e5 / np.e, rel=1e-12)
    )


def test_surface_pressure_follows_the_standard_atmosphere() -> None:
    # from 300 m to 100 m and back: a layer of the standard lapse rate, exact to second order
    height = array(300.0)
    temperature = 288.15 - 0.0065 * height
    moved = convert.station_to_surface_pressure(
        convert.height_to_pressure(height), height, array(100.0), temperature
    )
    assert moved[0] == pytest.approx(convert.height_to_pressure(array(100.0))[0], rel=2e-7)


def test_moist_air_is_lighter() -> None:
    assert convert.virtual_temperature(array(300.0), array(0.02))[0] == pytest.approx(
        300.0 * 1.012156, rel=1e-5
    )
    assert convert.virtual_temperature(array(300.0), array(np.nan))[0] == 300.0
