"""What a decoder returns: columns of values, and blocks of rows below them for replications.

A block is a table of one template level: one row per subset at the top, one row per repetition
below. `parent` is the row of the block above to which a row belongs. Items keep their order, as in
BUFR what comes before an element can say what it means.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Column", "join_blocks"]


@dataclass(frozen=True)
class Column:
    """One element of all rows.

    Attributes:
        code: The element.
        values: float64 with NaN for missing, or texts as bytes.
        confidence: Per cent confidence of each value, NaN where none is given; None if of none.
    """

    code: int
    values: NDArray[np.float64] | NDArray[np.bytes_]
    confidence: NDArray[np.float64] | None = None


@dataclass
class Block:
    """Rows of one level, its columns and the blocks below, in the order of the template."""

    rows: int
    parent: NDArray[np.int64]
    items: list["Column | Block"] = field(default_factory=list)

    def columns(self, *codes: int) -> Iterator[Column]:
        """Yield the columns of elements at this level, in order."""
        for item in self.items:
            if isinstance(item, Column) and item.code in codes:
                yield item

    def blocks(self) -> Iterator["Block"]:
        """Yield the blocks right below."""
        for item in self.items:
            if isinstance(item, Block):
                yield item

    def has(self, *codes: int) -> bool:
        """Tell whether an element is at this level."""
        return any(True for _ in self.columns(*codes))

    def take(self, rows: NDArray[np.int64]) -> "Block":
        """Return some of the rows, in ascending order, with all that is below them."""
        new = np.full(self.rows, -1, np.int64)
        new[rows] = np.arange(len(rows))
        taken = Block(len(rows), self.parent[rows])
        for item in self.items:
            if isinstance(item, Column):
                sure = None if item.confidence is None else item.confidence[rows]
                taken.items.append(Column(item.code, item.values[rows], sure))
            else:
                below = item.take(np.flatnonzero(new[item.parent] >= 0))
                below.parent = new[below.parent]
                taken.items.append(below)
        return taken


def join_blocks(blocks: list[Block], parents: list[NDArray[np.int64]]) -> Block:
    """Return blocks of one template as one, their rows sorted by their (new) parents.

    Args:
        blocks: At least one; the earlier comes first where parents are equal.
        parents: New parent of each row of each block.
    """
    starts = np.cumsum([0, *(block.rows for block in blocks)])
    parent = np.concatenate(parents)
    order = np.argsort(parent, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    joined = Block(int(starts[-1]), parent[order])
    for position, first in enumerate(blocks[0].items):
        same = [block.items[position] for block in blocks]
        if isinstance(first, Column):
            values = np.concatenate([item.values for item in same if isinstance(item, Column)])
            joined.items.append(Column(first.code, values[order]))
        else:
            below = [item for item in same if isinstance(item, Block)]
            above = [
                place[item.parent + start] for item, start in zip(below, starts[:-1], strict=True)
            ]
            joined.items.append(join_blocks(below, above))
    return joined
