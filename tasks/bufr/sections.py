"""Sections 1 to 4 of a BUFR message: what it is, which descriptors, where its data are.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, editions 2, 3 and 4
"""

from typing import NamedTuple

from tasks.bufr.frames import Damage, Frame

__all__ = ["DX", "Message", "parse", "spelled"]

DX = 11
"""Category of the messages that hold tables."""


class Message(NamedTuple):
    """A framed message whose sections fit into it.

    Attributes:
        offset: Where it starts in the file.
        data: All of its bytes.
        centre: Originating centre.
        versions: Of the master tables and of the local ones.
        category: Data category (table A).
        subcategory: International one if there is one, else the local one.
        date: Year, month, day, hour and minute of section 1, unchecked.
        subsets: Number of subsets.
        compressed: Whether the values of all subsets lie side by side.
        descriptors: Section 3, two bytes each.
        start: First byte of the data of section 4.
        end: First byte behind section 4.
    """

    offset: int
    data: bytes
    centre: int
    versions: tuple[int, int]
    category: int
    subcategory: int
    date: tuple[int, int, int, int, int]
    subsets: int
    compressed: bool
    descriptors: bytes
    start: int
    end: int

    @property
    def template(self) -> str:
        """The descriptors as text, the first of many."""
        codes = [spelled(code) for code in unpacked(self.descriptors)]
        return ", ".join(codes[:4]) + (", …" if len(codes) > 4 else "")


def unpacked(descriptors: bytes) -> list[int]:
    """Return descriptors as numbers F · 100000 + X · 1000 + Y."""
    pairs = zip(descriptors[::2], descriptors[1::2], strict=True)
    return [(a >> 6) * 100_000 + (a & 63) * 1000 + b for a, b in pairs]


def spelled(code: int) -> str:
    """Return a descriptor as WMO spells it, such as 3 07 080."""
    return f"{code // 100_000} {code // 1000 % 100:02d} {code % 1000:03d}"


def parse(frame: Frame) -> Message | Damage:
    """Return the sections of a message, or what is wrong with them."""
    data, end = frame.data, len(frame.data) - 4
    edition, one = data[7], 8
    if edition not in (2, 3, 4):
        return Damage(frame.offset, f"edition {edition} of BUFR; allowed: 2, 3, 4")
    length = int.from_bytes(data[one : one + 3], "big")
    if not (18 if edition == 4 else 17) <= length < end - one:
        return Damage(frame.offset, "length of section 1 does not fit")
    header = data[one : one + length]
    if edition == 4:
        centre = int.from_bytes(header[4:6], "big")
        flags, category, own = header[9], header[10], (header[11], header[12])
        year, rest, versions = int.from_bytes(header[15:17], "big"), header[17:21], header[13:15]
        subcategory = own[0] if own[0] != 255 else own[1]
    else:
        centre, flags, category, subcategory = header[5], header[7], header[8], header[9]
        versions = header[10:12]
        century = header[12] % 100
        year, rest = (1900 if century > 60 else 2000) + century, header[13:17]
    three = one + length
    if flags & 128:
        three += int.from_bytes(data[three : three + 3], "big")
    length = int.from_bytes(data[three : three + 3], "big")
    four = three + length
    if length < 9 or four + 4 > end:
        return Damage(frame.offset, "length of section 3 does not fit")
    subsets, kind = int.from_bytes(data[three + 4 : three + 6], "big"), data[three + 6]
    length = int.from_bytes(data[four : four + 3], "big")
    if length < 4 or four + length > end:
        return Damage(frame.offset, "length of section 4 does not fit")
    count = (four - three - 7) // 2 * 2
    return Message(
        frame.offset,
        data,
        centre,
        (versions[0], versions[1]),
        category,
        subcategory,
        (year, *rest[:4]) if len(rest) == 4 else (year, 0, 0, 0, 0),
        subsets,
        bool(kind & 64),
        data[three + 7 : three + 7 + count],
        four + 4,
        four + length,
    )
