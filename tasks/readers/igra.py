"""IGRA 2, NOAA's archive of soundings: a header line with #, then one line a level.

A value of -9999 is missing, -8888 was removed by IGRA's quality assurance: it is counted. The flag
behind pressure, height and temperature goes to `quality`: 0 not checked, 1 (A) within the limits of
the day's climatology, 2 (B) within those of all data as well.

References:
    | NOAA NCEI (2016), Format description of IGRA 2 sounding data files
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.observations.conversions import GRAVITY
from models.observations.reports import Reports
from models.units import to_si
from tasks.readers.account import Account, Batch, batch_of
from tasks.readers.files import File
from tasks.readers.lines import Line, fields, lines, numbers, utc

__all__ = ["read_igra"]

HEADER = re.compile(r"#\S{11} \d{4} \d\d \d\d \d\d [ \d]{4} [ \d]{4} .{17} [ -]*\d+ +-?\d+")
LEVEL = re.compile(r"[1-3 ][0-3 ] [ \d-]{5} [ \d-]{6}.[ \d-]{5}.")
REMOVED, MISSING = -8888.0, -9999.0
FLAGS = {"A": 1, "B": 2}
Array = NDArray[np.float64]


def read_igra(file: File) -> Iterator[Batch]:
    """Yield the batches of an IGRA 2 file, whole soundings in each."""
    with file.open() as stream:
        header = ""
        for account, batch in lines(stream):
            rows = list[tuple[str, str]]()
            for line in batch:
                header = _row(line, header, rows, account)
            yield batch_of(_reports(rows, account), f"igra:{file.name}", account, "level")


def _row(line: Line, header: str, rows: list[tuple[str, str]], account: Account) -> str:
    """Add a level to the rows; return the header of the levels that follow."""
    text = line.text
    if not text.strip():
        return header
    account.messages += 1
    if text.startswith("#"):
        if HEADER.match(text):
            return text
        account.damage(line.offset, "header of a sounding is not one of IGRA 2")
        return ""
    if not LEVEL.match(text):
        account.damage(line.offset, "not a level of IGRA 2")
    elif not header:
        account.leave("level", "its sounding has no sound header")
    else:
        rows.append((header, text.ljust(51)))
    return header


def _reports(rows: Sequence[tuple[str, str]], account: Account) -> Reports:
    heads, levels = [row[0] for row in rows], [row[1] for row in rows]

    def value(start: int, end: int, scale: float = 1.0) -> Array:
        found = numbers(fields(levels, start, end), 1.0, [MISSING])
        removed = found == REMOVED
        account.leave("other value", "removed by IGRA's quality assurance", int(removed.sum()))
        return np.where(removed, np.nan, found) / scale

    temperature = to_si(value(23, 27, 10.0), "degC", "temperature")
    values = {
        "pressure": value(10, 15),
        "geopotential": value(17, 21) * GRAVITY,
        "temperature": temperature,
        "relative_humidity": value(29, 33, 1000.0),
        "dewpoint": temperature - value(35, 39, 10.0),
        "wind_direction": value(41, 45),
        "wind_speed": value(47, 51, 10.0),
    }
    values["height"] = np.where(
        np.isnan(values["pressure"]), values["geopotential"] / GRAVITY, np.nan
    )
    quality = {
        "geopotential": _flags(levels, 22),
        "temperature": _flags(levels, 28),
    }
    return Reports(
        _times(heads, levels),
        numbers(fields(heads, 56, 62), 1e4),  # -98.8888, a moving station, is no latitude
        numbers(fields(heads, 64, 71), 1e4),
        np.full(len(rows), np.nan),
        np.full(len(rows), "temp", object),
        np.array([head[1:12] for head in heads], object),
        np.full(len(rows), False),
        values,
        quality,
    )


def _flags(levels: Sequence[str], place: int) -> NDArray[np.int64]:
    return np.array([FLAGS.get(text[place - 1], 0) for text in levels], np.int64)


def _times(heads: Sequence[str], levels: Sequence[str]) -> NDArray[np.datetime64]:
    """Return the nominal hour, or that of the release, plus the time since the release."""
    date = [head[13:17] + head[18:20] + head[21:23] for head in heads]
    hour = [head[24:26] for head in heads]
    release = [head[27:31].strip().zfill(4) for head in heads]
    known = np.array([text != "9999" and text[2:] != "99" for text in release], bool)
    clock = [
        r if k else ("" if h == "99" else f"{h}00")
        for r, k, h in zip(release, known, hour, strict=True)
    ]
    time = utc([d + c for d, c in zip(date, clock, strict=True)], "%Y%m%d%H%M")
    nominal = numbers(hour, 1.0, [99.0])
    released = numbers([text[:2] for text in release])
    before = known & (released - nominal > 12)  # released before midnight for 00 UTC
    after = known & (nominal - released > 12)
    day = np.timedelta64(1, "D")
    time = np.where(before, time - day, np.where(after, time + day, time))
    minutes, seconds = numbers(fields(levels, 4, 6)), numbers(fields(levels, 7, 8))
    elapsed = np.where((minutes >= 0) & known, minutes * 60.0 + seconds, 0.0)
    times: NDArray[np.datetime64] = time + (np.nan_to_num(elapsed) * 1e9).astype("timedelta64[ns]")
    return times
