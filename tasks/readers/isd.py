"""ISD, NOAA's integrated surface data: one line a report, fixed places, then optional groups.

Read are the control and the mandatory data section and, of the groups, MA1 (altimeter setting and
station pressure) and SA1 (sea temperature). Quality codes are digits or letters: `quality` is the
digit, or 10 for A to 35 for Z; of a wind the worse of speed and direction.

References:
    | NOAA NCEI (2018), Federal Climate Complex data documentation for integrated surface data
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.observations.reports import Reports
from models.units import to_si
from tasks.readers.account import Account, Batch, batch_of
from tasks.readers.files import File
from tasks.readers.lines import Line, fields, lines, numbers, utc
from tasks.readers.marks import worse
from tasks.readers.unread import leave_fields

__all__ = ["read_isd"]

MANDATORY = 105
FORM = re.compile(r"\d{4}.{6}.{5}\d{8}\d{4}")
TYPES = {"FM-12": "synop", "FM-13": "ship", "FM-15": "metar", "FM-16": "metar", "FM-18": "buoy"}
PRESSURES = re.compile(r"MA1(\d{5})(.)(\d{5})(.)")
SEA = re.compile(r"SA1([+-]\d{3})(.)")
GOOD_TO_BAD = (2, 6, 3, 7)
OPTIONAL = {"AA1": "precipitation", "OC1": "wind gust", "GA1": "cloud layers", "AJ1": "snow depth"}


def read_isd(file: File) -> Iterator[Batch]:
    """Yield the batches of an ISD file."""
    with file.open() as stream:
        for account, batch in lines(stream):
            texts = _sound(batch, account)
            yield batch_of(_reports(texts, account), f"isd:{file.name}", account)


def _sound(batch: Sequence[Line], account: Account) -> list[str]:
    texts = []
    for line in batch:
        if not line.text.strip():
            continue
        account.messages += 1
        if not FORM.match(line.text):
            account.damage(line.offset, "not a line of ISD")
        elif len(line.text) != MANDATORY + int(line.text[:4]):
            account.damage(line.offset, "line length is not what the line says")
        else:
            texts.append(line.text)
    return texts


def _flags(texts: Sequence[str], place: int) -> NDArray[np.int64]:
    signs = (text[place - 1] for text in texts)
    return np.array([_flag(sign) for sign in signs], np.int64)


def _flag(sign: str) -> int:
    return int(sign, 36) if sign.isascii() and sign.isalnum() else 0


def _group(pattern: re.Pattern[str], texts: Sequence[str]) -> list[re.Match[str] | None]:
    return [pattern.search(text, MANDATORY) for text in texts]


def _reports(texts: list[str], account: Account) -> Reports:
    type_ = np.array(
        [TYPES.get(text[41:46], text[41:46].strip().lower()) for text in texts], object
    )
    speed = numbers(fields(texts, 66, 69), 10.0, [9999.0])
    variable = np.array([text[64] == "V" for text in texts], bool)
    direction = numbers(fields(texts, 61, 63), 1.0, [999.0])
    pressures, sea = _group(PRESSURES, texts), _group(SEA, texts)
    values = {
        "wind_direction": np.where(variable, np.nan, direction),
        "wind_speed": speed,
        "temperature": to_si(
            numbers(fields(texts, 88, 92), 10.0, [9999.0]), "degC", "temperature"
        ),
        "dewpoint": to_si(numbers(fields(texts, 94, 98), 10.0, [9999.0]), "degC", "temperature"),
        "sea_level_pressure": numbers(fields(texts, 100, 104), 0.1, [99999.0]),
        "altimeter": _of(pressures, 1, 0.1, 99999.0),
        "station_pressure": _of(pressures, 3, 0.1, 99999.0),
        "sea_temperature": to_si(_of(sea, 1, 10.0, 999.0), "degC", "temperature"),
    }
    quality = {
        "wind_speed": worse(_flags(texts, 70), _flags(texts, 64), GOOD_TO_BAD),
        "temperature": _flags(texts, 93),
        "dewpoint": _flags(texts, 99),
        "sea_level_pressure": _flags(texts, 105),
        "altimeter": np.array([_flag(m[2]) if m else 0 for m in pressures], np.int64),
        "station_pressure": np.array([_flag(m[4]) if m else 0 for m in pressures], np.int64),
        "sea_temperature": np.array([_flag(m[2]) if m else 0 for m in sea], np.int64),
    }
    leave_fields(("ceiling height", "visibility"), len(texts), account)
    more = sum(len(text) > MANDATORY for text in texts)
    leave_fields(("additional groups but AA1, AJ1, GA1, MA1, OC1, SA1",), more, account)
    for mark, what in OPTIONAL.items():
        count = sum(mark in text[MANDATORY:] for text in texts)
        account.leave("other value", f"{what}: no variable of the table", count)
    return Reports(
        utc(fields(texts, 16, 27), "%Y%m%d%H%M"),
        numbers(fields(texts, 29, 34), 1000.0, [99999.0]),
        numbers(fields(texts, 35, 41), 1000.0, [999999.0]),
        numbers(fields(texts, 47, 51), 1.0, [9999.0]),
        type_,
        np.array([f"{text[4:10]}-{text[10:15]}" for text in texts], object),
        np.full(len(texts), True),
        values,
        quality,
    )


def _of(
    matches: Sequence[re.Match[str] | None], group: int, scale: float, missing: float
) -> NDArray[np.float64]:
    return numbers([match[group] if match else "" for match in matches], scale, [missing])
