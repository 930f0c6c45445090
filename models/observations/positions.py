"""Where observations are, read off the operator that makes their equivalents.

An observation is a weighted sum of a few values of the state; its position is the mean of their
places with the absolute weights |w| as shares: on the sphere the direction of Σ |w| n of the unit
vectors n, in the vertical Σ |w| ζ of the coordinate

    ζ = ln σ  or  ln (p / p_0),  p_0 = 1000 hPa,  and 0 for variables at the surface.

Observations at one horizontal position, such as the levels of a sounding, form a profile: whatever
depends on horizontal distance alone is the same for all of them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.observations.mixed import ObservationOperator
from models.state import StateSpec

__all__ = [
    "ObservationPositions",
    "Profiles",
    "group_profiles",
    "level_coordinates",
    "observation_positions",
    "unit_vectors",
]

SURFACE_PRESSURE = 1000.0  # hPa
#: Decimals of a degree to which positions are the same, about 10 m.
DECIMALS = 4


@dataclass(frozen=True)
class ObservationPositions:
    """The position of each observation, on the CPU.

    Attributes:
        latitude: Latitude [degrees_north].
        longitude: Longitude in [0, 360) [degrees_east].
        level: Vertical coordinate ζ [1].
        field: The field with the largest weight.
    """

    latitude: Float[Tensor, "obs"]
    longitude: Float[Tensor, "obs"]
    level: Float[Tensor, "obs"]
    field: Int[Tensor, "obs"]


@dataclass(frozen=True)
class Profiles:
    """Observations by horizontal position, padded to the longest profile.

    Attributes:
        latitude: Latitude of each profile [degrees_north].
        longitude: Longitude of each profile [degrees_east].
        index: The profiles' observations; where none is present, any.
        present: Whether there is an observation.
    """

    latitude: Float[Tensor, "profile"]
    longitude: Float[Tensor, "profile"]
    index: Int[Tensor, "profile slot"]
    present: Bool[Tensor, "profile slot"]


def level_coordinates(spec: StateSpec) -> Float[Tensor, "field"]:
    """Return the vertical coordinate ζ of each field [1]."""
    unit = SURFACE_PRESSURE if spec.vertical == "pressure" else 1.0
    levels = [unit if field.level is None else field.level for field in spec.fields]
    return torch.tensor(levels, dtype=torch.float64).div(unit).log()


def unit_vectors(
    latitude: Float[Tensor, "*point"], longitude: Float[Tensor, "*point"]
) -> Float[Tensor, "*point 3"]:
    """Return the unit vectors from the center of the sphere to positions in degrees."""
    north, east = torch.deg2rad(latitude), torch.deg2rad(longitude)
    return torch.stack([north.cos() * east.cos(), north.cos() * east.sin(), north.sin()], -1)


def observation_positions(operator: ObservationOperator, spec: StateSpec) -> ObservationPositions:
    """Return where each observation of an operator is.

    Args:
        operator: The observation operator.
        spec: The state that it observes.

    Raises:
        ValueError: The operator observes states of another shape.
    """
    if tuple(operator.shape) != spec.shape:
        raise ValueError(f"the operator observes {operator.shape}, the state has {spec.shape}")
    points = spec.grid.shape[0] * spec.grid.shape[1]
    index, weight = operator.index.cpu(), operator.weight.cpu().double().abs()
    field = index // points
    row, column = (index % points) // spec.grid.shape[1], index % spec.grid.shape[1]
    share = weight / weight.sum(1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    axes = (spec.grid.latitude, spec.grid.longitude)
    latitude, longitude = (torch.tensor(axis, dtype=torch.float64) for axis in axes)
    x, y, z = (share[..., None] * unit_vectors(latitude[row], longitude[column])).sum(1).unbind(1)
    east = torch.rad2deg(torch.atan2(y, x)) % 360.0
    return ObservationPositions(
        latitude=torch.rad2deg(torch.atan2(z, torch.hypot(x, y))),
        longitude=torch.where(east < 360.0, east, torch.zeros_like(east)),
        level=(share * level_coordinates(spec)[field]).sum(1),
        field=field.gather(1, weight.argmax(1, keepdim=True))[:, 0],
    )


def group_profiles(positions: ObservationPositions) -> Profiles:
    """Gather the observations of each horizontal position, in an order of their own."""
    latitude, longitude = positions.latitude.numpy(), positions.longitude.numpy()
    key = np.stack([latitude.round(DECIMALS), longitude.round(DECIMALS) % 360.0], axis=1)
    places, profile, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    profile = profile.reshape(-1)
    order = np.lexsort((positions.level.numpy(), positions.field.numpy(), profile))
    slot = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    index = np.zeros((len(places), count.max(initial=1)), np.int64)
    present = np.zeros(index.shape, np.bool_)
    index[profile[order], slot], present[profile[order], slot] = order, True
    first = torch.from_numpy(index[:, 0])
    return Profiles(
        positions.latitude[first],
        positions.longitude[first],
        torch.from_numpy(index),
        torch.from_numpy(present),
    )
