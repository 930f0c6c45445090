"""The header of a classic netCDF file, walked through before the library sees it.

netCDF-C trusts the counts in a header: some damaged ones keep it busy for 13 s. Here every list must
fit into the file, every dimension must exist, and all values must lie inside the file.

References:
    | Unidata, The NetCDF classic format specification, https://docs.unidata.ucar.edu/netcdf-c
"""

import math
import struct
from pathlib import Path

__all__ = ["check_classic"]

ABSENT, DIMENSIONS, VARIABLES, ATTRIBUTES = 0, 10, 11, 12
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
LONGEST_HEADER = 1 << 22
UNKNOWN_RECORDS = 0xFFFFFFFF


class _Header:
    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size, self.position = data, size, 4
        self.version = data[3]
        self.wide = self.version == 5

    def number(self, wide: bool = False) -> int:
        width = 8 if wide or self.wide else 4
        if self.position + width > len(self.data):
            raise ValueError("header ends after the file")
        (value,) = struct.unpack_from(">Q" if width == 8 else ">I", self.data, self.position)
        self.position += width
        return int(value)

    def tag(self) -> int:
        own, self.wide = self.wide, False
        try:
            return self.number()
        finally:
            self.wide = own

    def skip(self, length: int) -> None:
        self.position += -(-length // 4) * 4
        if self.position > len(self.data):
            raise ValueError("header ends after the file")

    def count(self, expected: int) -> int:
        tag, count = self.tag(), self.number()
        if tag not in (ABSENT, expected) or (tag == ABSENT and count):
            raise ValueError("header has a list of another kind")
        if count > len(self.data):
            raise ValueError("header has more entries than bytes")
        return count

    def type(self) -> int:
        code = self.tag()
        if code not in SIZES:
            raise ValueError(f"header has the unknown type {code}")
        return code

    def attributes(self) -> None:
        for _ in range(self.count(ATTRIBUTES)):
            self.skip(self.number())
            code = self.type()
            self.skip(SIZES[code] * self.number())


def check_classic(path: Path) -> None:
    """Walk through the header of a classic netCDF file.

    Raises:
        ValueError: It does not fit into the file, or contradicts itself.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(LONGEST_HEADER)
    if len(data) < 32 or data[:3] != b"CDF" or data[3] not in (1, 2, 5):
        raise ValueError("not classic netCDF")
    header = _Header(data, size)
    records = header.number()
    lengths = []
    for _ in range(header.count(DIMENSIONS)):
        header.skip(header.number())
        lengths.append(header.number())
    header.attributes()
    total, last = 0, 0
    for _ in range(header.count(VARIABLES)):
        width, begin, is_record = _variable(header, lengths)
        if is_record:
            total += width
        else:
            last = max(last, begin + width)
    if last > size + 3:
        raise ValueError("values go on behind the file")
    if records != UNKNOWN_RECORDS and records * total > size:
        raise ValueError(f"{records} records of {total} bytes in a file of {size}")


def _variable(header: _Header, lengths: list[int]) -> tuple[int, int, bool]:
    """Return the bytes of a variable (of one record), where it begins, whether it has records."""
    header.skip(header.number())
    shape = []
    dimensions = header.number()
    if dimensions > 1024:
        raise ValueError(f"a variable has {dimensions} dimensions")
    for _ in range(dimensions):
        place = header.number()
        if place >= len(lengths):
            raise ValueError("a variable has an unknown dimension")
        shape.append(lengths[place])
    header.attributes()
    width = SIZES[header.type()]
    header.number()
    begin = header.number(wide=header.version == 2)
    is_record = bool(shape) and shape[0] == 0
    return width * math.prod(shape[1:] if is_record else shape), begin, is_record
