import math

import numpy as np
import pytest
import torch

from models.grid import LatLonGrid
from models.verification.spectra import wavenumbers, zonal_spectrum

GLOBAL = LatLonGrid.gaussian(32, 64)
REGION = LatLonGrid(
    tuple(np.arange(55, 29, -2.5).tolist()), tuple(np.arange(-15, 15, 2.5).tolist())
)


@pytest.mark.parametrize("wave", [0, 1, 7, 31, 32])
def test_single_wave_has_its_variance_at_its_wavenumber(wave: int) -> None:
    longitude = torch.tensor(GLOBAL.longitude).deg2rad().double()
    x = 3 * torch.cos(wave * longitude).expand(2, 32, 64)
    power = zonal_spectrum(x, GLOBAL)
    expected = torch.zeros(2, 33).double()
    expected[:, wave] = 9.0 if wave in (0, 32) else 4.5
    torch.testing.assert_close(power, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [GLOBAL, REGION], ids=["global", "region"])
@pytest.mark.parametrize("columns", ["even", "odd"])
def test_powers_sum_to_the_mean_square_of_the_band(grid: LatLonGrid, columns: str) -> None:
    if columns == "odd":
        count = grid.shape[1] - 1
        spacing = 360 / count if grid.wraps else 2.5
        west = grid.longitude[0]
        grid = LatLonGrid(grid.latitude, tuple(west + i * spacing for i in range(count)))
    x = torch.randn(3, *grid.shape).double()
    latitude = torch.tensor(grid.latitude).abs()
    inside = (latitude >= 30) & (latitude <= 60)
    area = grid.cell_area_weights()[inside].double()
    square = ((x[:, inside] ** 2).mean(-1) * area).sum(-1) / area.sum()
    torch.testing.assert_close(zonal_spectrum(x, grid).sum(-1), square)
    assert zonal_spectrum(x, grid).shape[-1] == len(wavenumbers(grid))


def test_half_waves_of_a_region_stand_at_their_wavenumber() -> None:
    """cos(π k (j + ½) / n) is a half-wave of the domain, which is n · 2.5° wide."""
    count = REGION.shape[1]
    for half_waves in (0, 1, 4):
        phase = math.pi * half_waves * (torch.arange(count) + 0.5) / count
        power = zonal_spectrum(torch.cos(phase).expand(REGION.shape).contiguous(), REGION)
        expected = torch.zeros(count + 1)
        expected[half_waves] = 0.5 if half_waves else 1.0
        torch.testing.assert_close(power, expected, atol=1e-6, rtol=0)
        assert wavenumbers(REGION)[half_waves] == pytest.approx(half_waves * 360 / (2 * 30))


def test_trend_across_a_region_has_no_power_at_the_short_waves() -> None:
    trend = torch.linspace(-1, 1, REGION.shape[1]).expand(REGION.shape).contiguous()
    power = zonal_spectrum(trend, REGION)
    assert power[6:].sum() < 0.01 * power.sum()


def test_all_rows_count_where_the_band_is_empty() -> None:
    tropics = LatLonGrid((-20.0, 0.0, 20.0), GLOBAL.longitude)
    x = torch.randn(3, 64)
    everywhere = zonal_spectrum(x, tropics, band=(0.0, 90.0))
    torch.testing.assert_close(zonal_spectrum(x, tropics), everywhere)
    assert everywhere.sum() > 0
