"""What values a quantity can take on Earth: wide limits that catch wrong units and gross errors.

The limits hold from the surface to 1 hPa and leave room for measurement errors (small humidities
and wind speeds below zero, for instance). They are meant to find a temperature in degrees Celsius
or a pressure in hPa, not to replace a background check.

References:
    | WMO (2022), Global weather & climate extremes archive, https://wmo.asu.edu
"""

import math

from jaxtyping import Float
from torch import Tensor

from models.state import StateSpec

__all__ = ["PLAUSIBLE", "check_plausible", "plausible_range"]

UNLIMITED = (-math.inf, math.inf)
PLAUSIBLE: dict[str, tuple[float, float]] = {
    "air_pressure_at_mean_sea_level": (85_000.0, 110_000.0),
    "air_pressure_at_sea_level": (85_000.0, 110_000.0),
    "air_temperature": (140.0, 350.0),
    "dew_point_temperature": (100.0, 320.0),
    "eastward_wind": (-200.0, 200.0),
    "geopotential": (-10_000.0, 600_000.0),
    "geopotential_height": (-1_000.0, 61_000.0),
    "lagrangian_tendency_of_air_pressure": (-100.0, 100.0),
    "northward_wind": (-200.0, 200.0),
    "precipitation_amount": (-1.0, 2_000.0),
    "relative_humidity": (-0.5, 2.0),
    "sea_surface_temperature": (260.0, 320.0),
    "specific_humidity": (-0.01, 0.06),
    "surface_air_pressure": (30_000.0, 112_000.0),
    "surface_temperature": (150.0, 360.0),
    "wind_speed": (-10.0, 250.0),
}


def plausible_range(standard_name: str) -> tuple[float, float]:
    """Return the least and the largest plausible value of a quantity by its CF name [SI]."""
    return PLAUSIBLE.get(standard_name, UNLIMITED)


def check_plausible(x: Float[Tensor, "*batch field lat lon"], spec: StateSpec) -> None:
    """Refuse states with values that no atmosphere has.

    Raises:
        ValueError: A value is out of range; the message names the field, the value, its place and
            what is allowed.
    """
    for variable in spec.variables:
        low, high = plausible_range(variable.standard_name)
        part = x[..., spec.slices[variable.name], :, :]
        bad = ~((part >= low) & (part <= high))
        if not bad.any():
            continue
        *_, level, row, column = (int(axis) for axis in bad.nonzero()[0])
        name = spec.field_names[spec.slices[variable.name].start + level]
        value = float(part[tuple(bad.nonzero()[0])])
        where = f"latitude {spec.grid.latitude[row]:g}, longitude {spec.grid.longitude[column]:g}"
        count = f"{int(bad.sum())} of {bad.numel()} values are not plausible"
        allowed = f"allowed: {low:g} to {high:g} {variable.units}"
        raise ValueError(f"variable {name!r}: {count}, such as {value:g} at {where}; {allowed}")
