"""Where and when something is observed, before it has a value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.observables import observables
from models.state import StateSpec

__all__ = ["Sites", "unobserved"]

HECTOPASCAL = 100.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sites:
    """One entry for each observation.

    Attributes:
        field: What is observed, a position in `observables`.
        latitude: Latitude [degrees_north].
        longitude: Longitude, 0 to 360 [degrees_east].
        station: Identifier of the station, or one for all.
        slot: Which time of the window, or one for all.
    """

    field: NDArray[np.int64]
    latitude: Floats
    longitude: Floats
    station: NDArray[np.object_] | str = ""
    slot: NDArray[np.int64] | int = 0


def unobserved(
    sites: Sites, spec: StateSpec, kind: str, times: Sequence[pd.Timestamp]
) -> pd.DataFrame:
    """Return the table of the sites, still without values.

    Args:
        sites: Where and when.
        spec: The state.
        kind: The report type.
        times: The times of the window.
    """
    count, fields = len(sites.field), observables(spec)
    names = np.array([field.variable for field in fields], object)
    level = np.array([np.nan if f.level is None else f.level for f in fields])[sites.field]
    nothing = np.full(count, np.nan)
    pressure = level * HECTOPASCAL if spec.vertical == "pressure" else nothing
    own = np.array([time.to_datetime64() for time in times], "datetime64[ns]")[sites.slot]
    columns = {
        "time": np.array(np.broadcast_to(own, count)),
        "lat": sites.latitude,
        "lon": sites.longitude,
        "elev": nothing,
        "pres": pressure,
        "variable": pd.Series(names[sites.field], dtype="str"),
        "observation": nothing,
        "error": nothing,
        "type": kind,
        "station": pd.Series(sites.station, index=range(count), dtype="str"),
        "source": "twin",
        "quality": np.zeros(count, np.int64),
        "level": level,
    }
    return pd.DataFrame(columns)
