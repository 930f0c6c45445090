"""The table of observations: its columns, and which rows are used.

One row is one observed value. The columns are those of earth2studio's observation tables plus
`level`, the model level of values that are on one: SI units, UTC, longitudes 0 to 360 degrees
east. A wrong table (a column is missing or of another type) is refused as a whole; a wrong value
only rejects its own row, with the reason beside it.

References:
    | Ingleby & Lorenc (1993), Bayesian quality control using multivariate normal distributions,
    | doi 10.1002/qj.49711951316 (the background check)
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.observables import WIND_SPEED
from models.observations.stencils import horizontal_stencil, vertical_stencil
from models.plausibility import plausible_range
from models.state import StateSpec

__all__ = ["COLUMNS", "background_check", "screen", "validate_table"]

COLUMNS = {
    "time": "time [UTC]",
    "lat": "latitude [degrees_north]",
    "lon": "longitude [degrees_east]",
    "elev": "elevation of the station [m]",
    "pres": "pressure [Pa]",
    "variable": "name of the observed quantity in the state, or wind_speed",
    "observation": "observed value [SI]",
    "error": "observation-error standard deviation [SI]",
    "type": "report type",
    "station": "identifier of the station",
    "source": "where the observation comes from",
    "quality": "quality mark of the source, 0 if it has none",
    "level": "model level [1 or hPa], NaN if on none",
}
"""Names of the columns and what is in them."""

NUMBERS = ("lat", "lon", "elev", "pres", "observation", "error", "level", "quality")
TEXTS = ("variable", "type", "station", "source")
OPTIONAL = {"level": np.nan}
Numbers = NDArray[np.float64] | pd.Series | float
IDENTITY = ("time", "lat", "lon", "variable", "level", "pres", "station")


def validate_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the right types in a fresh index; columns of sources are kept.

    Raises:
        ValueError: A column is missing or has another type, in one line.
    """
    missing = [name for name in COLUMNS if name not in table and name not in OPTIONAL]
    if missing:
        text = f"column {missing[0]!r} is missing from the observation table; present: "
        raise ValueError(text + ", ".join(str(name) for name in table.columns))
    double = table.columns[table.columns.duplicated()]
    if len(double):
        raise ValueError(f"column {double[0]!r} comes twice in the observation table")
    columns = {"time": naive_utc(table["time"])}
    for name in NUMBERS:
        column = table.get(name, pd.Series(OPTIONAL.get(name), table.index, dtype=np.float64))
        columns[name] = numbers(column, name)
    columns |= {name: texts(table[name], name) for name in TEXTS}
    rest = {name: table[name] for name in table.columns if name not in COLUMNS}
    ordered = {name: columns[name] for name in COLUMNS} | rest
    return pd.DataFrame(ordered).reset_index(drop=True)


def naive_utc(times: pd.Series) -> pd.Series:
    """Return times as datetime64[ns], UTC without a time zone."""
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        if str(times.dtype.tz) != "UTC":
            raise ValueError(f"column 'time' is in the time zone {times.dtype.tz}, allowed: UTC")
        times = times.dt.tz_localize(None)
    if not pd.api.types.is_datetime64_dtype(times.dtype):
        raise ValueError(f"column 'time' has the type {times.dtype}, allowed: datetime64[ns], UTC")
    return times.astype("datetime64[ns]")


def numbers(column: pd.Series, name: str) -> pd.Series:
    """Return a numeric column as float64, or int64 for the quality mark."""
    numeric = pd.api.types.is_numeric_dtype(column.dtype)
    if not numeric or pd.api.types.is_bool_dtype(column.dtype):
        raise ValueError(f"column {name!r} has the type {column.dtype}, allowed: numbers")
    if name != "quality":
        return column.astype(np.float64)
    if column.isna().any() or (column % 1 != 0).any():
        raise ValueError("column 'quality' has values that are not whole numbers")
    return column.astype(np.int64)


def texts(column: pd.Series, name: str) -> pd.Series:
    """Return a column of text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if not len(column):
        return column.astype("str")
    if not pd.api.types.is_string_dtype(column) or column.isna().any():
        raise ValueError(f"column {name!r} has the type {column.dtype}, allowed: text in each row")
    return column.astype("str")


def screen(
    table: pd.DataFrame,
    spec: StateSpec,
    window: tuple[pd.Timestamp, pd.Timestamp] | None = None,
) -> pd.DataFrame:
    """Add the columns `used` and `reason` (why not, else empty) to a validated table.

    Args:
        table: Validated observations.
        spec: The state that is observed: its grid, variables and levels.
        window: First (excluded) and last time; no limits if None.
    """
    reason = np.full(len(table), "", object)

    def reject(bad: NDArray[np.bool_], why: str | NDArray[np.object_]) -> None:
        rows = np.asarray(bad) & (reason == "")
        reason[rows] = why if isinstance(why, str) else why[rows]

    times = table["time"]
    reject(times.isna().to_numpy(), "time is missing")
    if window is not None:
        inside = (times > window[0]) & (times <= window[1])
        reject(~inside.to_numpy(), "time outside the window")
    for stencil in (vertical_stencil(table, spec), horizontal_stencil(table, spec.grid)):
        reject(stencil.reason != "", stencil.reason)
    value, error = table["observation"].to_numpy(), table["error"].to_numpy()
    reject(~np.isfinite(value), "value is not finite")
    reject(~np.isfinite(error), "error is not finite")
    reject(error <= 0, "error is not positive")
    low, high = limits(table["variable"], spec)
    reject((value < low) | (value > high), "value is not plausible")
    good = np.flatnonzero(reason == "")
    twice = table.iloc[good].duplicated(list(IDENTITY)).to_numpy()
    reason[good[twice]] = "duplicate"
    return table.assign(used=reason == "", reason=pd.Series(reason, table.index, dtype="str"))


def limits(
    variable: pd.Series, spec: StateSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the plausible range of each row [SI]."""
    codes, names = pd.factorize(variable)
    known = {WIND_SPEED: plausible_range(WIND_SPEED)}
    known |= {v.name: plausible_range(v.standard_name) for v in spec.variables}
    ranges = np.array([known.get(str(name), (-np.inf, np.inf)) for name in names]).reshape(-1, 2)
    low, high = ranges[codes].T
    return low, high


def background_check(
    table: pd.DataFrame, o_minus_b: Numbers, background_error: Numbers, factor: float = 8.0
) -> pd.DataFrame:
    """Reject used rows with |O−B| > factor · √(σ_o² + σ_b²).

    Args:
        table: Screened observations.
        o_minus_b: Observation minus background of each row [SI]; NaN is not checked.
        background_error: Background-error standard deviation at the observations [SI].
        factor: Allowed number of standard deviations.

    Returns:
        The table with `used` and `reason` brought up to date.
    """
    departure = np.abs(np.broadcast_to(np.asarray(o_minus_b, np.float64), len(table)))
    allowed = factor * np.hypot(table["error"].to_numpy(), np.asarray(background_error))
    bad = table["used"].to_numpy(bool) & (departure > allowed)
    reason = table["reason"].mask(bad, "far from the background")
    return table.assign(used=table["used"].to_numpy(bool) & ~bad, reason=reason)
