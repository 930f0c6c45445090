"""Values that no instrument measured: sentinels, and what no atmosphere has.

References:
    | WMO No. 8 (2023), Guide to Instruments and Methods of Observation, volume V, chapter 1
    | WMO (2022), Global weather & climate extremes archive, https://wmo.asu.edu
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations import conversions as convert
from models.observations.errors import report_temperature
from models.plausibility import plausible_range

__all__ = [
    "impossible_places",
    "impossible_values",
    "sentinels",
    "supersaturated",
    "unfitting_pressures",
]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]

MISSING = (
    *(9999.0, 99999.0, 999999.0, 888888.0, 8888.0, 32767.0, 2147483647.0),
    *(1e9, 1e10, 1e38, 9.96921e36, 3.4028235e38, 1e100, 1.7976931348623157e308),
)
"""What the formats write for a missing value, of either sign."""
LIMITS = {
    **dict.fromkeys(("t", "t2m"), "air_temperature"),
    **dict.fromkeys(("q", "q2m"), "specific_humidity"),
    **dict.fromkeys(("u", "u10"), "eastward_wind"),
    **dict.fromkeys(("v", "v10"), "northward_wind"),
    "z": "geopotential",
    "sp": "surface_air_pressure",
    "msl": "air_pressure_at_mean_sea_level",
    "sst": "sea_surface_temperature",
    "wind_speed": "wind_speed",
    "brightness_temperature": "air_temperature",
}
STRONGEST = ((30_000.0, 150.0), (50_000.0, 130.0), (70_000.0, 100.0), (120_000.0, 85.0))
"""Strongest wind [m s-1] down to a pressure [Pa]; the record at the ground is a gust of 113."""
COLDER, WARMER = 110.0, 50.0
"""Temperatures may differ so much from the standard atmosphere's [K]."""
SATURATION = 1.1
TOLERANCE, PART = 500.0, 0.1
WINDS = ("u", "v", "u10", "v10", "wind_speed")


def sentinels(value: Array) -> Rows:
    """Tell which values stand for a missing one."""
    found = np.zeros(len(value), bool)
    size = np.abs(value)
    for missing in MISSING:
        found |= np.abs(size - missing) <= 1e-6 * missing
    return found


def impossible_values(table: pd.DataFrame) -> Rows:
    """Tell which values are outside what the Earth's atmosphere has, at their pressure."""
    value, pressure = (table[name].to_numpy(np.float64) for name in ("observation", "pres"))
    codes, names = pd.factorize(table["variable"])
    ranges = [plausible_range(LIMITS.get(str(name), "")) for name in names]
    low, high = np.array([*ranges, (-np.inf, np.inf)], np.float64)[codes].T
    wrong = (value < low) | (value > high)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = pressure > 0
        strongest = np.full(len(value), np.inf)
        for bottom, speed in STRONGEST[::-1]:
            strongest = np.where(known & (pressure <= bottom), speed, strongest)
        wrong |= table["variable"].isin(WINDS).to_numpy() & (np.abs(value) > strongest)
        standard = convert.standard_temperature(convert.pressure_to_height(pressure))
        warm = (value > standard + WARMER) | (value < standard - COLDER)
    return np.asarray(wrong | table["variable"].isin(["t", "t2m"]).to_numpy() & warm)


def impossible_places(table: pd.DataFrame) -> Rows:
    """Tell which rows have a pressure or an elevation that no station or balloon has."""
    pressure, elevation = (table[name].to_numpy(np.float64) for name in ("pres", "elev"))
    with np.errstate(invalid="ignore"):
        wrong = (pressure <= 0) | (pressure > 115_000.0) | np.isinf(pressure)
        wrong |= (elevation < -500.0) | (elevation > 9_000.0)
    return np.asarray(wrong)


def supersaturated(table: pd.DataFrame, limit: float = SATURATION) -> Rows:
    """Tell which humidities are above that of saturation at their report's temperature."""
    humid = np.flatnonzero(table["variable"].isin(["q", "q2m"]).to_numpy())
    found = np.zeros(len(table), bool)
    if len(humid):
        own = report_temperature(table)[humid]
        pressure = table["pres"].to_numpy(np.float64)[humid]
        full = convert.specific_humidity(convert.saturation_vapour_pressure(own), pressure)
        value = table["observation"].to_numpy(np.float64)[humid]
        with np.errstate(invalid="ignore"):
            found[humid] = value > limit * full
    return found


def unfitting_pressures(table: pd.DataFrame) -> Rows:
    """Tell which station pressures are not those of their elevation in any weather.

    The height of the pressure in the standard atmosphere may differ from the elevation by 500 m
    and a tenth of it: 50 hPa at sea level, and layers a tenth colder or warmer.
    """
    pressure, elevation = (table[name].to_numpy(np.float64) for name in ("observation", "elev"))
    height = convert.pressure_to_height(pressure)
    with np.errstate(invalid="ignore"):
        wrong = np.abs(height - elevation) > TOLERANCE + PART * np.abs(elevation)
    return np.asarray((table["variable"] == "sp").to_numpy() & wrong)
