"""A polar orbiter's swath: which grid columns a sounder sees in a window, and when.

The orbit is a circle with inclination i and period P. At the time t after the epoch the satellite
has gone the angle u = u_0 + 2πt / P from its ascending node, whose longitude is Ω = Ω_0 − 2πt / S:
the node is fixed in inertial space, and the Earth turns below it once in a sidereal day S. The
point below the satellite is

    R_z(Ω) (cos u, sin u cos i, sin u sin i).

A column is seen if it is within half the swath's width of that track, at the moment of the nearest
approach. i = 98.7° and P = 101 min are those of Metop, 817 km high, whose sounders IASI and AMSU-A
see about 2200 km; NOAA's polar satellites are alike. In 6 h there are 3.6 orbits, 25° apart, and
the next window has others. Left out is the node's turn by 1° a day, which keeps a real orbit in
step with the Sun. Each seed has a satellite of its own, Ω_0 and u_0.

References:
    | Klaes et al. (2007), An introduction to the EUMETSAT Polar System, doi 10.1175/BAMS-88-7-1085
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.randomness import numpy_generator

__all__ = ["ground_track", "overpasses", "unit_vectors"]

INCLINATION = np.radians(98.7)
PERIOD = 101 * 60.0
SIDEREAL_DAY = 86_164.1
EARTH_RADIUS = 6371.0
EPOCH = pd.Timestamp("2000-01-01")
STRIDE = 20.0
CHUNK = 256
Floats = NDArray[np.float64]


def ground_track(
    seconds: Float[np.ndarray, "time"], node: float = 0.0, phase: float = 0.0
) -> Float[np.ndarray, "time 3"]:
    """Return the unit vectors of the points below the satellite.

    Args:
        seconds: Times since the epoch [s].
        node: Longitude of the ascending node at the epoch, Ω_0 [rad].
        phase: Angle from the node at the epoch, u_0 [rad].
    """
    along = phase + 2 * np.pi * (seconds / PERIOD % 1)
    turned = node - 2 * np.pi * (seconds / SIDEREAL_DAY % 1)
    x, across = np.cos(along), np.sin(along)
    y, z = across * np.cos(INCLINATION), across * np.sin(INCLINATION)
    east = x * np.cos(turned) - y * np.sin(turned)
    return np.stack([east, x * np.sin(turned) + y * np.cos(turned), z], axis=-1)


def overpasses(
    grid: LatLonGrid, limits: tuple[pd.Timestamp, pd.Timestamp], width: float, seed: int
) -> tuple[NDArray[np.int64], Floats]:
    """Return the grid columns in the swath, and when each is seen.

    Args:
        grid: The grid.
        limits: First and last time of the window.
        width: Width of the swath [km].
        seed: Seed of the experiment.

    Returns:
        Positions in a flattened field, ascending, and times [s since the first time].
    """
    node, phase = numpy_generator(seed, None, "orbit").uniform(0, 2 * np.pi, 2)
    length = (limits[1] - limits[0]).total_seconds()
    seconds = np.arange(STRIDE / 2, length, STRIDE)
    track = ground_track((limits[0] - EPOCH).total_seconds() + seconds, node, phase)
    columns = unit_vectors(grid)
    nearest, seen = np.full(len(columns), -np.inf), np.zeros(len(columns))
    for first in range(0, len(seconds), CHUNK):  # not all at once: that would be large
        cosine = columns @ track[first : first + CHUNK].T
        best, value = first + cosine.argmax(1), cosine.max(1)
        seen = np.where(value > nearest, seconds[best], seen)
        nearest = np.maximum(nearest, value)
    inside = np.flatnonzero(nearest >= np.cos(width / 2 / EARTH_RADIUS))
    return inside, seen[inside]


def unit_vectors(grid: LatLonGrid) -> Float[np.ndarray, "point 3"]:
    """Return the unit vectors of the grid's points."""
    latitude, longitude = np.radians(grid.latitude)[:, None], np.radians(grid.longitude)[None]
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    z = np.broadcast_to(np.sin(latitude), grid.shape)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)
