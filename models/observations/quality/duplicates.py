"""The same thing said twice: duplicates, and several reports of a station in one window.

A duplicate is the same variable at the same place, time and level, of the same station or with the
same value: messages are sent again, and under other headers and identifiers. What differs by less
than 0.01 degrees, 0.1 hPa or a minute's last digit is the same. The first row of the best quality
stays; of several reports of a station at one place the one nearest to the time it is compared at.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["duplicated", "repeated"]

Rows = NDArray[np.bool_]
Array = NDArray[np.float64]
MINUTE = 60 * 10**9


def duplicated(table: pd.DataFrame, candidates: Rows) -> Rows:
    """Tell which candidates say what an earlier or better one has said.

    Args:
        table: Observations.
        candidates: Rows that nothing speaks against.
    """
    rows = np.flatnonzero(candidates)
    rows = rows[np.argsort(table["quality"].to_numpy()[rows], kind="stable")]
    own = table.iloc[rows]
    minute = own["time"].to_numpy("datetime64[ns]").astype(np.int64) // MINUTE
    place = _place(own).assign(time=minute)
    by_station = place.assign(station=own["station"].to_numpy()).duplicated().to_numpy()
    by_value = place.assign(value=_digits(own["observation"])).duplicated().to_numpy()
    found = np.zeros(len(table), bool)
    found[rows[by_station | by_value]] = True
    return found


def repeated(table: pd.DataFrame, candidates: Rows, offset: Array) -> Rows:
    """Tell which candidates are farther in time than another one of the same station and place.

    Args:
        table: Observations.
        candidates: Rows that nothing speaks against.
        offset: Distance of each from the time it is compared at [s].
    """
    named = (table["station"] != "").to_numpy(bool)
    rows = np.flatnonzero(candidates & named)
    rows = rows[np.argsort(np.abs(offset[rows]), kind="stable")]
    own = table.iloc[rows]
    place = _place(own).assign(station=own["station"].to_numpy(), type=own["type"].to_numpy())
    found = np.zeros(len(table), bool)
    found[rows[place.duplicated().to_numpy()]] = True
    return found


def _place(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is the same of two values of one thing; the missing counts as a value."""
    surface = table["variable"].isin(["t2m", "q2m", "u10", "v10", "sp", "msl", "sst"])
    pressure = table["pres"].mask(surface)  # there it depends on the weather
    return pd.DataFrame(
        {
            "variable": pd.factorize(table["variable"])[0],
            "lat": np.round(table["lat"].to_numpy(np.float64) * 100.0),
            "lon": np.round(table["lon"].to_numpy(np.float64) * 100.0) % 36_000.0,
            "pres": np.round(pressure.to_numpy(np.float64) / 10.0),
            "level": table["level"].to_numpy(np.float64),
        }
    )


def _digits(values: pd.Series) -> Array:
    """Return values rounded to six digits."""
    value = values.to_numpy(np.float64)
    size = np.floor(np.log10(np.maximum(np.abs(value), 1e-12)))
    scale = 10.0 ** (5.0 - size)
    return np.asarray(np.round(value * scale) / scale)
