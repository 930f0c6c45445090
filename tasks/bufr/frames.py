"""BUFR messages in a stream of bytes, with what lies between them.

A message starts with ``BUFR``, has its length in the three bytes after and ends with ``7777``. One
that does not is damaged: it is named with its offset, and the search goes on behind its first
four bytes, so a wrong length hides no message that follows. Memory is bounded by one chunk and
the longest message that 24 bits can announce (16 MiB).

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, sections 0 and 5
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = ["Damage", "Frame", "frames"]

START, END = b"BUFR", b"7777"
CHUNK = 1 << 20
SHORTEST = 8 + 17 + 7 + 4 + 4  # sections 0, 1, 3, 4, 5 of editions 2 to 4 at their least


class Frame(NamedTuple):
    """A message from ``BUFR`` to ``7777`` and where it starts in the file."""

    offset: int
    data: bytes


class Damage(NamedTuple):
    """A message that cannot be read, where it starts, and why."""

    offset: int
    reason: str


def frames(stream: BinaryIO) -> Iterator[Frame | Damage]:
    """Yield the messages of a stream in order; damaged ones as `Damage`."""
    buffer, base, at, ended = b"", 0, 0, False
    while True:
        position = buffer.find(START, at)
        if position < 0:
            at = max(at, len(buffer) - len(START) + 1)
            if ended:
                return
            length, needed = 0, len(buffer) + 1
        else:
            at = position
            length = int.from_bytes(buffer[at + 4 : at + 7], "big")
            needed = at + max(length, 8)
        if len(buffer) < needed and not ended:
            base, needed = base + at, needed - at
            buffer, ended = _more(stream, buffer[at:], needed)
            at = 0
            continue
        reason = _fault(buffer, at, length)
        yield Damage(base + at, reason) if reason else Frame(base + at, buffer[at : at + length])
        at += len(START) if reason else length


def _more(stream: BinaryIO, buffer: bytes, needed: int) -> tuple[bytes, bool]:
    """Return the buffer with at least one more chunk behind, and whether the stream ended."""
    parts, size = [buffer], len(buffer)
    while True:
        chunk = stream.read(max(CHUNK, needed - size))
        parts.append(chunk)
        size += len(chunk)
        if not chunk or size >= needed:
            return b"".join(parts), not chunk


def _fault(buffer: bytes, at: int, length: int) -> str:
    if at + max(length, 8) > len(buffer):
        return "message ends after the file"
    if length < SHORTEST:
        return "message length is too small"
    if buffer[at + length - 4 : at + length] != END:
        return "no 7777 at the end of the message"
    return ""
