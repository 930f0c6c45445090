"""Lines of text files in batches, with their offsets; numbers from columns of text."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.readers.account import Account
from tasks.readers.files import Stream

__all__ = ["Line", "fields", "lines", "numbers", "plausible_times", "unix_times", "utc"]

BATCH_LINES, LONGEST = 20_000, 1 << 16
Array = NDArray[np.float64]


class Line(NamedTuple):
    """A line without its end, and where it starts in the file."""

    offset: int
    text: str


def lines(stream: Stream, size: int = BATCH_LINES) -> Iterator[tuple[Account, list[Line]]]:
    """Yield lists of lines, each with an account of what was damaged among them."""
    reader, offset = io.BufferedReader(stream, 1 << 18), 0
    account, batch = Account(), list[Line]()
    while raw := reader.readline(LONGEST):
        start, offset = offset, offset + len(raw)
        if len(raw) == LONGEST and not raw.endswith(b"\n"):
            account.damage(start, f"line of more than {LONGEST} bytes")
            while (raw := reader.readline(LONGEST)) and not raw.endswith(b"\n"):
                offset += len(raw)
            offset += len(raw)
            continue
        batch.append(Line(start, raw.decode("latin-1").rstrip("\r\n")))
        if len(batch) >= size:
            yield account, batch
            account, batch = Account(), []
    if stream.fault:
        account.damage(offset, stream.fault)
    yield account, batch


def fields(texts: Sequence[str], start: int, end: int) -> list[str]:
    """Return the characters `start` to `end` (from 1, both in it) of each text."""
    return [text[start - 1 : end] for text in texts]


def numbers(texts: Sequence[str], scale: float = 1.0, missing: Sequence[float] = ()) -> Array:
    """Return texts as numbers divided by a scale; NaN for what is none and for sentinels."""
    found = pd.to_numeric(pd.Series(texts, dtype=object).str.strip(), errors="coerce")
    values = found.to_numpy(np.float64, na_value=np.nan)
    for sentinel in missing:
        values = np.where(values == sentinel, np.nan, values)
    return values / scale


def utc(texts: Sequence[str], form: str) -> NDArray[np.datetime64]:
    """Return times of a strptime form; NaT for what is none or not of 1900 to 2100."""
    found = pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce")
    return plausible_times(found.to_numpy("datetime64[ns]"))


def plausible_times(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Return times of the years 1900 to 2099, the others as NaT."""
    good = (times >= np.datetime64("1900")) & (times < np.datetime64("2100"))
    return np.where(good, times, np.datetime64("NaT", "ns")).astype("datetime64[ns]")


def unix_times(seconds: Array) -> NDArray[np.datetime64]:
    """Return seconds since 1970 as times, NaT for what is not of 1900 to 2099."""
    good = np.isfinite(seconds) & (np.abs(seconds) < 4.2e9)
    whole = (np.where(good, seconds, 0.0) * 1e3).round().astype("int64") * 1_000_000
    times = np.where(good, whole.astype("datetime64[ns]"), np.datetime64("NaT", "ns"))
    return plausible_times(times.astype("datetime64[ns]"))
