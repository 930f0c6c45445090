"""BUFR messages made bit by bit, without any decoder."""

from collections.abc import Iterable, Sequence

Field = tuple[int, int]  # value, bits


def packed(fields: Iterable[Field]) -> bytes:
    """Return numbers of any width side by side, padded with zeros to whole bytes."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:] if text else b""


def message(
    descriptors: Sequence[int],
    data: bytes,
    subsets: int = 1,
    compressed: bool = False,
    category: int = 0,
    edition: int = 4,
    centre: int = 0,
    master: int = 44,
) -> bytes:
    """Return a message of edition 3 or 4 around the data of section 4."""
    if edition == 4:
        one = bytes([0, 0, 22, 0]) + centre.to_bytes(2, "big") + bytes([0, 0, 0, 0])[:4]
        one += bytes([category, 255, 0, master, 0]) + (2020).to_bytes(2, "big")
        one += bytes([1, 1, 6, 0, 0])
    else:
        one = bytes([0, 0, 18, 0, 0, centre, 0, 0, category, 0, master, 0, 20, 1, 1, 6, 0, 0])
    codes = b"".join(
        ((code // 100_000 << 14) | (code // 1000 % 100 << 8) | code % 1000).to_bytes(2, "big")
        for code in descriptors
    )
    flags = 0x80 | (0x40 if compressed else 0)
    three = (7 + len(codes)).to_bytes(3, "big") + b"\0" + subsets.to_bytes(2, "big")
    three += bytes([flags]) + codes
    four = (4 + len(data)).to_bytes(3, "big") + b"\0" + data
    body = one + three + four
    length = 8 + len(body) + 4
    return b"BUFR" + length.to_bytes(3, "big") + bytes([edition]) + body + b"7777"


TEMPERATURE, WIND = (301011, 301012, 301021, 12101), (11001, 11002)


def surface(kelvin: float, latitude: float = 50.0, year: int = 2020) -> list[Field]:
    """Return date, time, position and temperature of one report (descriptors TEMPERATURE)."""
    return [
        *((year, 12), (1, 4), (1, 6), (6, 5), (0, 6)),
        (round(latitude * 1e5) + 9_000_000, 25),
        (10_00000 + 18_000_000, 26),
        (round(kelvin * 100), 16),
    ]
