"""Slices of netCDF variables as plain arrays: fill values NaN, units converted, texts joined.

Fill values are those of the variable, and whatever of the large numbers that MADIS writes beside
them. Times with brackets in their units are read as what they mean.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import netCDF4
import numpy as np
from numpy.typing import NDArray

from models.units import to_si
from tasks.readers.account import Unreadable
from tasks.readers.lines import unix_times
from tasks.readers.netcdf_header import check_classic

__all__ = ["Seen", "Variable", "flags", "open_netcdf", "si", "strings", "times", "values"]

Array = NDArray[np.float64]
Variable: TypeAlias = "netCDF4.Variable[Any]"
HUGE = 9.0e35
MOST_COMPRESSION, LEAST_CLAIM = 1000, 1 << 16
FILLS = (99999.0, -9999.0)
EPOCH = re.compile(r"seconds since \(?1970-0?1-0?1[T ]0?0:0?0:0?0(\.0*)?\)?Z?", re.IGNORECASE)
EPOCH_OLD = re.compile(r"seconds since 1/1/1970", re.IGNORECASE)


class Seen(Mapping[str, Variable]):
    """Variables of a file; knows which of them were looked at."""

    def __init__(self, variables: Mapping[str, Variable]) -> None:
        """Take the variables; none has been looked at."""
        self._variables, self._seen = variables, set[str]()

    def __getitem__(self, name: str) -> Variable:
        """Return a variable, which is then a seen one."""
        found = self._variables[name]
        self._seen.add(name)
        return found

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a variable, without looking at it."""
        return name in self._variables

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._variables)

    def __len__(self) -> int:
        """Return the number of variables."""
        return len(self._variables)

    def unseen(self, dimension: str) -> list[str]:
        """Return the names of the others along a dimension, in their order."""
        return [
            name
            for name, own in self._variables.items()
            if name not in self._seen and dimension in own.dimensions
        ]


@contextmanager
def open_netcdf(path: Path) -> Iterator[netCDF4.Dataset]:
    """Open a file without masks and scaling of the library's own.

    Raises:
        Unreadable: It is not netCDF, or is damaged.
    """
    try:
        with path.open("rb") as file:
            classic = file.read(3) == b"CDF"
        if classic:
            check_classic(path)
        dataset = netCDF4.Dataset(path)
    except (OSError, RuntimeError, ValueError, MemoryError) as error:
        raise Unreadable(f"netCDF cannot be opened: {error}") from error
    try:
        dataset.set_auto_mask(False)
        _check_sizes(dataset, path.stat().st_size)
        yield dataset
    except Unreadable:
        raise
    except (RuntimeError, LookupError, ValueError, TypeError, MemoryError, OverflowError) as error:
        raise Unreadable(f"netCDF is damaged or lacks a variable: {error}") from error
    finally:
        dataset.close()


def _check_sizes(group: "netCDF4.Dataset | netCDF4.Group", size: int) -> None:
    """Refuse variables that claim far more than the file can hold.

    Raises:
        Unreadable: One does; damaged counts would be read as endless fill values.
    """
    ratio = MOST_COMPRESSION if group.data_model == "NETCDF4" else 1
    for variable in group.variables.values():
        width = getattr(variable.dtype, "itemsize", 1)
        claimed = math.prod(variable.shape) * width
        if claimed > max(ratio * size, LEAST_CLAIM * ratio):
            raise Unreadable(f"{variable.name} claims {claimed} bytes of a file of {size}")
    for below in group.groups.values():
        _check_sizes(below, size)


def values(variable: Variable, part: slice) -> Array:
    """Return numbers of a slice of the first dimension; fill values are NaN."""
    found = np.asarray(variable[part], np.float64)
    fill = getattr(variable, "_FillValue", None)
    bad = np.abs(found) >= HUGE
    bad &= ~np.isinf(found)
    if fill is not None:
        bad |= found == np.float64(fill)
    if variable.dtype.kind == "i":
        bad |= np.isin(found, (-2147483647.0, 2147483647.0, -32767.0))
    else:
        bad |= np.isin(found, FILLS)
    return np.where(bad, np.nan, found)


def si(variable: Variable, part: slice, kind: str, default: str = "") -> Array:
    """Return numbers in SI units, by the unit that the file names.

    Raises:
        Unreadable: The unit is not one of the kind.
    """
    unit = str(getattr(variable, "units", "") or default)
    try:
        return to_si(values(variable, part), unit.split("(")[0], kind, str(variable.name))
    except ValueError as error:
        raise Unreadable(str(error)) from error


def times(variable: Variable, part: slice) -> NDArray[np.datetime64]:
    """Return times that are seconds since 1970.

    Raises:
        Unreadable: They are counted otherwise.
    """
    unit = str(getattr(variable, "units", ""))
    if not (EPOCH.fullmatch(unit.strip()) or EPOCH_OLD.fullmatch(unit.strip())):
        allowed = "seconds since 1970-1-1 00:00:00"
        raise Unreadable(f"{variable.name}: unit {unit!r}; allowed: {allowed}")
    return unix_times(values(variable, part))


def strings(variable: Variable, part: slice) -> NDArray[np.object_]:
    """Return texts, of characters side by side or of one string each."""
    found = np.asarray(variable[part])
    if found.dtype.kind == "S" and found.ndim == 2:
        found = np.ascontiguousarray(found).view(f"S{found.shape[1]}")[:, 0]
    texts = [
        text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in found.tolist()
    ]
    return np.array([text.replace("\x00", " ").strip() for text in texts], object)


def flags(variable: Variable, part: slice, letters: Sequence[str]) -> NDArray[np.int64]:
    """Return quality letters as their place in `letters`; 0 for any other."""
    found = np.asarray(variable[part])
    marks = np.zeros(found.shape, np.int64)
    for place, letter in enumerate(letters):
        marks[found == letter.encode()] = place
    return marks
