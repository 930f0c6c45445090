"""Land fraction and orography of the Earth, smooth enough for every resolution.

Provenance: the boundary climatology of SPEEDY (ICTP, Molteni 2003) at T30, as packaged by jcm
(Apache-2.0), kept in `boundary.npz`: land fraction × 255 (uint8) and altitude in meters (int16)
on the 96 × 48 Gaussian grid, south to north.

References:
    | Molteni (2003), Atmospheric simulations using a GCM with simplified physical
      parametrizations. I, doi 10.1007/s00382-002-0268-2
    | Lanczos (1956), Applied analysis, section 4.6 (the sigma factors)
"""

from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from models.world.constants import EARTH
from models.world.spectral import SphericalTransform
from models.world.tables import Array

__all__ = ["land_fraction", "spectral_orography"]

#: Truncation of the orography, common to all models so that they agree on the ground.
OROGRAPHY_TRUNCATION = 21


def _read() -> dict[str, Array]:
    resource = files("models.world").joinpath("boundary.npz")
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: np.asarray(archive[name], np.float64) for name in archive.files}


def land_fraction(latitude: Array, longitude: Array) -> Array:
    """Interpolate the land fraction linearly to a grid.

    Args:
        latitude: Latitudes, south to north [degrees_north].
        longitude: Longitudes in [0, 360) [degrees_east].

    Returns:
        Land fraction [1], shape (lat, lon).
    """
    source = _read()
    land = source["land"] / 255
    wrapped = np.concatenate([land, land[:1]])
    circle = np.append(source["lon"], 360.0)
    rows = np.stack([np.interp(longitude, circle, column) for column in wrapped.T])
    columns = [np.interp(latitude, source["lat"], row) for row in rows.T]
    return np.asarray(np.stack(columns, 1).clip(0, 1))


def spectral_orography() -> Float64[Tensor, "order part 1 1 degree"]:
    """Return the altitude [m] truncated at T21, with Lanczos factors against Gibbs waves."""
    transform = SphericalTransform(31, EARTH.radius, torch.float64)
    altitude = torch.as_tensor(_read()["orog"].T.copy())
    keep = OROGRAPHY_TRUNCATION + 1
    degree = torch.arange(keep, dtype=torch.float64)
    smooth = torch.sinc(degree / (OROGRAPHY_TRUNCATION + 2))
    return transform.analysis(altitude[None, None])[:keep, ..., :keep] * smooth
