"""A small emulator of two fields on a region or round the globe, and states for it."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from models.emulator import Emulator, EmulatorShape, sphere_coordinates
from models.grid import LatLonGrid
from models.normalization import Statistics
from models.state import StateSpec, Variable

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2001-02-03T12")
REGION = LatLonGrid((50.0, 47.5, 45.0, 42.5), (-5.0, -2.5, 0.0, 2.5, 5.0))
GLOBE = LatLonGrid((-60.0, 0.0, 60.0), tuple(30.0 * i for i in range(12)))
VARIABLES = (
    Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),
    Variable("t", "air_temperature", "K", (850.0,)),
)


def state_spec(grid: LatLonGrid = REGION) -> StateSpec:
    """Return the layout of the states."""
    return StateSpec(VARIABLES, grid, "pressure")


def statistics_of(spec: StateSpec) -> Statistics:
    """Return a climatology with seasons, different at each point."""
    generator = torch.Generator().manual_seed(1)
    coefficients = torch.randn(5, *spec.shape, generator=generator)
    coefficients[0] += torch.tensor([1e5, 280.0])[:, None, None]
    return Statistics(coefficients, torch.tensor([800.0, 4.0]))


def emulator_of(
    grid: LatLonGrid = REGION, dense: bool = True, seed: int = 0, patch: int = 1
) -> Emulator:
    """An emulator with weights that are all different from zero."""
    spec = state_spec(grid)
    statistics = statistics_of(spec)
    shape = replace(EmulatorShape.of(spec, statistics, 24, 8, 1, patch), dense=dense)
    generator = torch.Generator().manual_seed(seed)
    emulator = Emulator(shape, statistics, sphere_coordinates(grid))
    with torch.no_grad():
        for value in [*emulator.parameters(), emulator.linear]:
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return emulator.requires_grad_(False).eval()


def anomalies(count: int, grid: LatLonGrid = REGION, seed: int = 0) -> Tensor:
    """Return states in standard deviations from the climatology."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, *grid.shape, generator=generator)


def series(count: int) -> tuple[Tensor, list[pd.Timestamp]]:
    """The first field tomorrow is a parabola of the second today, which is noise."""
    a = anomalies(count).clamp(-2, 2)
    a[1:, 0] = a[:-1, 1] ** 2 - 1
    times = [START + k * DAY for k in range(count)]
    return statistics_of(state_spec()).denormalize(a, times), times
