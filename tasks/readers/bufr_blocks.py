"""Blocks of BUFR values → columns of reports: values, times, places and identifiers."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block, Column

__all__ = [
    "Above",
    "confidence",
    "first",
    "identifiers",
    "level_blocks",
    "number",
    "texts",
    "times",
]

Array = NDArray[np.float64]
Above = NDArray[np.int64]
YEARS = (1900, 2100)
SENSOR_HEIGHT, LOWEST = 7032, 1.0


def first(block: Block, codes: Iterable[int], deep: bool = True) -> Array | None:
    """Return the first value of elements in each row, also of replications below.

    Where the first element has none, the next of `codes` counts. None if no element is there.
    """
    found = _chosen(block, codes, deep)
    return None if found is None else found.values


def confidence(block: Block, codes: Iterable[int], deep: bool = True) -> Array | None:
    """Return the per cent confidence of what `first` returns; None if none is given."""
    found = _chosen(block, codes, deep)
    return None if found is None else found.confidence


class _Chosen(NamedTuple):
    """Values, and their confidences if any are given."""

    values: Array
    confidence: Array | None

    def spread(self) -> Array:
        """Return the confidences, NaN where none is given."""
        none = np.full(len(self.values), np.nan)
        return none if self.confidence is None else self.confidence


def _chosen(block: Block, codes: Iterable[int], deep: bool) -> _Chosen | None:
    result: _Chosen | None = None
    for code in codes:
        found = _first(block, code, deep)
        if result is None or found is None:
            result = result or found
            continue
        lacking = np.isnan(result.values)
        sure = None
        if result.confidence is not None or found.confidence is not None:
            sure = np.where(lacking, found.spread(), result.spread())
        result = _Chosen(np.where(lacking, found.values, result.values), sure)
    return result


def _first(block: Block, code: int, deep: bool) -> _Chosen | None:
    for item in block.items:
        if isinstance(item, Column):
            if item.code == code and item.values.dtype.kind == "f":
                return _Chosen(np.asarray(item.values, np.float64), item.confidence)
        elif deep and item.rows:
            below = _first(item, code, deep)
            if below is not None:
                return _first_of_each(item, below, block.rows)
    return None


def _first_of_each(block: Block, below: _Chosen, rows: int) -> _Chosen:
    """Return the first value of each row above, of sensors that are not at the ground."""
    good = np.flatnonzero(np.isfinite(below.values) & ~(number(block, SENSOR_HEIGHT) < LOWEST))
    parents, index = np.unique(block.parent[good], return_index=True)

    def above(own: Array) -> Array:
        found = np.full(rows, np.nan)
        found[parents] = own[good[index]]
        return found

    sure = None if below.confidence is None else above(below.confidence)
    return _Chosen(above(below.values), sure)


def number(block: Block, *codes: int) -> Array:
    """Return the first value of elements at the level of the block, else NaN."""
    found = first(block, codes, deep=False)
    return np.full(block.rows, np.nan) if found is None else found


def texts(block: Block, code: int) -> NDArray[np.object_] | None:
    """Return the texts of an element, empty where missing; None if it is not there."""
    column = next(block.columns(code), None)
    if column is None or column.values.dtype.kind != "S":
        return None
    unique, inverse = np.unique(column.values, return_inverse=True)
    return np.array([_text(value) for value in unique], object)[inverse]


def _text(value: bytes) -> str:
    text = value.decode("latin-1").strip(" \x00\xff")
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def level_blocks(
    block: Block, coordinates: frozenset[int], observed: frozenset[int]
) -> list[tuple[Block, Above]]:
    """Return the replications that are levels, each with the row of the top block of its rows."""
    found: list[tuple[Block, Above]] = []
    for below in block.blocks():
        if not below.rows:
            continue
        if below.has(*coordinates) and below.has(*observed):
            found.append((below, below.parent))
        else:
            inner = level_blocks(below, coordinates, observed)
            found += [(deep, below.parent[above]) for deep, above in inner]
    return found


def times(block: Block) -> NDArray[np.datetime64]:
    """Return the times of the rows, NaT where they are missing or none."""
    year, month, day = (number(block, code) for code in (4001, 4002, 4003))
    hour, minute, second = (number(block, code) for code in (4004, 4005, 4006))
    minute, second = np.nan_to_num(minute), np.nan_to_num(second)
    with np.errstate(invalid="ignore"):
        good = (year >= YEARS[0]) & (year <= YEARS[1]) & (month >= 1) & (month <= 12)
        good &= (day >= 1) & (day <= 31) & (hour >= 0) & (hour <= 24)
        good &= (minute < 60) & (second <= 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0).astype("timedelta64[D]")
    good &= days.astype("datetime64[M]") == months  # the month has that day
    seconds = np.where(good, hour * 3600 + minute * 60 + second, 0)
    time = days.astype("datetime64[ns]") + (seconds * 1e9).astype("timedelta64[ns]")
    return np.where(good, time, np.datetime64("NaT", "ns"))


def identifiers(block: Block) -> NDArray[np.object_]:
    """Return an identifier of each row: WMO number, WIGOS, call sign, flight, buoy, satellite."""
    names = np.full(block.rows, "", object)

    def fill(values: NDArray[np.object_] | None) -> None:
        if values is not None:
            empty = names == ""
            names[empty] = values[empty]

    fill(_formatted(block, "{:02.0f}{:03.0f}", 1001, 1002))
    fill(_wigos(block))
    for code in (1011, 1006, 1008):
        fill(texts(block, code))
    for code in (1087, 1005):
        fill(_formatted(block, "{:.0f}", code))
    fill(_formatted(block, "satellite {:.0f}", 1007))
    fill(texts(block, 1015))
    return names


def _formatted(block: Block, form: str, *codes: int) -> NDArray[np.object_] | None:
    columns = [next(block.columns(code), None) for code in codes]
    numbers = [c.values for c in columns if c is not None and c.values.dtype.kind == "f"]
    if len(numbers) < len(codes):
        return None
    known = np.all([np.isfinite(values) for values in numbers], axis=0)
    names = np.full(block.rows, "", object)
    unique, inverse = np.unique(np.column_stack(numbers)[known], axis=0, return_inverse=True)
    own = np.array([form.format(*row) for row in unique], object)
    names[known] = own[inverse.reshape(-1)] if len(own) else ""
    return names


def _wigos(block: Block) -> NDArray[np.object_] | None:
    local = texts(block, 1128)
    head = _formatted(block, "{:.0f}-{:.0f}-{:.0f}-", 1125, 1126, 1127)
    if local is None or head is None:
        return None
    whole = (local != "") & (head != "")
    return np.where(whole, head + local, "")
