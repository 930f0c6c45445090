"""The tables that NCEP writes into its files (DX messages, category 11), as tables B and D.

The data of such a message are characters, and counts of one byte before each list: entries of table
A, elements (mnemonic, unit, scale, reference, width) and sequences with their members. NCEP's
sequences 3 60 001 to 3 60 004 stand for a delayed replication of what comes next.

References:
    | NCEPLIBS-bufr, DX BUFR tables, https://noaa-emc.github.io/NCEPLIBS-bufr
"""

from tasks.bufr.sections import Message
from tasks.bufr.tables import Element, Tables, wmo_tables

__all__ = ["TABLE_DESCRIPTORS", "EmbeddedTables", "read_tables"]

REPLICATIONS = {
    360001: (101000, 31002),
    360002: (101000, 31001),
    360003: (101000, 31001),
    360004: (101000, 31000),
}
CATEGORY_BYTES, ELEMENT_BYTES, SEQUENCE_BYTES, MEMBER_BYTES = 67, 112, 70, 6
TABLE_DESCRIPTORS = bytes.fromhex("0001")
"""0 00 001 in section 3: the message defines table entries."""


class EmbeddedTables:
    """Tables that grow with each DX message; a new block of them starts anew."""

    def __init__(self) -> None:
        """Start without any."""
        self._elements: dict[int, Element] = {}
        self._sequences: dict[int, tuple[int, ...]] = {}
        self._names: dict[str, int] = {}
        self._tables: Tables | None = None

    def add(self, message: Message) -> None:
        """Add the entries of a DX message.

        Raises:
            ValueError: The message does not hold such tables.
        """
        elements, sequences, names = read_tables(message.data[message.start : message.end])
        if elements or sequences:
            self._elements |= elements
            self._sequences |= sequences
            self._names |= names
            self._tables = None

    @property
    def tables(self) -> Tables | None:
        """Tables B and D, those of WMO below; None if no message brought any."""
        if self._tables is None and self._elements:
            standard = wmo_tables()
            self._tables = Tables(
                {**standard.elements, **self._elements},
                {**standard.sequences, **REPLICATIONS, **self._sequences},
                dict(self._names),
            )
        return self._tables


def read_tables(
    data: bytes,
) -> tuple[dict[int, Element], dict[int, tuple[int, ...]], dict[str, int]]:
    """Return elements, sequences and mnemonics of the data of one DX message.

    Raises:
        ValueError: The data do not hold such tables.
    """
    elements: dict[int, Element] = {}
    sequences: dict[int, tuple[int, ...]] = {}
    names: dict[str, int] = {}
    position = 1 + CATEGORY_BYTES * _byte(data, 0)
    count, position = _byte(data, position), position + 1
    for _ in range(count):
        entry = _text(data, position, ELEMENT_BYTES)
        code = int(entry[:6])
        elements[code] = _element(entry)
        names[entry[6:14].strip()] = code
        position += ELEMENT_BYTES
    count, position = _byte(data, position), position + 1
    for _ in range(count):
        entry = _text(data, position, SEQUENCE_BYTES)
        code, names[entry[6:14].strip()] = int(entry[:6]), int(entry[:6])
        members = _byte(data, position + SEQUENCE_BYTES)
        position += SEQUENCE_BYTES + 1
        text = _text(data, position, MEMBER_BYTES * members)
        sequences[code] = tuple(int(text[i : i + 6]) for i in range(0, len(text), MEMBER_BYTES))
        position += MEMBER_BYTES * members
    return elements, sequences, names


def _byte(data: bytes, position: int) -> int:
    if position >= len(data):
        raise ValueError("table message ends before its entries")
    return data[position]


def _text(data: bytes, position: int, length: int) -> str:
    if position + length > len(data):
        raise ValueError("table message ends before its entries")
    return data[position : position + length].decode("latin-1")


def _element(entry: str) -> Element:
    units, numbers = entry[70:94].strip(), entry[94:112]
    scale = int(numbers[1:4]) * (-1 if numbers[0] == "-" else 1)
    reference = int(numbers[5:15]) * (-1 if numbers[4] == "-" else 1)
    width = int(numbers[15:18])
    if not (0 < width <= 4096 and abs(scale) < 100):
        raise ValueError(f"element of {width} bits and scale {scale}")
    return Element(scale, reference, width, units, entry[6:70].strip())
