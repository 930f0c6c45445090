"""What can be observed of a state: its fields, and the wind speed where it has both components.

A wind speed is |(u, v)| of the interpolated components. They are found by their CF standard names
and must be on the same levels; winds on levels come before those at the surface. A state that has
a variable of that name itself observes the variable.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.state import Field, StateSpec, Variable

__all__ = [
    "EASTWARD",
    "NORTHWARD",
    "WIND_SPEED",
    "deviations",
    "observables",
    "sources",
    "wind_pair",
]

WIND_SPEED = "wind_speed"
EASTWARD, NORTHWARD = "eastward_wind", "northward_wind"


def wind_pair(spec: StateSpec) -> tuple[Variable, Variable] | None:
    """Return the eastward and northward wind that a speed is made of; None if there is none."""
    if any(variable.name == WIND_SPEED for variable in spec.variables):
        return None
    pairs = [
        (u, v)
        for u in spec.variables
        for v in spec.variables
        if (u.standard_name, v.standard_name) == (EASTWARD, NORTHWARD) and u.levels == v.levels
    ]
    return min(pairs, key=lambda pair: pair[0].levels is None, default=None)


def sources(spec: StateSpec) -> dict[str, Variable]:
    """Return for each observed variable the one of the state whose levels it is on."""
    pair = wind_pair(spec)
    own = {variable.name: variable for variable in spec.variables}
    return own if pair is None else own | {WIND_SPEED: pair[0]}


def observables(spec: StateSpec) -> tuple[Field, ...]:
    """Return all that can be observed at a point: the state's fields, then wind speeds."""
    pair = wind_pair(spec)
    levels = () if pair is None else pair[0].levels or (None,)
    return (*spec.fields, *(Field(WIND_SPEED, level) for level in levels))


def deviations(spec: StateSpec, std: Float[Tensor, "field"]) -> Float[Tensor, "observable"]:
    """Return the standard deviation of each observable [SI]; a speed has its components' mean."""
    pair = wind_pair(spec)
    if pair is None:
        return std
    u, v = (std[spec.slices[variable.name]] for variable in pair)
    return torch.cat([std, (u + v) / 2])
