"""Observation networks of twin experiments: y = H x_true + ε, ε ~ N(0, R).

- `columns`: a part of the grid columns, all fields in each; drawn anew in each cycle.
- `points`: a part of all (field, grid point) pairs; drawn anew in each cycle.
- `stations`: a fixed network between the grid points, denser over land and in the northern
  hemisphere: `stations` soundings of wind, temperature and other upper-air variables except
  humidity at every second level, and twice as many surface stations.

The error of a field is `noise` times its climatological standard deviation. Every draw has its own
generator, keyed by the experiment's seed, the cycle time and the purpose.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.grid import LatLonGrid
from models.observations.operator import InterpolationOperator
from models.randomness import numpy_generator
from models.state import StateSpec

__all__ = ["Network", "draw_network", "station_positions"]

Kind = Literal["columns", "points", "stations"]
Floats = NDArray[np.float64]
SEA, SOUTH = 0.15, 0.5
HECTOPASCAL = 100.0


@dataclass(frozen=True)
class Network:
    """What is observed.

    Attributes:
        kind: `columns`, `points` or `stations`.
        fraction: Part of the columns or points that is observed.
        stations: Number of soundings; there are twice as many surface stations.
        noise: Observation error in units of the climatological standard deviation.
    """

    kind: Kind = "columns"
    fraction: float = 0.05
    stations: int = 150
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        if self.kind not in get_args(Kind):
            raise ValueError(f"network {self.kind!r}: allowed are {', '.join(get_args(Kind))}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction}: allowed is more than 0 and at most 1")
        if self.stations < 1:
            raise ValueError(f"stations {self.stations}: allowed is at least 1")
        if not 0 < self.noise < np.inf:
            raise ValueError(f"noise {self.noise}: allowed is a positive number")


@dataclass(frozen=True)
class Sites:
    """Fields and positions of the observations, before they have values."""

    field: NDArray[np.int64]
    latitude: Floats
    longitude: Floats
    station: NDArray[np.object_] | str = ""


def draw_network(
    network: Network,
    spec: StateSpec,
    std: Float[Tensor, "field"],
    x_true: Float[Tensor, "field lat lon"],
    valid_time: pd.Timestamp,
    seed: int,
) -> pd.DataFrame:
    """Draw the observations of one cycle from the truth.

    Args:
        network: What is observed.
        spec: The state.
        std: Climatological standard deviation of each field [SI].
        x_true: The truth [SI].
        valid_time: Cycle time, which is the time of all observations.
        seed: Seed of the experiment.

    Returns:
        A valid table of observations.
    """
    sites = draw_sites(network, spec, valid_time, seed)
    table = unobserved(sites, spec, network.kind, valid_time)
    y = InterpolationOperator.from_table(table, spec)(x_true[None].double())[0].cpu().numpy()
    error = network.noise * std.double().cpu().numpy()[sites.field]
    noise = numpy_generator(seed, valid_time, "observation error").standard_normal(len(y))
    table["observation"], table["error"] = y + error * noise, error
    return table


def draw_sites(network: Network, spec: StateSpec, valid_time: pd.Timestamp, seed: int) -> Sites:
    """Choose fields and positions."""
    if network.kind == "stations":
        return station_sites(network.stations, spec, seed)
    generator = numpy_generator(seed, valid_time, "network")
    points = spec.grid.shape[0] * spec.grid.shape[1]
    if network.kind == "points":
        count = max(1, round(network.fraction * spec.n_fields * points))
        chosen = np.sort(generator.choice(spec.n_fields * points, count, replace=False))
        field, point = np.divmod(chosen, points)
    else:
        count = max(1, round(network.fraction * points))
        columns = np.sort(generator.choice(points, count, replace=False))
        field = np.repeat(np.arange(spec.n_fields), count)
        point = np.tile(columns, spec.n_fields)
    row, column = np.divmod(point, spec.grid.shape[1])
    latitude, longitude = np.asarray(spec.grid.latitude), np.asarray(spec.grid.longitude)
    return Sites(field, latitude[row], longitude[column] % 360.0)


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


def unobserved(sites: Sites, spec: StateSpec, kind: str, valid_time: pd.Timestamp) -> pd.DataFrame:
    """Return the table of the sites, still without values."""
    count = len(sites.field)
    names = np.array([field.variable for field in spec.fields], object)
    level = np.array([np.nan if f.level is None else f.level for f in spec.fields])[sites.field]
    nothing = np.full(count, np.nan)
    pressure = level * HECTOPASCAL if spec.vertical == "pressure" else nothing
    columns = {
        "time": np.full(count, valid_time.to_datetime64(), "datetime64[ns]"),
        "lat": sites.latitude,
        "lon": sites.longitude,
        "elev": nothing,
        "pres": pressure,
        "variable": pd.Series(names[sites.field], dtype="str"),
        "observation": nothing,
        "error": nothing,
        "type": kind,
        "station": pd.Series(sites.station, index=range(count), dtype="str"),
        "source": "twin",
        "quality": np.zeros(count, np.int64),
        "level": level,
    }
    return pd.DataFrame(columns)
