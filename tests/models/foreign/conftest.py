import pytest

from models.grid import LatLonGrid
from models.state import StateSpec, Variable

NAMES = {
    "z": ("geopotential", "m2 s-2"),
    "t": ("air_temperature", "K"),
    "u": ("eastward_wind", "m s-1"),
    "v": ("northward_wind", "m s-1"),
    "q": ("specific_humidity", "kg kg-1"),
}
SURFACE = {
    "u10": ("eastward_wind", "m s-1"),
    "v10": ("northward_wind", "m s-1"),
    "t2m": ("air_temperature", "K"),
    "msl": ("air_pressure_at_mean_sea_level", "Pa"),
}
LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)


@pytest.fixture
def era5_spec() -> StateSpec:
    """The published 69 fields, south first, on a coarse grid with both poles."""
    levels = tuple(float(level) for level in LEVELS)
    variables = [Variable(n, s, u, levels) for n, (s, u) in NAMES.items()]
    variables += [Variable(n, s, u) for n, (s, u) in SURFACE.items()]
    latitude = tuple(-90.0 + 180.0 * row / 7 for row in range(8))
    longitude = tuple(22.5 * column for column in range(16))
    return StateSpec(tuple(variables), LatLonGrid(latitude, longitude), "pressure")
