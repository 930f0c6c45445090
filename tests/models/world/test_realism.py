"""The numbers of a climate, on climates whose numbers are known."""

from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from models.world.model import SpectralModel
from models.world.nature import forecast_model
from models.world.realism import (
    Climate,
    climate_numbers,
    doubling_time,
    jets,
    monthly_mean,
    normalized_errors,
    transient_deviation,
    twin_errors,
    zonal_mean,
)

LATITUDE = np.linspace(-75, 75, 11)
TIMES = pd.date_range("2001-01-01", "2001-12-31T18", freq="30h")
LAND = np.zeros((11, 8))
LAND[:, 4:] = 1


def climate(noise: float = 1.0) -> Climate:
    x = np.random.default_rng(0).normal(size=(len(TIMES), 33, 11, 8)).astype(np.float32) * noise
    area = np.cos(np.radians(LATITUDE))
    return Climate(x, TIMES, LATITUDE, area / area.mean(), LAND)


def test_jets_are_found_in_their_season_and_hemisphere() -> None:
    world = climate(0.0)
    winter = np.isin(TIMES.month, (12, 1, 2))
    world.x[:, 2, 8] += np.where(winter, 50, 20)[:, None]  # 45° N, σ = 0.2
    world.x[:, 3, 2] += np.where(winter, 25, 40)[:, None]  # 45° S, σ = 0.34
    world.x[:, 0] += 90  # not a jet: the stratosphere
    world.x[:, 2, 5] += 80  # not a jet: the equator
    assert jets(world, (12, 1, 2)) == {"north": (50.0, 45.0), "south": (25.0, -45.0)}
    assert jets(world, (6, 7, 8)) == {"north": (20.0, 45.0), "south": (40.0, -45.0)}


def test_standing_waves_are_no_eddies_and_travelling_waves_are() -> None:
    world = climate(0.0)
    longitude, days = np.arange(8) * np.pi / 4, np.arange(len(TIMES)) * 1.25
    world.x[:, 10] += (7 * np.cos(longitude)).astype(np.float32)
    world.x[:, 11] += 8 * np.cos(longitude - 2 * np.pi * days[:, None] / 5)[:, None]
    eddies = transient_deviation(world, "v", (6, 7, 8))
    np.testing.assert_allclose(eddies[2], 0, atol=1e-6)
    np.testing.assert_allclose(eddies[3], 8 / np.sqrt(2), rtol=0.02)
    np.testing.assert_allclose(zonal_mean(world, "v", (6, 7, 8)), 0, atol=0.2)


def test_annual_range_is_that_of_the_monthly_means() -> None:
    world = climate(0.1)
    season = -np.cos(2 * np.pi * (TIMES.dayofyear.to_numpy() - 15) / 365)
    world.x[:, 23] += (280 + season[:, None, None] * (12 * LAND + 3)).astype(np.float32)
    numbers = climate_numbers(world, world.statistics())
    assert numbers["annual range land [K]"] == pytest.approx(30, rel=0.03)
    assert numbers["annual range sea [K]"] == pytest.approx(6, rel=0.05)
    land = monthly_mean(world, 23, LAND)
    assert (land.idxmax(), land.idxmin()) == (7, 1)


def test_daily_range_is_that_of_the_mean_hours() -> None:
    world = climate(0.0)
    hour = 2 * np.pi * TIMES.hour.to_numpy() / 24
    world.x[:, 23] += (3 * np.cos(hour)[:, None, None] * LAND).astype(np.float32)
    world.x[:] += np.random.default_rng(1).normal(size=world.x.shape) * 1e-3
    numbers = climate_numbers(world, world.statistics())
    assert numbers["daily range land [K]"] == pytest.approx(6, abs=0.01)
    assert numbers["daily range sea [K]"] == pytest.approx(0, abs=0.01)


def test_anomalies_have_the_standard_deviation_of_the_noise() -> None:
    world = climate(2.0)
    world.x[:, 16] += (30 * np.cos(2 * np.pi * TIMES.dayofyear.to_numpy() / 365.25))[:, None, None]
    numbers = climate_numbers(world, world.statistics())
    assert numbers["anomaly t@0.025 [SI]"] == pytest.approx(2, rel=0.05)
    assert all(np.isfinite(value) for value in numbers.values())


def test_a_short_run_has_only_the_seasons_it_has() -> None:
    world = climate()
    short = Climate(world.x[:40], TIMES[:40], LATITUDE, world.area, LAND)
    numbers = climate_numbers(short, short.statistics())
    assert "DJF jet north [m s-1]" in numbers
    assert not [name for name in numbers if name.startswith(("JJA", "annual"))]


def test_independent_states_are_saturated() -> None:
    world = climate()
    difference = (world.x[1:] - world.x[:-1]) ** 2 * world.area[:, None]
    errors = np.sqrt(difference.mean((2, 3)))[None]
    growth = normalized_errors(errors, world.statistics())
    np.testing.assert_allclose(growth, 1, atol=0.05)


def test_doubling_time_is_that_of_exponential_growth() -> None:
    days = np.arange(40)[:, None]
    errors = np.minimum(1e-3 * 2 ** (days / 3), 1) * np.ones(33)
    assert doubling_time(errors) == pytest.approx(3, rel=1e-6)
    assert doubling_time(errors[:10]) is None


def test_twins_start_close_and_repeat(weather: Tensor, moist: SpectralModel) -> None:
    model = forecast_model()
    seconds = torch.tensor([15_552_000.0, 15_552_000.0], dtype=torch.float64)

    def run() -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        twins = twin_errors(model, model, weather.float(), seconds, generator)
        return np.stack(list(islice(twins, 2)))

    errors = run()
    assert errors.shape == (2, 2, 33)
    assert ((errors[0, :, 16:24] > 0.003) & (errors[0, :, 16:24] < 0.01)).all()
    assert errors[0, :, :16].max() < 1e-4
    assert errors[1, :, :16].min() > 1e-4  # the wind has noticed
    assert np.array_equal(errors, run())
