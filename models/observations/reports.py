"""Reports as a reader finds them: columns in SI, a temperature, a dew point, a wind by direction.

NaN is "not reported". `tabulate` makes of them what a state holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUANTITIES", "VARIABLES", "Reports"]

Array = NDArray[np.float64]

QUANTITIES = {
    "temperature": "K",
    "dewpoint": "K",
    "relative_humidity": "1",
    "specific_humidity": "kg kg-1",
    "wind_speed": "m s-1",
    "wind_direction": "degree, from where it blows",
    "u": "m s-1",
    "v": "m s-1",
    "geopotential": "m2 s-2",
    "pressure": "Pa, where the values are",
    "height": "m above the sea, where the values are",
    "pressure_altitude": "m in the standard atmosphere, where the values are",
    "station_pressure": "Pa",
    "altimeter": "Pa",
    "sea_level_pressure": "Pa",
    "sea_temperature": "K",
    "refractivity": "1e-6",
    "bending_angle": "rad",
    "impact_parameter": "m",
}
"""What a report can hold, and its unit."""

VARIABLES = {
    "t": "air temperature aloft [K]",
    "q": "specific humidity aloft [kg kg-1]",
    "u": "eastward wind aloft [m s-1]",
    "v": "northward wind aloft [m s-1]",
    "z": "geopotential of a pressure [m2 s-2]",
    "t2m": "air temperature of a surface station [K]",
    "q2m": "specific humidity of a surface station [kg kg-1]",
    "u10": "eastward wind of a surface station [m s-1]",
    "v10": "northward wind of a surface station [m s-1]",
    "sp": "pressure at a station [Pa]",
    "msl": "pressure reduced to the mean sea level [Pa]",
    "sst": "sea temperature near the surface [K]",
    "refractivity": "refractivity of a radio occultation [1e-6]",
    "bending_angle": "bending angle of a radio occultation [rad]",
}
"""Names in the column `variable`."""


@dataclass
class Reports:
    """Columns of one length; a missing quantity is not reported by any.

    Attributes:
        time: UTC; NaT is not valid.
        latitude: [degrees_north].
        longitude: [degrees_east], of any convention in [-180, 360].
        elevation: Of the station [m].
        type: Report type of each.
        station: Identifier of each.
        surface: Whether each is of a surface station.
        values: Quantities by name, SI.
        quality: Provider's flags by quantity; 0 where it has none.
        extra: More columns for the table.
        errors: Observation-error standard deviations that the file gives, by quantity, SI.
    """

    time: NDArray[np.datetime64]
    latitude: Array
    longitude: Array
    elevation: Array
    type: NDArray[np.object_]
    station: NDArray[np.object_]
    surface: NDArray[np.bool_]
    values: Mapping[str, Array]
    quality: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    extra: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    errors: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of reports."""
        return len(self.time)

    @classmethod
    def none(cls) -> "Reports":
        """Return no reports."""
        nothing, names = np.zeros(0), np.zeros(0, object)
        time = np.zeros(0, "datetime64[ns]")
        return cls(time, nothing, nothing, nothing, names, names, np.zeros(0, bool), {})

    def of(self, name: str) -> Array:
        """Return a quantity, NaN where it is not reported."""
        found = self.values.get(name)
        return np.full(len(self), np.nan) if found is None else np.asarray(found, np.float64)
