"""MADIS netCDF: METAR, marine, aircraft, satellite winds, profilers and soundings.

The kind of file is seen by its variables. The quality descriptors (variables …DD) go to `quality`:
0 Z no check, 1 C passed stage 1, 2 S stages 1 and 2, 3 V stages 1 to 3, 4 X failed stage 1, 5 Q
failed stage 2 or 3, 6 G accepted by hand, 7 B rejected by hand, 8 I interpolated. A position, a time or
a height of an aircraft that was rejected rejects all values of its report.

References:
    | NOAA NCEP MADIS, Quality control, https://madis.ncep.noaa.gov/madis_qc.shtml
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.observations.reports import Reports
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.madis_profiles import profiler_reports, sounding_reports
from tasks.readers.marks import worse
from tasks.readers.netcdf import Seen, Variable, flags, open_netcdf, si, strings, times, values
from tasks.readers.unread import leave_fields

__all__ = ["DESCRIPTORS", "read_madis"]

DESCRIPTORS = ("Z", "C", "S", "V", "X", "Q", "G", "B", "I")
GOOD_TO_BAD = tuple(DESCRIPTORS.index(letter) for letter in "GVSCZIQXB")
BAD = tuple(DESCRIPTORS.index(letter) for letter in "IQXB")
DETAILS = ("DD", "QCA", "QCR", "QCD", "ICA", "ICR")
BATCH = 20_000
RECORDS = "recNum"


class Form(NamedTuple):
    """Where a kind of MADIS file has what; variables with their kind of unit."""

    type: str
    surface: bool
    latitude: str
    longitude: str
    time: str
    station: str
    elevation: str
    quantities: Mapping[str, tuple[str, str]]
    noted: Mapping[str, str] = {}


WIND = {"wind_direction": ("windDir", "direction"), "wind_speed": ("windSpeed", "speed")}
AIR = {"temperature": ("temperature", "temperature"), "dewpoint": ("dewpoint", "temperature")}
SEA_LEVEL = {"sea_level_pressure": ("seaLevelPress", "pressure")}
SURFACE_NOTED = {
    "windGust": "wind gust",
    "visibility": "visibility",
    "precip1Hour": "precipitation",
    "precip3Hour": "precipitation",
    "precip6Hour": "precipitation",
    "precip24Hour": "precipitation",
    "waveHeight": "waves",
    "snowCover": "snow depth",
}
PLACE = ("latitude", "longitude", "timeObs")
FORMS = {
    "en_tailNumber": Form(
        *("aircraft", False, *PLACE, "en_tailNumber", ""),
        {"pressure_altitude": ("altitude", "length"), **AIR, **WIND},
        {"medTurbulence": "turbulence", "relHumidity": "relative humidity, unchecked"},
    ),
    "rawMETAR": Form(
        *("metar", True, *PLACE, "stationName", "elevation"),
        {**AIR, **WIND, **SEA_LEVEL, "altimeter": ("altimeter", "pressure")},
        SURFACE_NOTED,
    ),
    "rawMaritime": Form(
        *("ship", True, *PLACE, "stationName", "elevation"),
        {
            **AIR,
            **WIND,
            **SEA_LEVEL,
            "station_pressure": ("stationPress", "pressure"),
            "sea_temperature": ("seaSurfaceTemp", "temperature"),
        },
        SURFACE_NOTED,
    ),
    "satelliteWindMethod": Form(
        *("satwind", False, "obLat", "obLon", "validTime", "satelliteID", ""),
        {
            "pressure": ("pressure", "pressure"),
            "wind_direction": ("windDir", "direction"),
            "wind_speed": ("windSpd", "speed"),
        },
        {"coldestTemp": "cloud temperature"},
    ),
}


def read_madis(file: File) -> Iterator[Batch]:
    """Yield the batches of a MADIS file."""
    source = f"madis:{file.name}"
    with file.local() as path, open_netcdf(path) as dataset:
        present = Seen(dataset.variables)
        if RECORDS not in dataset.dimensions:
            raise Unreadable(f"netCDF without the dimension {RECORDS} of MADIS")
        size = len(dataset.dimensions[RECORDS])
        form = next((form for mark, form in FORMS.items() if mark in present), None)
        for start in range(0, size, BATCH):
            part = slice(start, min(start + BATCH, size))
            account = Account(messages=part.stop - start)
            if form is not None:
                reports = _reports(present, form, part, account)
                _leave_others(present, part, account)
                yield batch_of(reports, source, account)
            elif "prMan" in present:
                levels = list(sounding_reports(present, part, account))  # counts first
                _leave_others(present, part, account)
                for reports in levels:
                    yield batch_of(reports, source, account, "level")
                    account = Account()
            elif "uComponent" in present:
                reports = profiler_reports(present, part, account, DESCRIPTORS, GOOD_TO_BAD)
                _leave_others(present, part, account)
                yield batch_of(reports, source, account, "level")
            else:
                names = ", ".join(list(present)[:5])
                raise Unreadable(f"a kind of MADIS file that is not read (variables {names}, …)")


def _leave_others(present: Seen, part: slice, account: Account) -> None:
    """Count what is in no report: variables by name, details of the checks together."""
    others, size = present.unseen(RECORDS), part.stop - part.start
    leave_fields((name for name in others if not name.endswith(DETAILS)), size, account)
    if any(name.endswith(DETAILS) for name in others):
        reason = f"details of the checks (variables {', '.join(DETAILS)}): not read"
        account.leave("quality information", reason, size)


def _reports(variables: Seen, form: Form, part: slice, account: Account) -> Reports:
    size = part.stop - part.start
    found: dict[str, NDArray[np.float64]] = {}
    quality: dict[str, NDArray[np.int64]] = {}
    for name, (own, kind) in form.quantities.items():
        if own in variables:
            found[name] = si(variables[own], part, kind)
            if f"{own}DD" in variables:
                quality[name] = flags(variables[f"{own}DD"], part, DESCRIPTORS)
    if "wind_direction" in quality:
        both = quality["wind_speed"], quality["wind_direction"]
        quality["wind_speed"] = worse(*both, GOOD_TO_BAD)
    place = _place_marks(variables, form, part)
    quality = {
        name: worse(quality.get(name, np.zeros(size, np.int64)), place, BAD) for name in found
    }
    for own, what in form.noted.items():
        if own in variables:
            count = int(np.isfinite(values(variables[own], part)).sum())
            account.leave("other value", f"{what}: no variable of the table", count)
    station = variables[form.station]
    return Reports(
        times(variables[form.time], part),
        values(variables[form.latitude], part),
        values(variables[form.longitude], part),
        values(variables[form.elevation], part) if form.elevation else np.full(size, np.nan),
        np.full(size, form.type, object),
        strings(station, part) if station.dtype.kind == "S" else _numbered(station, part),
        np.full(size, form.surface),
        found,
        quality,
    )


def _place_marks(variables: Seen, form: Form, part: slice) -> NDArray[np.int64]:
    """Return the worst mark of where and when the reports are."""
    marks = np.zeros(part.stop - part.start, np.int64)
    height = form.quantities.get("pressure_altitude", ("", ""))[0]
    for own in (form.latitude, form.longitude, form.time, height):
        if f"{own}DD" in variables:
            marks = worse(marks, flags(variables[f"{own}DD"], part, DESCRIPTORS), BAD)
    return marks


def _numbered(variable: Variable, part: slice) -> NDArray[np.object_]:
    return np.array([f"satellite {number:g}" for number in values(variable, part)], object)
