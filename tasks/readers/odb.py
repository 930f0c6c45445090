"""ODB-2, ECMWF's observation database as one stream: a row is one observed value.

Decoded with pyodc (extra `odb`), frame by frame. The variable is the number `varno`, its place the
pressure or height in `vertco_reference_1`. `datum_status` (a bit field of ECMWF's use of it) goes to
`quality`, `obs_error` to `error`.

References:
    | ECMWF, ODB governance, https://codes.ecmwf.int/odb (varno, obstype, vertco_type)
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.observations.reports import Reports
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.lines import plausible_times
from tasks.readers.unread import leave_fields

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_odb"]

Array = NDArray[np.float64]
ALOFT = {1: "geopotential", 2: "temperature", 3: "u", 4: "v", 7: "specific_humidity"}
ALOFT |= {162: "bending_angle"}
SURFACE = {39: "temperature", 41: "u", 42: "v", 110: "station_pressure", 11: "sea_temperature"}
SURFACE |= {108: "sea_level_pressure"}
TYPES = {1: "synop", 2: "aircraft", 3: "satwind", 4: "buoy", 5: "temp", 6: "pilot"}
TYPES |= {10: "occultation", 16: "satwind"}
NEEDED = ("varno", "obsvalue", "lat", "lon", "date", "time")
READ = {*NEEDED, "vertco_type", "vertco_reference_1", "obs_error", "datum_status"}
READ |= {"obstype", "statid", "stalt"}
BY_PRESSURE, BY_HEIGHT, BY_IMPACT = 1, 2, 6
LEAST_ROW = 2
MISSING_INTEGER, MISSING_REAL = 2147483647, -2147483647.0
BROKEN = (  # pyodc checks little: damaged bytes end in any of these
    *(ValueError, LookupError, EOFError, TypeError, AssertionError, AttributeError),
    *(RuntimeError, ArithmeticError, MemoryError, struct.error),
)


def read_odb(file: File) -> Iterator[Batch]:
    """Yield the batches of an ODB-2 file, one a frame.

    Raises:
        Unreadable: pyodc is not installed, or a frame is damaged.
    """
    try:
        import pyodc  # noqa: F401 (only whether it is there)
    except ModuleNotFoundError as error:
        raise Unreadable("ODB-2 needs pyodc: pip install 'losda[odb]'") from error
    with file.local() as path, path.open("rb") as stream:
        frames = _frames(stream, path.stat().st_size)
        while True:
            try:
                frame = next(frames, None)
            except BROKEN as error:
                text = str(error) or type(error).__name__
                raise Unreadable(f"frame of ODB-2 is damaged ({text})") from error
            if frame is None:
                return
            account = Account(messages=len(frame))
            yield batch_of(_reports(frame, account), f"odb:{file.name}", account)


def _frames(stream: BinaryIO, size: int) -> "Iterator[pd.DataFrame]":
    """Yield the frames; each row has two bytes at least, so more rows than that are damage."""
    import pyodc

    for frame in pyodc.Reader(stream, aggregated=False).frames:
        if not 0 <= frame.nrows <= size // LEAST_ROW:
            raise ValueError(f"{frame.nrows} rows in a file of {size} bytes")
        yield frame.dataframe()


def _reports(frame: "pd.DataFrame", account: Account) -> Reports:
    frame = frame.rename(columns={name: str(name).partition("@")[0] for name in frame.columns})
    frame = frame.loc[:, ~frame.columns.duplicated()]
    leave_fields((str(n) for n in frame.columns if n not in READ), len(frame), account)
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise Unreadable(f"ODB-2 without the column {missing[0]}")

    def value(name: str) -> Array:
        if name not in frame:
            return np.full(len(frame), np.nan)
        found = np.asarray(frame[name].to_numpy(np.float64, na_value=np.nan))
        bad = (found == MISSING_INTEGER) | (found == MISSING_REAL)
        return np.where(bad, np.nan, found)

    varno, observed = np.nan_to_num(value("varno")).astype(np.int64), value("obsvalue")
    kind, place = np.nan_to_num(value("vertco_type")), value("vertco_reference_1")
    known = ALOFT | SURFACE
    values = {name: np.full(len(frame), np.nan) for name in known.values()}
    errors = {name: values[name].copy() for name in values}
    for number, name in known.items():
        rows = varno == number
        values[name][rows], errors[name][rows] = observed[rows], value("obs_error")[rows]
    for number in sorted({int(n) for n in varno[~np.isin(varno, list(known))]}):
        count = int(np.isfinite(observed[varno == number]).sum())
        account.leave("other value", f"varno {number}: no variable of the table", count)
    if "vertco_type" not in frame:
        kind = np.full(len(frame), float(BY_PRESSURE))
    values["pressure"] = np.where(kind == BY_PRESSURE, place, np.nan)
    values["height"] = np.where(kind == BY_HEIGHT, place, np.nan)
    values["impact_parameter"] = np.where(kind == BY_IMPACT, place, np.nan)
    status = np.nan_to_num(value("datum_status")).astype(np.int64)
    obstype = np.nan_to_num(value("obstype")).astype(np.int64)
    station = frame["statid"] if "statid" in frame else [""] * len(frame)
    return Reports(
        _times(value("date"), value("time")),
        value("lat"),
        value("lon"),
        value("stalt"),
        np.array([TYPES.get(int(n), f"obstype {n}") for n in obstype], object),
        np.array([str(text).strip() for text in station], object),
        np.isin(varno, list(SURFACE)),
        values,
        dict.fromkeys(values, status),
        errors=errors,
    )


def _times(date: Array, time: Array) -> NDArray[np.datetime64]:
    """Return times from YYYYMMDD and HHMMSS."""
    import pandas as pd

    good = np.isfinite(date) & np.isfinite(time) & (date > 0) & (date < 1e8) & (time >= 0)
    texts = [
        f"{int(d):08d}{int(t):06d}" if g else "" for d, t, g in zip(date, time, good, strict=True)
    ]
    found = pd.to_datetime(pd.Series(texts, dtype=object), format="%Y%m%d%H%M%S", errors="coerce")
    return plausible_times(found.to_numpy("datetime64[ns]"))
