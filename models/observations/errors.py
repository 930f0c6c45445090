"""The observation error of each row of a table.

In this order, the first that there is: the last rule of the configuration that names an error for
the row, the error that its file gives, the table's. Humidity, whose error the table gives as that of
relative humidity, is scaled with the humidity of saturation at the temperature of the same report,
or of the standard atmosphere. Then rules may multiply it, and it is at least the floor, which stands
for what the grid cannot represent. NaN is left where there is no error: such a row is not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations import conversions as convert
from models.observations.error_table import ErrorTable

__all__ = [
    "ErrorRule",
    "ErrorSettings",
    "assign_errors",
    "matches",
    "nominal_pressure",
    "report_temperature",
    "saturation_humidity",
]

Array = NDArray[np.float64]
REFERENCE = 100_000.0
FIELDS = ("type", "variable", "station", "source")


@dataclass(frozen=True)
class ErrorRule:
    """The error of some rows, chosen by patterns such as `madis:*`; the last rule counts.

    Attributes:
        type: Report type.
        variable: Observed variable.
        station: Identifier of the station.
        source: Where it comes from.
        error: The error [SI]; None leaves it.
        factor: By what it is multiplied.
        floor: The error is at least this [SI].
    """

    type: str = "*"
    variable: str = "*"
    station: str = "*"
    source: str = "*"
    error: float | None = None
    factor: float = 1.0
    floor: float = 0.0


@dataclass(frozen=True)
class ErrorSettings:
    """How errors are assigned.

    Attributes:
        table: Errors by type, variable and pressure.
        own: Whether the errors that a file gives come before the table's.
        rules: Exceptions.
    """

    table: ErrorTable = field(default_factory=ErrorTable.packaged)
    own: bool = True
    rules: Sequence[ErrorRule] = ()


def assign_errors(table: pd.DataFrame, settings: ErrorSettings) -> pd.DataFrame:
    """Return a validated table with its column `error` filled.

    Args:
        table: Observations; a column `report_code` holds NCEP's report type, if not 0.
        settings: What to take.
    """
    error = from_table(table, settings.table)
    if settings.own:
        own = table["error"].to_numpy(np.float64)
        error = np.where(np.isfinite(own) & (own > 0), own, error)
    factor, floor = np.ones(len(table)), np.zeros(len(table))
    for rule in settings.rules:
        rows = matches(table, {name: getattr(rule, name) for name in FIELDS})
        error = error if rule.error is None else np.where(rows, rule.error, error)
        factor = np.where(rows, rule.factor, factor)
        floor = np.where(rows, np.maximum(floor, rule.floor), floor)
    return table.assign(error=np.maximum(error * factor, floor))


def from_table(table: pd.DataFrame, errors: ErrorTable) -> Array:
    """Return the error of each row by the table [SI], NaN where it has none."""
    result = np.full(len(table), np.nan)
    if not len(table):
        return result
    pressure = nominal_pressure(table)
    codes = table.get("report_code", pd.Series(0, table.index)).fillna(0).to_numpy(np.int64)
    saturated: Array | None = None
    keys = pd.DataFrame({"type": table["type"], "variable": table["variable"], "code": codes})
    for key, rows in keys.groupby(list(keys.columns), sort=False).indices.items():
        type_, variable, code = cast(tuple[str, str, int], key)
        names = (f"ncep {code}", type_) if code else (type_,)
        found = errors.look_up(names, variable, pressure[rows])
        if found is None:
            continue
        result[rows], relative = found
        if relative:
            saturated = saturation_humidity(table, pressure) if saturated is None else saturated
            result[rows] *= saturated[rows]
    return result


def nominal_pressure(table: pd.DataFrame) -> Array:
    """Return the pressure of each row [Pa], or what stands for it.

    Where the table has none, that is the level (a sigma level is a part of 1000 hPa) and at the
    surface 1000 hPa.
    """
    pressure = table["pres"].to_numpy(np.float64)
    level = table["level"].to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        by_level = np.where(level <= 1.0, level * REFERENCE, level * 100.0)
    pressure = np.where(np.isfinite(pressure) & (pressure > 0), pressure, by_level)
    return np.where(np.isfinite(pressure) & (pressure > 0), pressure, REFERENCE)


def saturation_humidity(table: pd.DataFrame, pressure: Array) -> Array:
    """Return the humidity of saturation at each row [kg kg-1]."""
    temperature = report_temperature(table)
    standard = convert.standard_temperature(convert.pressure_to_height(pressure))
    sound = (temperature > 150.0) & (temperature < 350.0)
    temperature = np.where(sound, temperature, np.where(np.isnan(standard), 220.0, standard))
    vapour = convert.saturation_vapour_pressure(temperature)
    return convert.specific_humidity(np.minimum(vapour, 0.5 * pressure), pressure)


def report_temperature(table: pd.DataFrame) -> Array:
    """Return the temperature that the same report has [K], NaN where it has none."""
    columns = ["time", "lat", "lon", "pres", "level", "station"]
    key = pd.util.hash_pandas_object(table[columns], index=False).to_numpy()
    warm = np.flatnonzero(table["variable"].isin(["t", "t2m"]).to_numpy())
    unique, first = np.unique(key[warm], return_index=True)
    place = np.searchsorted(unique, key).clip(0, max(len(unique) - 1, 0))
    if not len(unique):
        return np.full(len(table), np.nan)
    values = table["observation"].to_numpy(np.float64)[warm[first]]
    return np.where(unique[place] == key, values[place], np.nan)


def matches(table: pd.DataFrame, patterns: Mapping[str, str]) -> NDArray[np.bool_]:
    """Tell which rows match all patterns (`*`, `?`, `[…]`) of text columns."""
    rows = np.ones(len(table), bool)
    for name, pattern in patterns.items():
        if pattern != "*":
            codes, names = pd.factorize(table[name])
            fitting = np.array([fnmatchcase(str(own), pattern) for own in names] + [False])
            rows &= fitting[codes]
    return rows
