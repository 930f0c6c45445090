"""Reports → rows of the observation table, each value accounted for.

Of what was reported comes what a state holds: `t q u v z`, at the surface `t2m q2m u10 v10 sp`, and
`msl sst refractivity bending_angle`, one row a value. Nothing is judged: what is present becomes a
row unless it cannot be converted, and then its reason is counted: candidates = kept + left out.

The pressure of a value is, in this order: its own; at the surface that of the station, from the
altimeter setting, from the sea-level pressure; aloft that of the height in the ICAO standard
atmosphere (the height itself stays in the column `height`).
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations import conversions as convert
from models.observations.reports import Reports

__all__ = ["NOTHING", "NO_POSITION", "NO_TIME", "Tabulated", "tabulate"]

Array = NDArray[np.float64]

AT_SURFACE = {"t": "t2m", "q": "q2m", "u": "u10", "v": "v10"}
ERRORS = {
    "t": "temperature",
    "q": "specific_humidity",
    "z": "geopotential",
    "sp": "station_pressure",
    "msl": "sea_level_pressure",
    "sst": "sea_temperature",
}
"""Names of the quantities whose errors are those of a variable, if they differ."""
NO_TIME, NO_POSITION = "time is missing or not valid", "position is missing or not valid"
NOTHING = "nothing of the table in it"
POLE = 90.0 + 1e-6


@dataclass(frozen=True)
class Tabulated:
    """A table, and what is not in it.

    Attributes:
        table: Rows of the observation table, by report, then by variable.
        candidates: Values that were reported by sound reports.
        reports_left: Reports by the reason why nothing of them is in the table.
        values_left: Values by the reason why they are not in the table.
    """

    table: pd.DataFrame
    candidates: int
    reports_left: Counter[str]
    values_left: Counter[str]


@dataclass
class _Candidate:
    """One variable of all reports: its values, and where it is reported but not usable."""

    values: Array
    reported: NDArray[np.bool_]
    quality: NDArray[np.int64] | None
    reasons: tuple[tuple[str, NDArray[np.bool_]], ...] = ()


def tabulate(reports: Reports, source: str) -> Tabulated:
    """Return the table of reports and account for all that is not in it."""
    latitude = np.clip(reports.latitude, -90.0, 90.0)
    longitude = convert.longitude_360(np.asarray(reports.longitude, np.float64))
    placed = (np.abs(reports.latitude) <= POLE) & np.isfinite(longitude)
    timed = ~np.isnat(reports.time)
    sound = placed & timed
    pressure = _pressure(reports)
    candidates = _candidates(reports, pressure)
    anything = np.zeros(len(reports), bool)
    values_left: Counter[str] = Counter()
    parts, total = [], 0
    for order, (name, candidate) in enumerate(candidates.items()):
        rows = candidate.reported & sound
        anything |= candidate.reported
        total += int(rows.sum())
        good = rows.copy()
        for reason, bad in (*candidate.reasons, ("value is not finite", _no(candidate.values))):
            out = good & bad
            if out.any():
                values_left[f"{name}: {reason}"] += int(out.sum())
                good &= ~bad
        if good.any():
            parts.append((order, name, np.flatnonzero(good), candidate))
    reports_left: Counter[str] = Counter(
        {
            NO_TIME: int((~timed).sum()),
            NO_POSITION: int((timed & ~placed).sum()),
            NOTHING: int((sound & ~anything).sum()),
        }
    )
    table = _table(reports, parts, latitude, longitude, pressure, source)
    return Tabulated(table, total, +reports_left, values_left)


def _no(values: Array) -> NDArray[np.bool_]:
    return ~np.isfinite(values)


def _has(*arrays: Array) -> NDArray[np.bool_]:
    """Tell where any of the arrays reports something."""
    found: NDArray[np.bool_] = np.any([~np.isnan(array) for array in arrays], axis=0)
    return found


def _pressure(reports: Reports) -> Array:
    """Return the pressure where the values of each report are [Pa]."""
    pressure, elevation = reports.of("pressure"), reports.elevation
    height = reports.of("pressure_altitude")
    height = np.where(np.isnan(height), reports.of("height"), height)
    aloft = convert.height_to_pressure(height)
    station, sea_level = reports.of("station_pressure"), reports.of("sea_level_pressure")
    setting = convert.altimeter_to_station_pressure(reports.of("altimeter"), elevation)
    layer = reports.of("temperature") + 0.00325 * elevation  # the mean of a standard layer
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        reduced = convert.hypsometric_pressure(sea_level, elevation, layer)
    reduced = np.where(np.isfinite(reduced) & (layer > 100.0), reduced, np.nan)
    at_surface = np.where(reports.surface & (elevation == 0.0), sea_level, reduced)
    for other in (station, setting, at_surface):
        pressure = np.where(np.isnan(pressure) & reports.surface, other, pressure)
    pressure = np.where(np.isnan(pressure) & ~reports.surface, aloft, pressure)
    return np.where(np.isfinite(pressure) & (pressure > 0), pressure, np.nan)


def _candidates(reports: Reports, pressure: Array) -> dict[str, _Candidate]:
    quality = reports.quality.get
    temperature, geopotential = reports.of("temperature"), reports.of("geopotential")
    no_pressure = np.isnan(pressure) & ~reports.surface
    found = {
        "t": _Candidate(
            temperature,
            _has(temperature),
            quality("temperature"),
            (("no pressure or height", no_pressure),),
        ),
        "q": _humidity(reports, pressure),
        **_wind(reports, no_pressure),
        "z": _Candidate(
            geopotential,
            _has(geopotential),
            quality("geopotential"),
            (("no pressure or height", np.isnan(reports.of("pressure"))),),
        ),
        "sp": _station_pressure(reports),
    }
    for name, variable in (
        ("sea_level_pressure", "msl"),
        ("sea_temperature", "sst"),
        ("refractivity", "refractivity"),
        ("bending_angle", "bending_angle"),
    ):
        values = reports.of(name)
        found[variable] = _Candidate(values, _has(values), quality(name))
    return found


def _humidity(reports: Reports, pressure: Array) -> _Candidate:
    own, dewpoint = reports.of("specific_humidity"), reports.of("dewpoint")
    relative, temperature = reports.of("relative_humidity"), reports.of("temperature")
    names = ("specific_humidity", "dewpoint", "relative_humidity")
    q = own
    for other in (
        convert.dewpoint_to_specific_humidity(dewpoint, pressure),
        convert.relative_to_specific_humidity(relative, temperature, pressure),
    ):
        q = np.where(np.isnan(q), other, q)
    quality = np.zeros(len(reports), np.int64)
    for name in reversed(names):  # the mark of the one that counts
        if name in reports.quality:
            quality = np.where(np.isnan(reports.of(name)), quality, reports.quality[name])
    reported = _has(own, dewpoint, relative)
    lost = reported & np.isnan(q)
    dry = lost & np.isnan(dewpoint) & np.isnan(temperature)
    reasons = (
        ("no pressure to convert humidity with", lost & np.isnan(pressure)),
        ("no temperature to convert humidity with", dry),
        ("humidity cannot be converted", lost),
    )
    return _Candidate(q, reported, quality, reasons)


def _wind(reports: Reports, no_pressure: NDArray[np.bool_]) -> dict[str, _Candidate]:
    speed, direction = reports.of("wind_speed"), reports.of("wind_direction")
    u, v = reports.of("u"), reports.of("v")
    turned = np.isfinite(direction) & ((direction < 0) | (direction > 360))
    with np.errstate(invalid="ignore"):
        components = convert.wind_components(speed, direction)
    polar = np.isnan(u) & np.isnan(v)
    calm = speed == 0
    reasons = (
        ("no pressure or height", no_pressure),
        ("direction without speed", polar & np.isnan(speed)),
        ("speed without direction", polar & np.isnan(direction) & ~calm),
        ("speed is negative or infinite", polar & ((speed < 0) | np.isinf(speed))),
        ("direction is not 0 to 360", polar & (turned | np.isinf(direction)) & ~calm),
    )
    marks = reports.quality
    return {
        name: _Candidate(
            np.where(polar, from_polar, own),
            _has(own) | (polar & _has(speed, direction)),
            marks.get("wind_speed", marks.get(name, marks.get("u"))),
            reasons,
        )
        for name, own, from_polar in zip("uv", (u, v), components, strict=True)
    }


def _station_pressure(reports: Reports) -> _Candidate:
    station, altimeter = reports.of("station_pressure"), reports.of("altimeter")
    setting = convert.altimeter_to_station_pressure(altimeter, reports.elevation)
    from_setting = np.isnan(station)
    values = np.where(from_setting, setting, station)
    marks = [reports.quality.get(name) for name in ("station_pressure", "altimeter")]
    quality = marks[0] if marks[1] is None else marks[1]
    if marks[0] is not None and marks[1] is not None:
        quality = np.where(from_setting, marks[1], marks[0])
    lost = from_setting & np.isnan(setting) & ~np.isnan(altimeter)
    reason = ("altimeter setting without elevation", lost & np.isnan(reports.elevation))
    return _Candidate(values, _has(station, altimeter), quality, (reason,))


def _table(
    reports: Reports,
    parts: list[tuple[int, str, NDArray[np.intp], _Candidate]],
    latitude: Array,
    longitude: Array,
    pressure: Array,
    source: str,
) -> pd.DataFrame:
    empty = np.zeros(0, np.int64)
    rows = np.concatenate([empty, *(part[2] for part in parts)])
    turn = np.concatenate([empty, *(np.full(len(part[2]), part[0]) for part in parts)])
    order = np.lexsort((turn, rows))
    sizes = [_errors(reports, name)[own] for _, name, own, _ in parts]
    flags = [
        np.zeros(len(r), np.int64) if c.quality is None else c.quality[r] for *_, r, c in parts
    ]
    names = [
        np.where(reports.surface[own], AT_SURFACE.get(name, name), name)
        for _, name, own, _ in parts
    ]
    values = np.concatenate([np.zeros(0), *(c.values[r] for *_, r, c in parts)])[order]
    rows = rows[order]
    columns: dict[str, object] = {
        "time": reports.time[rows].astype("datetime64[ns]"),
        "lat": latitude[rows],
        "lon": longitude[rows],
        "elev": np.asarray(reports.elevation, np.float64)[rows],
        "pres": pressure[rows],
        "variable": _texts(np.concatenate([np.zeros(0, object), *names])[order]),
        "observation": values,
        "error": np.concatenate([np.zeros(0), *sizes])[order],
        "type": _texts(reports.type[rows]),
        "station": _texts(reports.station[rows]),
        "source": _texts(np.full(len(rows), source, object)),
        "quality": np.concatenate([np.zeros(0, np.int64), *flags])[order],
        "level": np.full(len(rows), np.nan),
    }
    height = reports.of("height")
    extra = {"height": np.where(np.isnan(height), reports.of("pressure_altitude"), height)}
    extra |= {"impact_parameter": reports.of("impact_parameter")}
    columns |= {name: array[rows] for name, array in {**extra, **reports.extra}.items()}
    return pd.DataFrame(columns)


def _errors(reports: Reports, variable: str) -> Array:
    """Return the errors of a variable that the file gives; NaN where it gives none."""
    found = reports.errors.get(ERRORS.get(variable, variable))
    return np.full(len(reports), np.nan) if found is None else np.asarray(found, np.float64)


def _texts(values: NDArray[np.object_]) -> pd.Series:
    """Return texts as a string column; few of them are different."""
    codes, names = pd.factorize(values)
    return pd.Series(pd.array(names, dtype="str").take(codes))
