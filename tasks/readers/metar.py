"""METAR as CSV: the decoded fields, and the raw report in the last column.

Columns are found by their names in the first line. Units: elevation m, temperatures degrees
Celsius, wind knots, altimeter inches of mercury. A variable wind (VRB in the raw report) has a
direction of 0 in the file: it has none. `QcFlag` goes to `quality`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from models.observations.reports import Reports
from models.units import to_si
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.lines import Line, lines, numbers, unix_times
from tasks.readers.unread import leave_fields

__all__ = ["read_metar"]

NEEDED = ("Unix_time", "ICAO", "Latitude", "Longitude", "Elev", "Temp", "Dewp", "Wdir", "Wspd")
READ = {*NEEDED, "Altimeter", "QcFlag", "Raw"}
NOTED = {"Wgst": "wind gust", "Vis": "visibility", "Pcp": "precipitation"}
VARIABLE = "VRB"


def read_metar(file: File) -> Iterator[Batch]:
    """Yield the batches of a METAR file."""
    header: list[str] = []
    with file.open() as stream:
        for account, batch in lines(stream):
            if not header and batch:
                header = [name.strip() for name in batch.pop(0).text.split(",")]
                missing = [name for name in NEEDED if name not in header]
                if missing:
                    raise Unreadable(f"METAR without the column {missing[0]}")
            columns = _columns(batch, header, account)
            others = (name for name in header if name not in READ | NOTED.keys())
            leave_fields(others, account.messages, account)
            yield batch_of(_reports(columns, account), f"metar:{file.name}", account)


def _columns(
    batch: Sequence[Line], header: list[str], account: Account
) -> dict[str, Sequence[str]]:
    rows = []
    for line in batch:
        if not line.text.strip():
            continue
        account.messages += 1
        row = line.text.split(",", len(header) - 1)
        if len(row) == len(header):
            rows.append(row)
        else:
            account.damage(line.offset, f"{len(row)} fields; allowed: {len(header)}")
    turned = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return dict(zip(header, turned, strict=True))


def _reports(columns: dict[str, Sequence[str]], account: Account) -> Reports:
    elevation, temperature, dewpoint, speed, direction = (
        numbers(columns[name]) for name in ("Elev", "Temp", "Dewp", "Wspd", "Wdir")
    )
    size = len(elevation)
    raw = columns.get("Raw", [""] * size)
    variable = np.array([VARIABLE in text for text in raw], bool)
    direction = np.where(variable, np.nan, direction)
    setting = numbers(columns.get("Altimeter", [""] * size))
    flag = np.nan_to_num(numbers(columns.get("QcFlag", ["0"] * size))).astype(np.int64)
    for name, what in NOTED.items():
        count = int(np.isfinite(numbers(columns.get(name, []))).sum())
        account.leave("other value", f"{what}: no variable of the table", count)
    values = {
        "temperature": to_si(temperature, "degC", "temperature"),
        "dewpoint": to_si(dewpoint, "degC", "temperature"),
        "wind_speed": to_si(speed, "kt", "speed"),
        "wind_direction": direction,
        "altimeter": to_si(setting, "inHg", "pressure"),
    }
    return Reports(
        unix_times(numbers(columns["Unix_time"])),
        numbers(columns["Latitude"]),
        numbers(columns["Longitude"]),
        elevation,
        np.full(size, "metar", object),
        np.array([text.strip() for text in columns["ICAO"]], object),
        np.full(size, True),
        values,
        dict.fromkeys(values, flag),
    )
