"""NDBC text: buoys and coastal stations, one line a report, columns named in the first line.

Three forms: `latest_obs` has station and position in each line; a realtime or yearly file of one
station has neither: the station is the start of the file's name, its position comes from the
`station_table.txt` of NDBC in the same folder. The second line with units is checked; files before
2007 have none. Missing is MM, or all nines in yearly files. A year of two digits is one of the 1900s.

References:
    | NOAA NDBC, Measurement descriptions and units, https://www.ndbc.noaa.gov/measdes.shtml
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from models.observations.reports import Reports
from models.units import to_si
from tasks import store
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.lines import Line, lines, numbers, utc
from tasks.readers.unread import leave_fields

__all__ = ["read_ndbc"]

ALIASES = {"BAR": "PRES", "WD": "WDIR", "YYYY": "YY", "#YY": "YY", "#STN": "STN", "YR": "YY"}
UNITS = {"WSPD": ("m/s", "speed"), "PRES": ("hPa", "pressure"), "WDIR": ("degT", "direction")}
UNITS |= dict.fromkeys(("ATMP", "WTMP", "DEWP"), ("degC", "temperature"))
SENTINELS = {"WDIR": [999.0], "WSPD": [99.0], "PRES": [9999.0]}
SENTINELS |= {name: [999.0, 99.9] for name in ("ATMP", "WTMP", "DEWP")}
NOTED = {"GST": "wind gust", "WVHT": "waves", "VIS": "visibility", "TIDE": "tide"}
CLOCK = {"YY", "MM", "DD", "hh", "mm", "STN", "LAT", "LON"}
NOTED_MISSING = [99.0, 999.0, 9999.0]
TABLE = "station_table.txt"
PLACE = re.compile(r"(\d+(?:\.\d+)?)\s*([NS])\s+(\d+(?:\.\d+)?)\s*([EW])")


def read_ndbc(file: File) -> Iterator[Batch]:
    """Yield the batches of an NDBC file."""
    header: list[str] = []
    with file.open() as stream:
        for account, batch in lines(stream):
            if not header and batch:
                header = [ALIASES.get(name, name) for name in batch.pop(0).text.split()]
                if not {"YY", "MM", "DD", "hh"} <= set(header) and "WSPD" not in header:
                    raise Unreadable("no columns of NDBC in the first line")
                _check_units(batch, header)
            yield batch_of(_reports(batch, header, file, account), f"ndbc:{file.name}", account)


def _check_units(batch: list[Line], header: Sequence[str]) -> None:
    """Take the line of units off and compare it with what is assumed."""
    if not (batch and batch[0].text.startswith("#")):
        return
    units = dict(zip(header, batch.pop(0).text.lstrip("#").split(), strict=False))
    for name, (_, kind) in UNITS.items():
        if name in units:
            try:
                to_si(0.0, units[name], kind, name)
            except ValueError as error:
                raise Unreadable(str(error)) from error


def _reports(batch: Sequence[Line], header: list[str], file: File, account: Account) -> Reports:
    rows = []
    for line in batch:
        row = line.text.split()
        if not row or row[0].startswith("#"):
            continue
        account.messages += 1
        if len(row) == len(header):
            rows.append(row)
        else:
            account.damage(line.offset, f"{len(row)} fields; allowed: {len(header)}")
    turned = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    minutes = [first for first, name in enumerate(header) if name.lower() == "mm"]
    columns = dict(zip(header, turned, strict=True))
    month, minute = turned[minutes[0]], turned[minutes[1]] if "mm" in header else None
    size = len(rows)

    def value(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        unit, kind = UNITS[name]
        found = numbers(columns.get(name, ["MM"] * size), 1.0, SENTINELS[name])
        return to_si(found, unit, kind, name)

    others = (name for name in columns if name not in CLOCK | UNITS.keys() | NOTED.keys())
    leave_fields(others, size, account)
    for name, what in NOTED.items():
        count = int(np.isfinite(numbers(columns.get(name, []), 1.0, NOTED_MISSING)).sum())
        account.leave("other value", f"{what}: no variable of the table", count)
    years = [text if len(text) == 4 else f"19{text.zfill(2)}" for text in columns["YY"]]
    clock = zip(years, month, columns["DD"], columns["hh"], minute or ["00"] * size, strict=True)
    station, latitude, longitude = _places(columns, file, size)
    values = {
        "wind_direction": value("WDIR"),
        "wind_speed": value("WSPD"),
        "sea_level_pressure": value("PRES"),
        "temperature": value("ATMP"),
        "dewpoint": value("DEWP"),
        "sea_temperature": value("WTMP"),
    }
    return Reports(
        utc(["".join(part.zfill(2) for part in parts) for parts in clock], "%Y%m%d%H%M"),
        latitude,
        longitude,
        np.zeros(size),
        np.full(size, "buoy", object),
        station,
        np.full(size, True),
        values,
    )


Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def _places(
    columns: Mapping[str, Sequence[str]], file: File, size: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.object_]], Array, Array]:
    if "STN" in columns:
        station = np.array(columns["STN"], object)
        return station, numbers(columns["LAT"]), numbers(columns["LON"])
    name = file.name[:5].upper()
    latitude, longitude = _position(name, file)
    return np.full(size, name, object), np.full(size, latitude), np.full(size, longitude)


def _position(station: str, file: File) -> tuple[float, float]:
    """Return the position of a station in NDBC's table beside the file, NaN if there is none."""
    address = store.join(file.address.rpartition("/")[0] or ".", TABLE)
    if not store.exists(address):
        return np.nan, np.nan
    for text in store.read_bytes(address).decode("latin-1").splitlines():
        if text.split("|", 1)[0].strip().upper() == station and (found := PLACE.search(text)):
            north, east = float(found[1]), float(found[3])
            return north * (1 if found[2] == "N" else -1), east * (1 if found[4] == "E" else -1)
    return np.nan, np.nan
