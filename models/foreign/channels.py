"""Channels of other people's models, by earth2studio's names: `z500`, `u10m`, `t2m`, `msl`.

A name with a number is a quantity on a pressure level [hPa]; `t@0.51`, as a state names its own
fields, is one on a sigma level; all others are at the surface. The name fixes the quantity (its CF
standard name) and, if the model's card says nothing else, the unit.

References:
    | NVIDIA, earth2studio, lexicon, https://github.com/NVIDIA/earth2studio (earth2studio/lexicon)
    | Rasp et al. (2024), WeatherBench 2, doi 10.1029/2023MS004019 (the long names)
"""

import re
from typing import NamedTuple

from models.state import StateSpec
from models.variables import Variable

__all__ = ["Channel", "Quantity", "channel", "channels_of"]


class Quantity(NamedTuple):
    """What a channel holds.

    Attributes:
        standard_name: CF standard name.
        units: Unit in the models that earth2studio knows.
        names: Names of a state's variable that mean it; the first is WeatherBench's.
    """

    standard_name: str
    units: str
    names: tuple[str, ...]


EASTWARD, NORTHWARD, TEMPERATURE = "eastward_wind", "northward_wind", "air_temperature"
ON_LEVELS = {
    "z": Quantity("geopotential", "m2 s-2", ("z", "geopotential")),
    "t": Quantity(TEMPERATURE, "K", ("t", "temperature")),
    "u": Quantity(EASTWARD, "m s-1", ("u", "u_component_of_wind")),
    "v": Quantity(NORTHWARD, "m s-1", ("v", "v_component_of_wind")),
    "q": Quantity("specific_humidity", "kg kg-1", ("q", "specific_humidity")),
    "r": Quantity("relative_humidity", "%", ("r", "relative_humidity")),
    "w": Quantity("lagrangian_tendency_of_air_pressure", "Pa s-1", ("w", "vertical_velocity")),
}
AT_SURFACE = {
    "u10m": Quantity(EASTWARD, "m s-1", ("u10", "u10m", "10u", "10m_u_component_of_wind")),
    "v10m": Quantity(NORTHWARD, "m s-1", ("v10", "v10m", "10v", "10m_v_component_of_wind")),
    "u100m": Quantity(EASTWARD, "m s-1", ("u100m", "100u", "100m_u_component_of_wind")),
    "v100m": Quantity(NORTHWARD, "m s-1", ("v100m", "100v", "100m_v_component_of_wind")),
    "t2m": Quantity(TEMPERATURE, "K", ("t2m", "2t", "2m_temperature")),
    "d2m": Quantity("dew_point_temperature", "K", ("d2m", "2d", "2m_dewpoint_temperature")),
    "sst": Quantity("sea_surface_temperature", "K", ("sst", "sea_surface_temperature")),
    "msl": Quantity("air_pressure_at_mean_sea_level", "Pa", ("msl", "mean_sea_level_pressure")),
    "sp": Quantity("surface_air_pressure", "Pa", ("sp", "surface_pressure")),
    "tcwv": Quantity(
        "atmosphere_mass_content_of_water_vapor",
        "kg m-2",
        ("tcwv", "total_column_water_vapour"),
    ),
}
ON_LEVEL = re.compile(rf"([{''.join(ON_LEVELS)}])(\d+)")
ON_SIGMA = re.compile(rf"([{''.join(ON_LEVELS)}])@([0-9.]+)")


class Channel(NamedTuple):
    """One field of another model.

    Attributes:
        name: Its name.
        quantity: What it holds.
        level: Pressure [hPa] or sigma [1]; None at the surface.
        vertical: Which of the two; None at the surface.
    """

    name: str
    quantity: Quantity
    level: float | None = None
    vertical: str | None = None

    def is_of(self, variable: Variable) -> bool:
        """Tell whether a state's variable has the name of the channel's quantity."""
        surface = variable.levels is None
        return variable.name in self.quantity.names and surface == (self.level is None)


def channel(name: str) -> Channel:
    """Return the channel of a name.

    Raises:
        ValueError: The name is none of a channel.
    """
    if name in AT_SURFACE:
        return Channel(name, AT_SURFACE[name])
    for pattern, vertical in ((ON_LEVEL, "pressure"), (ON_SIGMA, "sigma")):
        if found := pattern.fullmatch(name):
            return Channel(name, ON_LEVELS[found[1]], float(found[2]), vertical)
    surface = ", ".join(AT_SURFACE)
    allowed = f"{surface}, or one of {', '.join(ON_LEVELS)} with a pressure level such as z500"
    raise ValueError(f"channel {name!r} is unknown; allowed: {allowed}")


def channels_of(spec: StateSpec) -> tuple[str, ...]:
    """Return the names of a state's fields as channels, in the order of the state.

    Raises:
        ValueError: A variable is none that channels know.
    """
    names = []
    for variable in spec.variables:
        table = AT_SURFACE if variable.levels is None else ON_LEVELS
        found = [name for name, quantity in table.items() if variable.name in quantity.names]
        if not found:
            allowed = ", ".join(quantity.names[0] for quantity in table.values())
            raise ValueError(f"variable {variable.name!r} is no channel's; allowed: {allowed}")
        if variable.levels is None:
            names.append(found[0])
            continue
        at = "@" if spec.vertical == "sigma" else ""
        names += [f"{found[0]}{at}{level:g}" for level in variable.levels]
    return tuple(names)
