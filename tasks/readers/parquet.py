"""Parquet: observation tables (also those of earth2studio), and NNJA-AI's wide ones.

A table of the first kind has one value a row in `variable` and `observation`, SI, as the design's;
columns it lacks are filled (no error, no elevation), more columns are kept. One of NNJA-AI has one
report a row, columns named by NCEP's mnemonics (`TMDB`, `WSPD`, also as the last part of a dotted
name) and, for soundings, by level (`TMDB_PRLC50000`, pressure in Pa).

References:
    | NVIDIA, earth2studio, data frames of observations, https://nvidia.github.io/earth2studio
    | Brightband, NNJA-AI, https://github.com/brightbandtech/nnja-ai
"""

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.observations.conversions import longitude_360
from models.observations.reports import Reports
from models.observations.table import COLUMNS, naive_utc
from models.observations.tabulate import NO_POSITION, NO_TIME
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.lines import plausible_times
from tasks.readers.unread import leave_fields

__all__ = ["read_parquet"]

Array = NDArray[np.float64]
BATCH = 50_000
LONG = ("time", "lat", "lon", "variable", "observation")
NUMBERS = ("elev", "pres", "error", "level")
TEXTS = {"type": "unknown", "station": "", "source": ""}
MNEMONICS = {
    "TMDB": "temperature",
    "TMDP": "dewpoint",
    "WDIR": "wind_direction",
    "WSPD": "wind_speed",
    "UWND": "u",
    "VWND": "v",
    "GP10": "geopotential",
    "PRES": "station_pressure",
    "PMSL": "sea_level_pressure",
    "ALSE": "altimeter",
    "SST1": "sea_temperature",
    "REHU": "relative_humidity",
}
PERCENT = {"relative_humidity"}
LEVEL = re.compile(r"(.+)_PRLC(\d+)")
USED = {"LAT", "LON", "SELV", "OBS_TIMESTAMP", "time", "RPID", "STID", "SID"}
TIMES, STATIONS = ("OBS_TIMESTAMP", "time"), ("RPID", "STID", "SID")


def read_parquet(file: File) -> Iterator[Batch]:
    """Yield the batches of a Parquet file of observations."""
    source = f"parquet:{file.name}"
    with file.local() as path:
        try:
            table = pq.ParquetFile(path)
            names = set(table.schema_arrow.names)
            for part in table.iter_batches(BATCH):
                account = Account(messages=part.num_rows)
                frame = part.to_pandas()
                if set(LONG) <= names:
                    yield _long(frame, source, account)
                elif {"LAT", "LON"} <= names:
                    for reports in list(_wide(frame, account)):  # counts first
                        yield batch_of(reports, source, account)
                        account = Account()
                else:
                    lacking = min(set(LONG) - names)
                    raise Unreadable(f"Parquet without the column {lacking!r} of observations")
        except Unreadable:
            raise
        except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Unreadable(f"Parquet is damaged: {reason}") from error


def _long(frame: pd.DataFrame, source: str, account: Account) -> Batch:
    account.reports = len(frame)
    try:
        time = plausible_times(naive_utc(frame["time"]).to_numpy())
        values = {name: frame[name].to_numpy(np.float64) for name in ("lat", "lon", "observation")}
    except (ValueError, TypeError) as error:
        raise Unreadable(f"Parquet of observations: {error}") from error
    longitude = longitude_360(values["lon"])
    timed = ~np.isnat(time)
    placed = (np.abs(values["lat"]) <= 90.0) & np.isfinite(longitude)
    valued = np.isfinite(values["observation"])
    account.leave("report", NO_TIME, int((~timed).sum()))
    account.leave("report", NO_POSITION, int((timed & ~placed).sum()))
    sound = timed & placed
    account.values = int(sound.sum())
    account.leave("value", "value is not finite", int((sound & ~valued).sum()))
    good = sound & valued
    table = frame.assign(time=time, lon=longitude, **_filled(frame, source))
    table = table[[*COLUMNS, *(str(n) for n in frame.columns if n not in COLUMNS)]]
    table = table.loc[good].reset_index(drop=True)
    account.kept.update(zip(table["type"], table["variable"], strict=True))
    return Batch(table, account)


def _filled(frame: pd.DataFrame, source: str) -> dict[str, pd.Series]:
    """Return the columns that need a value in each row."""
    filled: dict[str, pd.Series] = {}
    for name in NUMBERS:
        column = frame.get(name, pd.Series(np.nan, frame.index))
        filled[name] = pd.to_numeric(column, errors="coerce").astype(np.float64)
    for name, default in (TEXTS | {"source": source}).items():
        column = frame.get(name, pd.Series(default, frame.index))
        filled[name] = column.where(column.notna(), default).astype("str")
    filled["variable"] = frame["variable"].astype("str")
    marks = pd.to_numeric(frame.get("quality", pd.Series(0, frame.index)), errors="coerce")
    filled["quality"] = marks.fillna(0).astype(np.int64)
    return filled


def _wide(frame: pd.DataFrame, account: Account) -> Iterator[Reports]:
    """Yield the surface columns, then those of each pressure."""
    levels: dict[float, dict[str, Array]] = defaultdict(dict)
    for name in frame.columns:
        found = LEVEL.fullmatch(str(name))
        bare, pressure = (found[1], float(found[2])) if found else (str(name), np.nan)
        quantity = MNEMONICS.get(bare.rpartition(".")[2])
        if quantity is None or not pd.api.types.is_numeric_dtype(frame[name].dtype):
            if pd.api.types.is_float_dtype(frame[name].dtype) and bare not in ("LAT", "LON"):
                count = int(frame[name].notna().sum())
                account.leave("other value", f"{bare}: no variable of the table", count)
            elif bare not in USED and np.isnan(pressure):
                leave_fields([bare], int(frame[name].notna().sum()), account)
            continue
        own = frame[name].to_numpy(np.float64, na_value=np.nan)
        own = own / 100.0 if quantity in PERCENT else own
        level = levels[0.0 if np.isnan(pressure) else pressure]
        level[quantity] = np.where(
            np.isnan(level.get(quantity, own)), own, level.get(quantity, own)
        )
    for pressure, values in sorted(levels.items(), reverse=True):
        if pressure:
            values["pressure"] = np.full(len(frame), pressure)
        yield _reports(frame, values, surface=not pressure)


def _reports(frame: pd.DataFrame, values: dict[str, Array], surface: bool) -> Reports:
    size = len(frame)
    stamp = next((frame[name] for name in TIMES if name in frame), pd.Series(pd.NaT, frame.index))
    times = pd.to_datetime(stamp, errors="coerce", utc=True).dt.tz_localize(None)
    station = next((frame[name] for name in STATIONS if name in frame), None)
    elevation = frame["SELV"] if "SELV" in frame else pd.Series(np.nan, frame.index)
    return Reports(
        plausible_times(times.to_numpy("datetime64[ns]")),
        frame["LAT"].to_numpy(np.float64, na_value=np.nan),
        frame["LON"].to_numpy(np.float64, na_value=np.nan),
        np.asarray(elevation, np.float64),
        np.full(size, "synop" if surface else "temp", object),
        np.full(size, "", object) if station is None else station.astype(str).to_numpy(object),
        np.full(size, surface),
        values,
    )
