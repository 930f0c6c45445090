"""Laws of the parameterizations, each on columns made for the purpose."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.world.constants import EARTH, YEAR
from models.world.model import SpectralModel
from models.world.physics.column import Column, Geometry
from models.world.physics.convection import TOP, DryAdjustment, MoistConvection, condense
from models.world.physics.moisture import Condensation, MoistureMixing
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.radiation import Radiation
from models.world.physics.saturation import WARMING, latent_factor, saturation_humidity
from models.world.physics.surface import Surface, friction_rate
from models.world.vertical import EIGHT_LEVELS

PARAMETERS = PhysicsParameters()
LATITUDE, LONGITUDE = np.linspace(-80, 80, 9), np.linspace(0, 315, 8)
LAND = np.zeros((9, 8))
LAND[:, 4:] = 1.0
GEOMETRY = Geometry(LATITUDE, LONGITUDE, LAND, np.array(EIGHT_LEVELS.half_levels), 3600.0)
THICKNESS = torch.as_tensor(EIGHT_LEVELS.thickness)[:, None, None]
SIGMA = torch.as_tensor(EIGHT_LEVELS.mid_levels)[:, None, None]
DOUBLE = torch.float64


def column(temperature: Tensor, relative_humidity: float | Tensor) -> Column:
    log_pressure = SIGMA.log().expand(1, 8, 9, 8)
    temperature = temperature.expand(1, 8, 9, 8).contiguous()
    return Column(
        temperature=temperature,
        humidity=relative_humidity * saturation_humidity(temperature, log_pressure),
        surface_log_pressure=torch.zeros(1, 9, 8, dtype=DOUBLE),
        log_pressure=log_pressure,
        surface_wind_squared=torch.full((1, 9, 8), 25.0, dtype=DOUBLE),
    )


def tropical(relative_humidity: float) -> Column:
    """A conditionally unstable column: between the moist and the dry adiabat."""
    return column((300 * SIGMA**0.16).clamp(min=195), relative_humidity)


def column_sum(x: Tensor) -> Tensor:
    return (x * THICKNESS[-x.shape[1] :]).sum(1)


def test_saturation_humidity_has_the_values_of_the_tables() -> None:
    """q_s of liquid water at 1000 hPa, from e_s of the Smithsonian tables."""
    temperature = torch.tensor([273.16, 283.15, 293.15, 303.15], dtype=DOUBLE)
    vapor = torch.tensor([611.2, 1227.2, 2337.3, 4243.0], dtype=DOUBLE)
    expected = 0.622 * vapor / (1e5 - 0.378 * vapor)
    actual = saturation_humidity(temperature, torch.zeros(4, dtype=DOUBLE))
    torch.testing.assert_close(actual, expected, rtol=3e-3, atol=0)


def test_latent_factor_is_the_slope_of_saturation() -> None:
    temperature = torch.tensor([260.0, 280.0, 300.0], dtype=DOUBLE)
    log_pressure = torch.full((3,), math.log(0.8), dtype=DOUBLE)
    curve = lambda t: saturation_humidity(t, log_pressure)
    q, slope = torch.func.jvp(curve, (temperature,), (torch.ones_like(temperature),))[:2]
    torch.testing.assert_close(latent_factor(temperature, q), WARMING * slope, rtol=0.06, atol=0)


def test_parcel_reaches_saturation_and_keeps_its_enthalpy() -> None:
    temperature = torch.linspace(230, 300, 40, dtype=DOUBLE)[None, None]
    log_pressure = torch.full_like(temperature, math.log(0.7))
    humidity = 1.3 * saturation_humidity(temperature, log_pressure)
    warm, dry = condense(temperature, humidity, log_pressure)
    torch.testing.assert_close(warm + WARMING * dry, temperature + WARMING * humidity)
    torch.testing.assert_close(dry, saturation_humidity(warm, log_pressure), rtol=1e-3, atol=0)
    same = condense(temperature, 0.5 * humidity, log_pressure)
    assert torch.equal(same[0], temperature)
    assert torch.equal(same[1], 0.5 * humidity)


def test_condensation_acts_only_above_its_threshold_and_stops_there() -> None:
    scheme = Condensation(PARAMETERS)
    assert not scheme(tropical(0.89)).any()
    assert (scheme(tropical(0.95))[:, 2:] > 0).all()
    moist = tropical(1.0)
    rate = scheme(moist) * PARAMETERS.condensation_time
    later = moist.temperature + WARMING * rate
    relative = (moist.humidity - rate) / saturation_humidity(later, moist.log_pressure)
    assert float(relative.min()) > 0.89
    assert float(relative.max()) < 0.92


def test_moist_convection_rains_and_conserves_enthalpy() -> None:
    scheme = MoistConvection(GEOMETRY, PARAMETERS, DOUBLE)
    heating, moistening = scheme(tropical(0.9))
    rain = -column_sum(moistening)
    assert (rain > 0).all()
    torch.testing.assert_close(column_sum(heating), WARMING * rain)
    assert heating.shape[1] == 8 - TOP


def test_moist_convection_leaves_dry_and_stable_columns_alone() -> None:
    scheme = MoistConvection(GEOMETRY, PARAMETERS, DOUBLE)
    stable = column((300 * SIGMA**0.1).clamp(min=195), 0.9)
    for quiet in (tropical(0.1), stable):
        heating, moistening = scheme(quiet)
        assert not heating.any()
        assert not moistening.any()


def test_dry_adjustment_conserves_potential_temperature_and_removes_instability() -> None:
    scheme = DryAdjustment(GEOMETRY, PARAMETERS, DOUBLE)
    exner = SIGMA**EARTH.kappa
    unstable = (300 * SIGMA**0.4).expand(1, 8, 9, 8)
    heating = scheme(torch.zeros_like(unstable), unstable)
    potential = heating / exner
    assert column_sum(potential).abs().max() < 1e-15
    assert (potential[:, 0] > 0).all()
    assert (potential[:, -1] < 0).all()
    stable = (300 * SIGMA**0.2).expand(1, 8, 9, 8)
    assert not scheme(torch.zeros_like(stable), stable).any()


def test_mixing_conserves_moisture_and_fills_negative_values() -> None:
    scheme = MoistureMixing(GEOMETRY, PARAMETERS, DOUBLE)
    moist = tropical(0.7).humidity
    tendency = scheme(moist)
    assert column_sum(tendency).abs().max() < 1e-18
    assert tendency[:, -1].max() < 0  # moisture leaves the lowest layer …
    assert tendency[:, -2].min() > 0  # … for the one above
    negative = torch.zeros_like(moist)
    negative[:, 3] = -1e-4
    filled = negative + 2 * GEOMETRY.time_step * scheme(negative)
    torch.testing.assert_close(filled, torch.zeros_like(filled), rtol=0, atol=1e-12)


def test_radiation_vanishes_in_equilibrium_and_pulls_towards_it() -> None:
    scheme = Radiation(GEOMETRY, PARAMETERS, DOUBLE)
    surface = scheme.surface_equilibrium(torch.zeros(1, 9, 8, dtype=DOUBLE))
    probe = column(torch.full((8, 1, 1), 250.0, dtype=DOUBLE), 0.5)
    equilibrium = probe.temperature + scheme(probe, surface) / scheme.rate
    assert equilibrium.min() == PARAMETERS.stratosphere_temperature
    warm = column(equilibrium[0] + 5, 0.5)
    torch.testing.assert_close(scheme(warm, surface), (-5 * scheme.rate).expand(1, 8, 9, 8))


def test_season_warms_the_summer_hemisphere_land_first() -> None:
    surface = Surface(GEOMETRY, PARAMETERS, DOUBLE)
    july = surface.state(197 / 365.25 * YEAR)
    january = surface.state(197 / 365.25 * YEAR - YEAR / 2)
    assert (july.season[:, -3:] > 0).all()
    assert (july.season[:, :3] < 0).all()
    torch.testing.assert_close(january.season, -july.season)
    assert (july.season[0, -1, 4:] > 2 * july.season[0, -1, :4]).all()
    warmest = LATITUDE[int(july.sea_temperature[0, :, 3].argmax())]
    assert warmest == 0 or warmest == 20
    lag = surface.state((172 + PARAMETERS.lag_land) / 365.25 * YEAR)
    assert lag.season[0, -1, 4] == pytest.approx(22 * math.sin(math.radians(80)))


def test_sea_temperature_is_qobs_without_season_and_warm_pool() -> None:
    plain = replace(PARAMETERS, warm_pool=0.0, sea_shift=0.0)
    sea = Surface(GEOMETRY, plain, DOUBLE).state(0.0).sea_temperature[0, :, 0]
    square = np.sin(np.radians(1.5 * np.clip(LATITUDE, -60, 60))) ** 2
    expected = 273 + 27 * (1 - (square + square**2) / 2)
    torch.testing.assert_close(sea, torch.as_tensor(expected))


def test_land_is_warmest_at_local_noon() -> None:
    surface = Surface(GEOMETRY, PARAMETERS, DOUBLE)
    for hour in (0, 6, 15):
        diurnal = surface.state(hour * 3600.0).diurnal[0, 4]
        local = (hour + LONGITUDE / 15) % 24
        expected = PARAMETERS.diurnal * np.cos((local - 12) / 24 * 2 * np.pi) * LAND[4]
        torch.testing.assert_close(diurnal, torch.as_tensor(expected), rtol=0, atol=1e-12)


def test_members_have_their_own_time() -> None:
    surface = Surface(GEOMETRY, PARAMETERS, DOUBLE)
    times = torch.tensor([1e6, 2.1e7], dtype=DOUBLE)
    both = surface.state(times)
    for member, seconds in enumerate(times.tolist()):
        single = surface.state(seconds)
        for name in single._fields:
            assert torch.equal(getattr(both, name)[member], getattr(single, name)[0]), name


def test_bulk_fluxes_go_down_the_gradient_and_stop_at_equilibrium() -> None:
    surface = Surface(GEOMETRY, PARAMETERS, DOUBLE)
    state = surface.state(0.0)
    equilibrium = torch.full((1, 9, 8), 280.0, dtype=DOUBLE)
    ground = torch.where(surface.is_land, equilibrium + state.diurnal, state.sea_temperature)
    for offset in (-3.0, 0.0, 3.0):
        probe = column((ground + offset) * SIGMA**EARTH.kappa, 0.5)
        heating, evaporation = surface(probe, state, equilibrium)
        assert (heating * offset <= 0).all()
        assert (heating.abs() * 3600 <= 3.0).all()  # implicit in time: no overshoot
        assert (evaporation >= 0).all()
    probe = column(ground * SIGMA**EARTH.kappa, 0.5)
    assert surface(probe, state, equilibrium)[0].abs().max() < 1e-15
    assert not surface(replace(probe, humidity=probe.humidity + 1), state, equilibrium)[1].any()


def test_friction_is_strongest_at_the_ground_over_land_and_absent_aloft() -> None:
    rate = friction_rate(GEOMETRY, PARAMETERS)
    assert (rate[1:6] == 0).all()
    assert (np.diff(rate[5:], axis=0) > 0).all()
    assert (rate[-1, :, 4:] > rate[-1, :, :4].max()).all()
    np.testing.assert_allclose(rate[0], 1 / (PARAMETERS.sponge_days * 86400))


def test_all_processes_together_take_no_momentum_aloft_and_are_finite(
    moist: SpectralModel, weather: Tensor
) -> None:
    assert moist.physics is not None
    nodal = moist.dynamics.nodal(moist.from_grid(weather))
    forcing = moist.physics(nodal, 1e7)
    assert torch.isfinite(forcing.tracers).all()
    power = forcing.wind * nodal.wind
    assert (power <= 0).all()
    assert not power[:, 1:5].any()
