"""NCEP PREPBUFR: mass and wind reports with NCEP's quality marks, through the embedded tables.

The value of a quantity is that of the latest event (the first of its stack), its mark goes to
`quality` (0 keep, 1 good, 2 neutral, 3 suspect, 4 to 15 rejected; 0 as well where it has none).
Humidity is specific humidity in mg/kg. A height or elevation of 9999 m means unknown, and a
pressure that was computed from it is left out with it.

References:
    | NCEP, PREPBUFR code tables, https://www.emc.ncep.noaa.gov/mmb/data_processing/prepbufr.doc
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.observations.conversions import GRAVITY
from models.observations.reports import Reports
from models.units import to_si
from tasks.bufr.blocks import Block
from tasks.bufr.decode import Decoded
from tasks.bufr.tables import Tables
from tasks.readers.account import Account
from tasks.readers.bufr_blocks import first, number, texts

__all__ = ["PREPBUFR_CENTRE", "Mnemonics", "prepbufr_reports"]

PREPBUFR_CENTRE = 7
UNKNOWN_HEIGHT = 9999.0
Array = NDArray[np.float64]
NAMES = (
    *("SID", "XOB", "YOB", "DHR", "ELV", "TYP", "CAT", "XDR", "YDR", "HRDR"),
    *("POB", "PQM", "TOB", "TQM", "TVO", "TDO", "QOB", "QQM", "UOB", "VOB", "WQM", "ZOB", "ZQM"),
    *("PMO", "PMQ", "SST1", "SSTQM", "TPC"),
)
TYPES = {
    **dict.fromkeys((120, 122, 220, 221), "temp"),
    **dict.fromkeys(range(130, 136), "aircraft"),
    **dict.fromkeys(range(230, 236), "aircraft"),
    **dict.fromkeys(range(240, 261), "satwind"),
    **dict.fromkeys((180, 280, 182, 282), "ship"),
    **dict.fromkeys((187, 287, 192, 292), "metar"),
    **dict.fromkeys((181, 281, 183, 284, 193, 293), "synop"),
    **dict.fromkeys((223, 224, 228, 229), "profiler"),
}


class Mnemonics:
    """Descriptors of a file's tables by NCEP's mnemonics."""

    def __init__(self, tables: Tables) -> None:
        """Take the tables of a file."""
        self._tables = tables

    def __getitem__(self, name: str) -> int:
        """Return the descriptor of a mnemonic; 0, which is none, if the tables lack it."""
        return self._tables.names.get(name, 0)

    @cached_property
    def wanted(self) -> frozenset[int]:
        """The descriptors that are read."""
        return frozenset(self[name] for name in NAMES) - {0}

    def unit(self, name: str) -> str:
        """Return the unit of an element as NCEP spells it."""
        known = self._tables.elements.get(self[name])
        return known.units if known else ""

    def is_prepbufr(self, block: Block) -> bool:
        """Tell whether a block is one of reports with offsets from the cycle."""
        return bool(self["DHR"]) and block.has(self["DHR"]) and block.has(self["SID"])


def prepbufr_reports(decoded: Decoded, names: Mnemonics, account: Account) -> tuple[Reports, str]:
    """Return the reports, one a level, of PREPBUFR messages."""
    block, message = decoded.block, decoded.message
    code = np.nan_to_num(number(block, names["TYP"])).astype(np.int64)
    surface = (code >= 180) & (code < 200) | (code >= 280) & (code < 300)
    unknown = number(block, names["ELV"]) == UNKNOWN_HEIGHT
    elevation = np.where(unknown, np.nan, number(block, names["ELV"]))
    time = _cycle_times(decoded)[message] + _nanoseconds(number(block, names["DHR"]))
    station = texts(block, names["SID"])
    type_ = np.array([TYPES.get(int(c), f"ncep {c}") for c in code], object)
    level, above = _levels(block, names)
    values, quality = _values(level, names)
    account.leave(
        "other value",
        "pressure computed from an unknown elevation",
        int((unknown[above] & np.isfinite(values["station_pressure"])).sum()),
    )
    values["station_pressure"] = np.where(unknown[above], np.nan, values["station_pressure"])
    aloft = ~surface[above]
    values["pressure"] = np.where(aloft, values["station_pressure"], np.nan)
    quality["station_pressure"] = quality["pressure"]
    values["station_pressure"] = np.where(aloft, np.nan, values["station_pressure"])
    values["geopotential"] = np.where(aloft, values["geopotential"], np.nan)
    return (
        Reports(
            time[above],
            number(block, names["YOB"])[above],
            number(block, names["XOB"])[above],
            elevation[above],
            type_[above],
            (np.full(block.rows, "", object) if station is None else station)[above],
            surface[above],
            values,
            quality,
            {"report_code": code[above]},
        ),
        "level",
    )


def _cycle_times(decoded: Decoded) -> NDArray[np.datetime64]:
    """Return the time of section 1 of each message, NaT if it is none."""
    found: list[np.datetime64] = []
    for message in decoded.messages:
        year, month, day, hour, minute = message.date
        try:
            text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"
            found.append(np.datetime64(text, "ns"))
        except ValueError:
            found.append(np.datetime64("NaT", "ns"))
    return np.array(found, "datetime64[ns]")


def _nanoseconds(hours: Array) -> NDArray[np.timedelta64]:
    known = np.isfinite(hours)
    spans = np.round(np.where(known, hours, 0.0) * 3600.0) * 1e9
    return np.where(known, spans.astype("timedelta64[ns]"), np.timedelta64("NaT", "ns"))


def _levels(block: Block, names: Mnemonics) -> tuple[Block, NDArray[np.int64]]:
    """Return the block whose rows are levels: that with their category, at the top or below."""
    if block.has(names["CAT"]):
        return block, np.arange(block.rows)
    for below in block.blocks():
        if below.has(names["CAT"]):
            return below, below.parent
    return block, np.arange(block.rows)


def _values(
    level: Block, names: Mnemonics
) -> tuple[dict[str, Array], dict[str, NDArray[np.int64]]]:
    def value(name: str) -> Array:
        found = first(level, (names[name],)) if names[name] else None
        return np.full(level.rows, np.nan) if found is None else found

    def si(name: str, kind: str) -> Array:
        unit = {"DEG C": "degC"}.get(names.unit(name), names.unit(name))
        return to_si(value(name), unit, kind, name) if unit else value(name)

    height = value("ZOB")
    values = {
        "station_pressure": si("POB", "pressure"),
        "temperature": si("TOB", "temperature"),
        "specific_humidity": si("QOB", "fraction"),
        "u": si("UOB", "speed"),
        "v": si("VOB", "speed"),
        "geopotential": np.where(height == UNKNOWN_HEIGHT, np.nan, height) * GRAVITY,
        "sea_level_pressure": si("PMO", "pressure"),
        "sea_temperature": si("SST1", "temperature"),
    }
    marks = {
        "pressure": "PQM",
        "temperature": "TQM",
        "specific_humidity": "QQM",
        "u": "WQM",
        "geopotential": "ZQM",
        "sea_level_pressure": "PMQ",
        "sea_temperature": "SSTQM",
    }
    quality = {name: np.nan_to_num(value(mark)).astype(np.int64) for name, mark in marks.items()}
    return values, quality
