"""Compressed data: of each element the least value, then what each subset has more.

One message at a time; each element is one array over its subsets. Replication factors are the same
in all subsets.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, regulation 94.6.3 (2) (ii)
"""

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block, Column, join_blocks
from tasks.bufr.plan import Node, Plan, Read, Repeat, Skip
from tasks.bufr.uncompressed import Lanes, TooMuch, read_numbers, scaled

__all__ = ["Overrun", "read_compressed"]

INCREMENT_BITS = 6
MOST_VALUES = 20_000_000


class Overrun(Exception):
    """The data end before their values, or contradict themselves."""


class _Reader:
    def __init__(self, data: bytes, subsets: int, steps: int) -> None:
        self.bits = 8 * len(data)
        self.lanes = Lanes(data, np.array([self.bits]), steps)
        self.subsets, self.position, self.values = subsets, 0, 0

    def number(self, width: int) -> int:
        if self.position + width > self.bits:
            raise Overrun
        first, last = self.position >> 3, (self.position + width + 7) >> 3
        word = int.from_bytes(self.lanes.data[first:last], "big")
        self.position += width
        return (word >> (8 * last - self.position)) & ((1 << width) - 1)

    def spread(self, width: int) -> NDArray[np.int64]:
        """Return the positions of the subsets' increments, and go on behind them."""
        start, self.position = self.position, self.position + self.subsets * width
        if self.position > self.bits:
            raise Overrun
        return start + width * np.arange(self.subsets)

    def skip(self, node: Skip) -> None:
        for width, is_text in node.widths:
            self.lanes.step()
            self.position += width
            size = self.number(INCREMENT_BITS)
            self.position += self.subsets * size * (8 if is_text else 1)
        if self.position > self.bits:
            raise Overrun

    def read(self, node: Read) -> Column:
        self.lanes.step()
        self.values += self.subsets
        if self.values > MOST_VALUES:
            raise TooMuch
        return Column(node.code, self.text(node) if node.is_text else self.numbers(node))

    def numbers(self, node: Read) -> NDArray[np.float64]:
        least, size = self.number(node.width), self.number(INCREMENT_BITS)
        if not size:
            return scaled(np.full(self.subsets, least, np.uint64), node)
        if size > 56:
            raise Overrun
        more = read_numbers(self.lanes, self.spread(size), size)
        values = scaled(more + np.uint64(least), node)
        values[more == np.uint64((1 << size) - 1)] = np.nan
        return values

    def text(self, node: Read) -> NDArray[np.bytes_]:
        length = node.width // 8
        least, size = self.number(node.width).to_bytes(length, "big"), self.number(INCREMENT_BITS)
        if not size:
            return np.full(self.subsets, least, f"S{length}")
        own = [self.number(8 * size).to_bytes(size, "big") for _ in range(self.subsets)]
        return np.array(own, f"S{max(size, 1)}")

    def block(self, nodes: tuple[Node, ...]) -> Block:
        block = Block(self.subsets, np.arange(self.subsets))
        for node in nodes:
            if isinstance(node, Skip):
                self.skip(node)
            elif isinstance(node, Read):
                block.items.append(self.read(node))
            else:
                self.repetition(node, block)
        return block

    def repetition(self, node: Repeat, block: Block) -> None:
        count = node.count or 0
        if node.factor is not None:
            count, size = self.number(node.factor.width), self.number(INCREMENT_BITS)
            if size:
                raise Overrun  # other factors in other subsets
            if node.factor.code:
                values = np.full(self.subsets, float(count))
                block.items.append(Column(node.factor.code, values))
        if not count:
            block.items.append(_nothing(node.body))
            return
        if count * node.least > self.bits - self.position or node.least == 0:
            raise Overrun
        turns = [self.block(node.body) for _ in range(count)]
        block.items.append(join_blocks(turns, [turn.parent for turn in turns]))


def _nothing(nodes: tuple[Node, ...]) -> Block:
    """Return a block of no rows, with the columns that some would have."""
    none = np.zeros(0, np.int64)
    block = Block(0, none)
    for node in nodes:
        if isinstance(node, Read):
            kind = "S1" if node.is_text else "f8"
            block.items.append(Column(node.code, np.zeros(0, kind)))
        elif isinstance(node, Repeat):
            if node.factor is not None and node.factor.code:
                block.items.append(Column(node.factor.code, np.zeros(0)))
            block.items.append(_nothing(node.body))
    return block


def read_compressed(
    plan: Plan, data: bytes, subsets: int, steps: int
) -> tuple[Block, Block | None]:
    """Return the subsets of one message, and their confidences if there are sound ones.

    Raises:
        Overrun: The data end before their values.
        TooMuch: There are more steps or values than any sound data have.
    """
    reader = _Reader(data, subsets, steps)
    block = reader.block(plan.nodes)
    try:
        return block, reader.block(plan.confidence) if plan.confidence else None
    except (Overrun, TooMuch):
        return block, None
