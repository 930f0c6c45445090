"""Observation networks of twin experiments: y = H x_true + ε, ε ~ N(0, R).

- `columns`: a part of the grid columns, all fields in each; drawn anew in each cycle.
- `points`: a part of all (field, grid point) pairs; drawn anew in each cycle.
- `stations`: a fixed network between the grid points, denser over land and in the northern
  hemisphere: `stations` soundings of wind, temperature and other upper-air variables except
  humidity at every second level, and twice as many surface stations.
- `swath`: profiles of temperature and humidity in grid columns that a polar orbiter sees, a part
  of all columns; see `models.observations.swath`.

The error of a field is `noise` times its climatological standard deviation. Perfect observations,
`noise` 0, have the error PERFECT of it in the table all the same, since R needs one. Where the
window has several slots, each place is observed in one of them, drawn anew in each cycle; in a
swath it is that of the overpass. Every draw has its own generator, keyed by the experiment's seed,
the cycle time and the purpose.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.observations.observables import deviations, observables
from models.observations.operator import InterpolationOperator
from models.observations.sites import Sites, unobserved
from models.observations.stations import station_sites
from models.observations.swath import overpasses
from models.observations.window import Window
from models.randomness import numpy_generator
from models.state import StateSpec

__all__ = ["PERFECT", "Network", "draw_network", "draw_sites", "observed_fields"]

KINDS = ("columns", "points", "stations", "swath")
PERFECT = 0.01
PROFILES = ("air_temperature", "specific_humidity")
CYCLE_TIME = Window()


@dataclass(frozen=True)
class Network:
    """What is observed.

    Attributes:
        kind: `columns`, `points`, `stations` or `swath`.
        fraction: Part of the columns or points that is observed.
        stations: Number of soundings; there are twice as many surface stations.
        noise: Observation error in units of the climatological standard deviation.
        variables: Names of what is observed, `wind_speed` among them; None is all of the state,
            in a swath its profiles of temperature and humidity. Stations have their own.
        width: Width of the swath [km].
    """

    kind: str = "columns"
    fraction: float = 0.05
    stations: int = 150
    noise: float = 0.1
    variables: tuple[str, ...] | None = None
    width: float = 2000.0

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        if self.kind not in KINDS:
            raise ValueError(f"network {self.kind!r}: allowed are {', '.join(KINDS)}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction}: allowed is more than 0 and at most 1")
        if self.stations < 1:
            raise ValueError(f"stations {self.stations}: allowed is at least 1")
        if not 0 <= self.noise < np.inf:
            raise ValueError(f"noise {self.noise}: allowed is 0 or a positive number")
        if not 0 < self.width <= 10_000:
            raise ValueError(f"width {self.width} km: allowed is more than 0 and at most 10000")


def draw_network(
    network: Network,
    spec: StateSpec,
    std: Float[Tensor, "field"],
    x_true: Float[Tensor, "*slot field lat lon"],
    valid_time: pd.Timestamp,
    seed: int,
    window: Window = CYCLE_TIME,
) -> pd.DataFrame:
    """Draw the observations of one cycle from the truth.

    Args:
        network: What is observed.
        spec: The state.
        std: Climatological standard deviation of each field [SI].
        x_true: The truth at each of the window's times [SI].
        valid_time: Cycle time.
        seed: Seed of the experiment.
        window: When it is observed.

    Returns:
        A valid table of observations.
    """
    sites = draw_sites(network, spec, valid_time, seed, window)
    table = unobserved(sites, spec, network.kind, window.times(valid_time))
    operator = InterpolationOperator.from_table(table, spec)
    equivalents = operator(x_true.reshape(window.slots, *spec.shape).cpu().double()).numpy()
    y = equivalents[sites.slot, np.arange(len(table))]
    deviation = deviations(spec, std.double().cpu()).numpy()[sites.field]
    noise = numpy_generator(seed, valid_time, "observation error").standard_normal(len(y))
    table["observation"] = y + network.noise * deviation * noise
    table["error"] = (network.noise or PERFECT) * deviation
    return table


def draw_sites(
    network: Network,
    spec: StateSpec,
    valid_time: pd.Timestamp,
    seed: int,
    window: Window = CYCLE_TIME,
) -> Sites:
    """Choose fields, positions and slots."""
    if network.kind == "stations":
        return in_slots(station_sites(network.stations, spec, seed), valid_time, seed, window)
    fields, points = observed_fields(network, spec), spec.grid.shape[0] * spec.grid.shape[1]
    generator = numpy_generator(seed, valid_time, "network")
    if network.kind == "points":
        chosen = choose(generator, len(fields) * points, network.fraction)
        field, point = np.divmod(chosen, points)
        return in_slots(sites_at(point, fields[field], spec), valid_time, seed, window)
    if network.kind == "columns":
        columns = choose(generator, points, network.fraction)
        return in_slots(columns_at(columns, fields, spec), valid_time, seed, window)
    seen, seconds = overpasses(spec.grid, window.limits(valid_time), network.width, seed)
    kept = choose(generator, len(seen), network.fraction, of=points)
    slot = np.tile(window.slot(seconds[kept]), len(fields))
    return replace(columns_at(seen[kept], fields, spec), slot=slot)


def choose(
    generator: np.random.Generator, count: int, fraction: float, of: int | None = None
) -> NDArray[np.int64]:
    """Draw the part `fraction` of `count` things, or of `of`, but not more than there are."""
    wanted = max(1, round(fraction * (of or count)))
    return np.sort(generator.choice(count, min(wanted, count), replace=False))


def observed_fields(network: Network, spec: StateSpec) -> NDArray[np.int64]:
    """Return what a network observes, as positions in `observables`.

    Raises:
        ValueError: A variable is not in the state.
    """
    fields = observables(spec)
    if network.variables is not None:
        names = network.variables
    elif network.kind == "swath":
        profiles = [v for v in spec.variables if v.levels and v.standard_name in PROFILES]
        names = tuple(variable.name for variable in profiles)
    else:
        return np.arange(spec.n_fields)
    allowed = tuple(dict.fromkeys(field.variable for field in fields))
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"variable {unknown[0]!r}: allowed are {', '.join(allowed)}")
    if not names:
        text = f"network {network.kind!r}: no profiles of temperature or humidity in the state"
        raise ValueError(f"{text}; allowed variables are {', '.join(allowed)}")
    return np.flatnonzero([field.variable in names for field in fields])


def columns_at(columns: NDArray[np.int64], fields: NDArray[np.int64], spec: StateSpec) -> Sites:
    """Return the sites of some fields in some grid columns."""
    field, point = np.repeat(fields, len(columns)), np.tile(columns, len(fields))
    return sites_at(point, field, spec)


def sites_at(point: NDArray[np.int64], field: NDArray[np.int64], spec: StateSpec) -> Sites:
    """Return the sites of fields at grid points."""
    row, column = np.divmod(point, spec.grid.shape[1])
    latitude, longitude = np.asarray(spec.grid.latitude), np.asarray(spec.grid.longitude)
    return Sites(field, latitude[row], longitude[column] % 360.0)


def in_slots(sites: Sites, valid_time: pd.Timestamp, seed: int, window: Window) -> Sites:
    """Give each place one of the window's slots at random."""
    if window.slots == 1:
        return sites
    position = np.stack([sites.latitude, sites.longitude], axis=1)
    places, place = np.unique(position, axis=0, return_inverse=True)
    generator = numpy_generator(seed, valid_time, "slot")
    return replace(sites, slot=generator.integers(0, window.slots, len(places))[place.ravel()])
