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

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from models.observations.operator import InterpolationOperator
from models.observations.stations import Sites, station_sites
from models.randomness import numpy_generator
from models.state import StateSpec

__all__ = ["Network", "draw_network", "draw_sites"]

KINDS = ("columns", "points", "stations")
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

    kind: str = "columns"
    fraction: float = 0.05
    stations: int = 150
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        if self.kind not in KINDS:
            raise ValueError(f"network {self.kind!r}: allowed are {', '.join(KINDS)}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction}: allowed is more than 0 and at most 1")
        if self.stations < 1:
            raise ValueError(f"stations {self.stations}: allowed is at least 1")
        if not 0 < self.noise < np.inf:
            raise ValueError(f"noise {self.noise}: allowed is a positive number")


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
    y = InterpolationOperator.from_table(table, spec)(x_true[None].cpu().double())[0].numpy()
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
