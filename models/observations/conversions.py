"""What stations report → what the state holds; pure functions of arrays, NaN in, NaN out.

All arguments and results are SI. The saturation vapour pressure is over water at all temperatures,
as the humidity of WMO reports is by convention (WMO No. 8, part I, chapter 4).

References:
    | WMO No. 8 (2023), Guide to Instruments and Methods of Observation, volume I, annexes 4.A, 4.B
    | Alduchov & Eskridge (1996), Improved Magnus form approximation of saturation vapor pressure,
    | doi 10.1175/1520-0450(1996)035<0601:IMFAOS>2.0.CO;2 (equation 21)
    | ICAO Doc 7488/3 (1993), Manual of the ICAO standard atmosphere, equations 8, 11 to 14
    | Wallace & Hobbs (2006), Atmospheric science, equations 3.29 (hypsometric), 3.16 (T_v)
    | NWS (1998), ASOS User's Guide, section 3.4.2 (altimeter setting)
"""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GRAVITY",
    "altimeter_to_station_pressure",
    "dewpoint_to_specific_humidity",
    "height_to_pressure",
    "hypsometric_pressure",
    "longitude_360",
    "pressure_to_height",
    "relative_to_specific_humidity",
    "saturation_vapour_pressure",
    "specific_humidity",
    "standard_temperature",
    "station_to_surface_pressure",
    "virtual_temperature",
    "wind_components",
]

Array = NDArray[np.float64]

GRAVITY = 9.80665
DRY_AIR = 287.05287
"""Gas constant of dry air [J kg-1 K-1]."""
EPSILON = 0.62198
"""Ratio of the molar masses of water and dry air (WMO No. 8, annex 4.B)."""
MAGNUS = (610.94, 17.625, 243.04)
"""Equation 21 of Alduchov & Eskridge: [Pa], [1], [degrees Celsius]."""
FREEZING = 273.15
LAYERS = (
    (-5000.0, 320.65, -0.0065),
    (11_000.0, 216.65, 0.0),
    (20_000.0, 216.65, 0.001),
    (32_000.0, 228.65, 0.0028),
    (47_000.0, 270.65, 0.0),
    (51_000.0, 270.65, -0.0028),
    (71_000.0, 214.65, -0.002),
)
"""ICAO layers: geopotential height of the base [m], temperature [K], lapse rate [K m-1]."""
SEA_LEVEL = (101_325.0, 288.15, -0.0065)


def wind_components(speed: Array, direction: Array) -> tuple[Array, Array]:
    """Return u and v [m s-1] of a wind from `direction` [degrees, clockwise from north]."""
    angle = np.radians(direction)
    u, v = -speed * np.sin(angle), -speed * np.cos(angle)
    calm = speed == 0  # has no direction
    return np.where(calm, 0.0, u), np.where(calm, 0.0, v)


def longitude_360(longitude: Array) -> Array:
    """Return longitudes in [0, 360); what is outside [-180, 360] is NaN."""
    inside = (longitude >= -180.0) & (longitude <= 360.0)
    turned = np.mod(np.where(inside, longitude, np.nan), 360.0)
    return np.where(turned == 360.0, 0.0, turned)  # np.mod(-1e-15, 360) is 360


def saturation_vapour_pressure(temperature: Array) -> Array:
    """Return the vapour pressure of saturation over water [Pa]."""
    scale, slope, offset = MAGNUS
    celsius = temperature - FREEZING
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        pressure = scale * np.exp(slope * celsius / (celsius + offset))
    return np.where(celsius > -120.0, pressure, np.nan)


def specific_humidity(vapour_pressure: Array, pressure: Array) -> Array:
    """Return q [kg kg-1]; NaN where the vapour pressure is not below the pressure."""
    with np.errstate(divide="ignore", invalid="ignore"):
        q = EPSILON * vapour_pressure / (pressure - (1.0 - EPSILON) * vapour_pressure)
    return np.where(vapour_pressure < pressure, q, np.nan)


def dewpoint_to_specific_humidity(dewpoint: Array, pressure: Array) -> Array:
    """Return q [kg kg-1] of air with a dew point [K] at a pressure [Pa]."""
    return specific_humidity(saturation_vapour_pressure(dewpoint), pressure)


def relative_to_specific_humidity(relative: Array, temperature: Array, pressure: Array) -> Array:
    """Return q [kg kg-1] of air with a relative humidity [1] at a temperature and pressure."""
    return specific_humidity(relative * saturation_vapour_pressure(temperature), pressure)


def virtual_temperature(temperature: Array, q: Array) -> Array:
    """Return the temperature of dry air of the same density [K]; humidity NaN counts as none."""
    return temperature * (1.0 + (1.0 / EPSILON - 1.0) * np.nan_to_num(q))


def hypsometric_pressure(pressure: Array, rise: Array, layer_temperature: Array) -> Array:
    """Return the pressure [Pa] `rise` [m] higher, the layer's mean virtual temperature given."""
    return pressure * np.exp(-GRAVITY * rise / (DRY_AIR * layer_temperature))


def station_to_surface_pressure(
    pressure: Array, station_height: Array, surface_height: Array, temperature: Array
) -> Array:
    """Return the pressure at the model's surface [Pa] from that at a station.

    The layer between them has the standard lapse rate; its mean is that of half way.

    Args:
        pressure: At the station [Pa].
        station_height: Of the barometer above the sea [m].
        surface_height: Of the model's surface at the station [m].
        temperature: Virtual temperature at the station [K].
    """
    rise = surface_height - station_height
    return hypsometric_pressure(pressure, rise, temperature + 0.5 * SEA_LEVEL[2] * rise)


def altimeter_to_station_pressure(altimeter: Array, station_height: Array) -> Array:
    """Return the station pressure [Pa] from the altimeter setting [Pa] (QNH).

    The setting is the sea-level pressure of the standard atmosphere that has the station's
    pressure at its height.
    """
    standard, temperature, lapse = SEA_LEVEL
    power = -lapse * DRY_AIR / GRAVITY
    with np.errstate(invalid="ignore"):
        term = altimeter**power + lapse / temperature * standard**power * station_height
        return np.where(term > 0, np.abs(term) ** (1.0 / power), np.nan)


def _bases() -> tuple[tuple[float, float, float, float], ...]:
    """Return the layers with the pressure of their bases [Pa]."""
    standard, temperature, lapse = SEA_LEVEL
    power = -GRAVITY / (DRY_AIR * lapse)
    pressure = standard * (LAYERS[0][1] / temperature) ** power
    bases = []
    for layer, above in zip(LAYERS, (*LAYERS[1:], None), strict=True):
        bases.append((*layer, pressure))
        if above is not None:
            pressure = float(_in_layer(np.array(above[0]), *layer, pressure))
    return tuple(bases)


def _in_layer(height: Array, base: float, temperature: float, lapse: float, at: float) -> Array:
    rise = height - base
    if lapse == 0.0:
        return at * np.exp(-GRAVITY * rise / (DRY_AIR * temperature))
    ratio = np.maximum(1.0 + lapse * rise / temperature, 1e-9)
    return np.asarray(at * ratio ** (-GRAVITY / (DRY_AIR * lapse)))


BASES = _bases()
TOP = 80_000.0


def height_to_pressure(height: Array) -> Array:
    """Return the pressure [Pa] of a pressure altitude [m] in the ICAO standard atmosphere."""
    inside = (height >= LAYERS[0][0]) & (height <= TOP)
    own = np.where(inside, height, np.nan)
    pressure = np.full(np.shape(height), np.nan)
    for base, temperature, lapse, at in BASES:
        layer = _in_layer(own, base, temperature, lapse, at)
        pressure = np.where(own >= base, layer, pressure)
    return pressure


def pressure_to_height(pressure: Array) -> Array:
    """Return the pressure altitude [m] of a pressure [Pa] in the ICAO standard atmosphere."""
    height = np.full(np.shape(pressure), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        for base, temperature, lapse, at in BASES:
            ratio = np.where(pressure > 0, pressure, np.nan) / at
            power = -DRY_AIR * lapse / GRAVITY
            rise = (
                -DRY_AIR * temperature / GRAVITY * np.log(ratio)
                if lapse == 0.0
                else temperature / lapse * (ratio**power - 1.0)
            )
            height = np.where(ratio <= 1.0, base + rise, height)
    return np.where(height <= TOP, height, np.nan)


def standard_temperature(height: Array) -> Array:
    """Return the temperature [K] at a pressure altitude [m] in the ICAO standard atmosphere."""
    inside = (height >= LAYERS[0][0]) & (height <= TOP)
    own = np.where(inside, height, np.nan)
    temperature = np.full(np.shape(height), np.nan)
    for base, at_base, lapse in LAYERS:
        temperature = np.where(own >= base, at_base + lapse * (own - base), temperature)
    return temperature
