"""What an instrument would have read in a column of the model; a pure function for each variable.

Aloft: wind and humidity linear in ln p; temperature likewise, and below the lowest level with the
standard lapse rate Γ,  T = T_K (p / p_K)^{RΓ/g};  the geopotential hydrostatic,

    Φ(p) = Φ_s + R T_K ln(p_s / p_K) + R ∫ T_v d ln p   with T_v linear in ln p.

At a station h above the model's ground:

    T_s = T_K σ_K^{-RΓ/g},    t2m = T_s - Γ h,    p = p_s (1 - Γ h / T_vs)^{g/RΓ},

and the sea-level pressure with h the height of the sea; this is exact in an atmosphere with the lapse
rate Γ. The wind at 10 m follows the neutral logarithmic profile from the lowest level, with the
roughness of land and sea; stability and everything that is smaller than a grid cell is left to the
observation error.

A sounder's channel sees the radiance of a gas that is well mixed, whose lines are broadened by
pressure: the optical depth is (p/p_c)², so its weighting function peaks at p_c, the column `pres`:

    B(T_B) = Σ_k B(T_k) (τ_{k-½} - τ_{k+½}) + τ(p_s) B(T_s),   τ(p) = exp(-(p/p_c)²),

with Planck's law B at 700 cm⁻¹, the 15 μm band of carbon dioxide.

References:
    | Wallace & Hobbs (2006), Atmospheric science, sections 3.2 (hypsometric), 4.5 (weighting
    | functions), 9.3 (logarithmic profile)
    | WMO No. 8 (2023), volume I, chapter 3, annex 3.A (reduction of pressure)
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from models.observations.columns import Column, interpolate
from models.observations.operator import length

__all__ = ["DRY_AIR", "EQUIVALENTS", "GRAVITY", "LAPSE", "Equivalent", "needed"]

Values = Float[Tensor, "batch obs"]
Equivalent = Callable[[Column], Tensor]

GRAVITY, DRY_AIR, LAPSE = 9.80665, 287.05287, 0.0065
POWER = DRY_AIR * LAPSE / GRAVITY
MOIST = 0.60776
"""Molar mass of dry air over that of water, minus 1."""
LAND_ROUGHNESS, SEA_ROUGHNESS = 0.1, 2e-4
LOW_TEMPERATURE = 280.0
PLANCK = 1.438777 * 700.0
"""h c / k times the wavenumber [K]."""


def temperature(column: Column) -> Values:
    """Return the temperature at the observations' pressures [K]."""
    depth, nodes = column.depth, column.nodes
    between = interpolate(column.profile("t"), depth, nodes)
    return between * torch.exp(POWER * (depth - nodes[-1]).clamp(min=0))


def eastward_wind(column: Column) -> Values:
    """Return the eastward wind at the observations' pressures [m s-1]."""
    return interpolate(column.profile("u"), column.depth, column.nodes)


def northward_wind(column: Column) -> Values:
    """Return the northward wind at the observations' pressures [m s-1]."""
    return interpolate(column.profile("v"), column.depth, column.nodes)


def wind_speed(column: Column) -> Values:
    """Return the wind speed at the observations' pressures [m s-1]."""
    return length(eastward_wind(column), northward_wind(column))


def humidity(column: Column) -> Values:
    """Return the specific humidity at the observations' pressures [kg kg-1]."""
    return interpolate(column.profile("q"), column.depth, column.nodes)


def geopotential(column: Column) -> Values:
    """Return the geopotential of the observations' pressures [m2 s-2]."""
    depth, nodes = column.depth, column.nodes
    warm = column.profile("t") * (1.0 + MOIST * column.profile("q"))
    thickness = (nodes[1:] - nodes[:-1])[:, None]
    share = ((nodes[1:, None] - depth[:, None]) / thickness).clamp(0, 1)
    layers = thickness * share * (warm[:, 1:] - 0.5 * share * warm.diff(dim=1))
    above = warm[:, 0] * (nodes[0] - depth).clamp(min=0)
    below = warm[:, -1] * (-nodes[-1] - (depth - nodes[-1]).clamp(min=0))
    return GRAVITY * column.of_place("ground") + DRY_AIR * (below + layers.sum(1) + above)


def ground_temperature(column: Column) -> Values:
    """Return the temperature at the model's ground, T_s [K]."""
    return column.lowest("t") * torch.exp(-POWER * column.nodes[-1])


def temperature_2m(column: Column) -> Values:
    """Return the temperature at the stations' elevation [K]."""
    return ground_temperature(column) - LAPSE * height_above_ground(column)


def height_above_ground(column: Column) -> Float[Tensor, "obs"]:
    """Return how far stations are above the model's ground, h [m]."""
    return column.of_place("elevation") - column.of_place("ground")


def humidity_2m(column: Column) -> Values:
    """Return the specific humidity of the lowest level [kg kg-1]."""
    return column.lowest("q")


def pressure_above(column: Column, height: Float[Tensor, "obs"]) -> Values:
    """Return the pressure at heights above the model's ground [Pa]."""
    warm = ground_temperature(column) * (1.0 + MOIST * column.lowest("q"))
    ratio = (1.0 - LAPSE * height / warm).clamp(min=0.1)
    return column.surface_pressure * ratio ** (1.0 / POWER)


def station_pressure(column: Column) -> Values:
    """Return the pressure at the stations' elevation [Pa]."""
    return pressure_above(column, height_above_ground(column))


def sea_level_pressure(column: Column) -> Values:
    """Return the pressure reduced to the mean sea level [Pa]."""
    return pressure_above(column, -column.of_place("ground"))


def wind_factor(column: Column) -> Float[Tensor, "obs"]:
    """Return the wind at 10 m over that on the lowest level [1]."""
    level = -DRY_AIR * LOW_TEMPERATURE / GRAVITY * float(column.nodes[-1])
    land, sea = (
        math.log(10.0 / rough) / math.log(max(level, 10.0) / rough)
        for rough in (LAND_ROUGHNESS, SEA_ROUGHNESS)
    )
    return sea + (land - sea) * column.of_place("land")


def eastward_wind_10m(column: Column) -> Values:
    """Return the eastward wind at 10 m [m s-1]."""
    return wind_factor(column) * column.lowest("u")


def northward_wind_10m(column: Column) -> Values:
    """Return the northward wind at 10 m [m s-1]."""
    return wind_factor(column) * column.lowest("v")


def radiance(temperature: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return Planck's law at 700 cm⁻¹, without its constant factor [1]."""
    return torch.reciprocal(torch.expm1(PLANCK / temperature))


def weighting(column: Column) -> Float[Tensor, "batch weight obs"]:
    """Return the weights of the layers from the top down, and of the ground; their sum is 1."""
    peak = column.of_place("pressure")
    transmittance = torch.exp(-((column.pressure_edges / peak) ** 2))
    layers = transmittance[:, :-1] - transmittance[:, 1:]
    return torch.cat([layers, transmittance[:, -1:]], 1)


def brightness_temperature(column: Column) -> Values:
    """Return the brightness temperature of channels with their peak at the given pressures [K]."""
    air = column.profile("t")
    ground = ground_temperature(column) if column.places.sigma else air[:, -1]
    source = radiance(torch.cat([air, ground[:, None]], 1))
    return PLANCK / torch.log1p(torch.reciprocal((weighting(column) * source).sum(1)))


EQUIVALENTS: dict[str, tuple[Equivalent, tuple[str, ...]]] = {
    "t": (temperature, ("t", "sp")),
    "u": (eastward_wind, ("u", "sp")),
    "v": (northward_wind, ("v", "sp")),
    "wind_speed": (wind_speed, ("u", "v", "sp")),
    "q": (humidity, ("q", "sp")),
    "z": (geopotential, ("t", "q", "sp")),
    "t2m": (temperature_2m, ("t",)),
    "q2m": (humidity_2m, ("q",)),
    "u10": (eastward_wind_10m, ("u",)),
    "v10": (northward_wind_10m, ("v",)),
    "sp": (station_pressure, ("t", "q", "sp")),
    "msl": (sea_level_pressure, ("t", "q", "sp")),
    "brightness_temperature": (brightness_temperature, ("t", "sp")),
}
"""By observed variable, what it is in a column, and which variables of the state that needs."""
ON_PRESSURE_LEVELS = ("brightness_temperature",)


def needed(name: str, sigma: bool) -> tuple[str, ...] | None:
    """Return the variables that an observed one needs; None if there is no operator for it."""
    if name not in EQUIVALENTS or not (sigma or name in ON_PRESSURE_LEVELS):
        return None
    found = EQUIVALENTS[name][1]
    return found if sigma else tuple(part for part in found if part != "sp")
