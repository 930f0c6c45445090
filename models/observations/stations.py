"""A fixed network of stations between the grid points, mostly on northern land.

Stations are drawn from the density (0.15 + land fraction) × (1 in the north, ½ in the south) on
the sphere. A third of them are soundings of upper-air variables except humidity, at each second
level from the lowest one up; the others are surface stations.
"""

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.observations.sites import Sites
from models.randomness import numpy_generator
from models.state import StateSpec

__all__ = ["land_fraction", "station_positions", "station_sites"]

Floats = NDArray[np.float64]
SEA, SOUTH = 0.15, 0.5


def station_sites(count: int, spec: StateSpec, seed: int) -> Sites:
    """Return the fixed network: soundings first, then surface stations."""
    latitude, longitude = station_positions(spec.grid, 3 * count, seed)
    name = np.array([f"{'U' if i < count else 'S'}{i:05d}" for i in range(3 * count)], object)
    sounding, surface = sounded_fields(spec), surface_fields(spec)
    field = np.concatenate([np.repeat(sounding, count), np.repeat(surface, 2 * count)])
    upper = np.tile(np.arange(count), len(sounding))
    lower = np.tile(np.arange(count, 3 * count), len(surface))
    station = np.concatenate([upper, lower])
    return Sites(field, latitude[station], longitude[station], name[station])


def sounded_fields(spec: StateSpec) -> NDArray[np.int64]:
    """Return upper-air fields except humidity, each second level from below, and the surface."""
    fields: list[int] = []
    for variable in spec.variables:
        own = np.arange(spec.slices[variable.name].start, spec.slices[variable.name].stop)
        if variable.levels is None:
            fields += own.tolist()
        elif not variable.nonnegative:
            fields += np.sort(own[np.argsort(variable.levels)[::-1][::2]]).tolist()
    return np.asarray(fields, np.int64)


def surface_fields(spec: StateSpec) -> NDArray[np.int64]:
    """Return variables without levels and, on sigma levels, the lowest level of the others."""
    fields: list[int] = []
    for variable in spec.variables:
        start = spec.slices[variable.name].start
        if variable.levels is None:
            fields.append(start)
        elif spec.vertical == "sigma" and not variable.nonnegative:
            fields.append(start + int(np.argmax(variable.levels)))
    return np.asarray(fields, np.int64)


@lru_cache(maxsize=8)
def station_positions(grid: LatLonGrid, count: int, seed: int) -> tuple[Floats, Floats]:
    """Draw latitudes and longitudes of stations, by rejection from a uniform density.

    Args:
        grid: The grid that the stations are on.
        count: Number of stations.
        seed: Seed of the experiment.

    Returns:
        Latitudes [degrees_north] and longitudes, 0 to 360 [degrees_east].
    """
    generator = numpy_generator(seed, None, "stations")
    south, north = min(grid.latitude), max(grid.latitude)
    if grid.reaches_poles:
        south, north = -90.0, 90.0
    west, width = grid.longitude[0], grid.longitude[-1] - grid.longitude[0]
    found = np.zeros((0, 2))
    while len(found) < count:
        draw = generator.uniform(size=(4 * count, 3))
        sine = np.sin(np.radians(south))
        sine = sine + draw[:, 0] * (np.sin(np.radians(north)) - sine)
        latitude = np.clip(np.degrees(np.arcsin(sine)), south, north)
        longitude = (west + draw[:, 1] * (360.0 if grid.wraps else width)) % 360.0
        density = (SEA + land_fraction(latitude, longitude)) / (SEA + 1)
        density = density * np.where(latitude > 0, 1.0, SOUTH)
        found = np.concatenate([found, np.stack([latitude, longitude], 1)[draw[:, 2] < density]])
    return found[:count, 0], found[:count, 1]


@lru_cache(maxsize=1)
def land_map() -> tuple[Floats, Floats, Floats]:
    """Return longitudes, latitudes and land fraction (lon, lat) of the packaged boundary file."""
    with (files("models") / "world" / "boundary.npz").open("rb") as file, np.load(file) as data:
        land = data["land"].astype(np.float64) / np.iinfo(data["land"].dtype).max
        return data["lon"].astype(np.float64), data["lat"].astype(np.float64), land


def land_fraction(latitude: Floats, longitude: Floats) -> Floats:
    """Return the land fraction of the cell around each point [1]."""
    lon, lat, land = land_map()
    column = np.round(longitude / 360.0 * len(lon)).astype(np.int64) % len(lon)
    row = np.abs(latitude[:, None] - lat).argmin(1)
    return np.asarray(land[column, row])
