"""Observation errors by report type, variable and pressure: the table, and looking it up.

A table is a CSV file with the columns type, variable, pressure [Pa], error [SI], source. Between
pressures the error is linear in ln p, beyond the outermost ones it is constant, and where the error
is empty the observation is not used. Variables of the table are those of observations, or of groups
of them: `t` (t, t2m), `wind` (its components and speed), `ps` (pressure at a station or the sea),
`rh` (relative humidity as a fraction, which is scaled with the humidity of saturation) and `z`.

The packaged table has NCEP's figures (report types `ncep 100` to `ncep 299`), and for what NCEP's
global system does not use: heights of soundings and temperatures of land stations from WRFDA,
winds of land stations and humidity at the surface from DART. ALIASES says which of NCEP's types
stands for a type that has no own row.

References:
    | NCEP, prepobs_errtable.global of the Gridpoint Statistical Interpolation; units after its
    | user's guide: T [K], humidity as relative humidity [tenths], wind [m s-1], pressure [hPa]
    | NCAR, WRFDA, var/obsproc/obserr.txt, https://github.com/wrf-model/WRF
    | NCAR, DART, obs_error/obs_err_mod (NCEP's values), https://github.com/NCAR/DART
"""

import io
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ALIASES", "GROUPS", "TABLE_COLUMNS", "ErrorTable"]

Array = NDArray[np.float64]
Texts = NDArray[np.object_]

TABLE_COLUMNS = ("type", "variable", "pressure", "error", "source")
GROUPS = {
    **dict.fromkeys(("t", "t2m"), "t"),
    **dict.fromkeys(("u", "v", "u10", "v10", "wind_speed"), "wind"),
    **dict.fromkeys(("sp", "msl"), "ps"),
    **dict.fromkeys(("q", "q2m"), "rh"),
}
"""The group in the table that an observed variable belongs to, if it has no row of its own."""
RELATIVE = "rh"
ALIASES: dict[str, dict[str, int]] = {
    "temp": {"t": 120, "rh": 120, "ps": 120, "wind": 220},
    "pilot": {"wind": 221},
    "dropsonde": {"t": 132, "rh": 132, "ps": 132, "wind": 232},
    "profiler": {"wind": 223},
    "aircraft": {"t": 133, "wind": 233},
    "satwind": {"wind": 245},
    "synop": {"ps": 181},
    "metar": {"ps": 187},
    "ship": {"t": 180, "rh": 180, "ps": 180, "wind": 280},
    "buoy": {"t": 180, "ps": 180, "wind": 280},
}
"""NCEP's report types (mass and wind have different ones) for those of the table."""


@dataclass(frozen=True)
class ErrorTable:
    """Observation errors.

    Attributes:
        curves: By (type, variable) the ascending ln p [1] and the errors [SI].
    """

    curves: dict[tuple[str, str], tuple[Array, Array]] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "ErrorTable":
        """Return the table of a frame.

        Raises:
            ValueError: A column is missing, a pressure or an error is not positive or comes twice.
        """
        missing = [name for name in TABLE_COLUMNS[:4] if name not in frame]
        if missing:
            needed = ", ".join(TABLE_COLUMNS)
            raise ValueError(f"error table without the column {missing[0]!r}; needed: {needed}")
        pressure, error = (_numbers(frame, name) for name in ("pressure", "error"))
        for name, bad in (("pressure", ~(pressure > 0)), ("error", error <= 0)):
            if bad.any():
                row = frame.iloc[int(np.flatnonzero(bad)[0])]
                where = f"{row['type']}, {row['variable']}"
                raise ValueError(f"error table: {name} {row[name]} of {where}; allowed: above 0")
        twice = frame.duplicated(["type", "variable", "pressure"]).to_numpy()
        if twice.any():
            row = frame.iloc[int(np.flatnonzero(twice)[0])]
            where = f"{row['type']}, {row['variable']} at {row['pressure']:g} Pa"
            raise ValueError(f"error table: {where} comes twice; allowed: once")
        curves = {}
        for key, rows in frame.assign(row=np.arange(len(frame))).groupby(["type", "variable"]):
            order = rows["row"].to_numpy()[np.argsort(pressure[rows["row"].to_numpy()])]
            curves[str(key[0]), str(key[1])] = np.log(pressure[order]), error[order]
        return cls(curves)

    @classmethod
    def from_csv(cls, text: str) -> "ErrorTable":
        """Return the table of a CSV file's content.

        Raises:
            ValueError: It is not such a table.
        """
        try:
            frame = pd.read_csv(io.StringIO(text), dtype={"type": "str", "variable": "str"})
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"error table is no CSV file: {str(error).strip()}") from error
        return cls.of(frame)

    @staticmethod
    @cache
    def packaged() -> "ErrorTable":
        """Return the package's own table."""
        resource = files("models.observations") / "error_table.csv"
        return ErrorTable.from_csv(resource.read_text())

    def over(self, other: "ErrorTable") -> "ErrorTable":
        """Return this table, and the other one for what this one does not have."""
        return ErrorTable({**other.curves, **self.curves})

    def look_up(
        self,
        types: tuple[str, ...],
        variable: str,
        pressure: Array,
    ) -> tuple[Array, bool] | None:
        """Return the errors of one variable at some pressures.

        Args:
            types: Names of the report type, the most special one first.
            variable: Observed variable.
            pressure: [Pa].

        Returns:
            Errors, NaN where the observation is not used, and whether they are of relative
            humidity; None if the table has no such type and variable.
        """
        group = GROUPS.get(variable, variable)
        for name in types:
            for own in dict.fromkeys((variable, group)):
                found = self.curves.get((name, own))
                alias = ALIASES.get(name, {}).get(own)
                if found is None and alias is not None:
                    found = self.curves.get((f"ncep {alias}", own))
                if found is not None:
                    with np.errstate(divide="ignore", invalid="ignore"):
                        height = np.log(np.where(pressure > 0, pressure, np.nan))
                    return _between(height, *found), own == RELATIVE
        return None


def _numbers(frame: pd.DataFrame, name: str) -> Array:
    values = pd.to_numeric(frame[name], errors="coerce")
    wrong = values.isna() & frame[name].notna()
    if wrong.any():
        found = frame[name][wrong].iloc[0]
        raise ValueError(f"error table: {name} {found!r}; allowed: a number")
    return np.asarray(values, np.float64)


def _between(height: Array, nodes: Array, values: Array) -> Array:
    """Interpolate linearly; a node alone counts at the node, not beside an empty one."""
    upper = np.searchsorted(nodes, height).clip(0, len(nodes) - 1)
    lower = np.maximum(upper - (nodes[upper] > height), 0)
    width = np.where(upper > lower, nodes[upper] - nodes[lower], 1.0)
    share = ((height - nodes[lower]) / width).clip(0, 1)
    share = np.where(upper > lower, share, 0.0)
    mixed = (1 - share) * values[lower] + share * values[upper]
    exact = np.where(share == 0, values[lower], np.where(share == 1, values[upper], mixed))
    return np.where(np.isnan(height), np.nan, exact)
