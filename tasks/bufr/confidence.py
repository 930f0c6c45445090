"""Per cent confidences behind the data: a bit map says of which elements they are.

    222000, [236000], n × 031031 (0: the element has one), …, m × 033007

The bit map is of the last n elements before the operator, replication factors among them and
replications written out. So each value needs its number in the subset: elements are counted along
the plan, with as many repetitions as there were.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, operators 2 22 and 2 36, regulation 94.5.5.3
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block, Column
from tasks.bufr.plan import BIT, CONFIDENCE, Node, Plan, Read, Repeat, Skip, is_wanted

__all__ = ["with_confidence"]

Numbers = NDArray[np.int64]
Lookup = Callable[[Numbers, Numbers], NDArray[np.float64]]
Nodes = tuple[Node, ...]
Part = tuple[Column | Block | None, Nodes, Numbers]
"""An item of a block, or None for what is skipped; what a row below it consists of; its elements."""


def with_confidence(
    plan: Plan,
    block: Block,
    behind: Block,
    compressed: bool,
    sound: NDArray[np.bool_] | None = None,
) -> tuple[Block, NDArray[np.bool_]]:
    """Give the columns of a block the confidences of their values.

    Args:
        plan: What was read.
        block: The values, one row per subset.
        behind: What was read by the plan's `confidence`, one row per subset.
        compressed: Whether the data were compressed.
        sound: For each row whether what was read behind it was inside of its message; None: all.

    Returns:
        The block, and for each row whether it is sound and its bit map fits its confidences.
    """
    sizes = _sizes(plan.nodes, block, compressed)
    lookup, fits = _lookup(behind, sizes, np.ones(block.rows, bool) if sound is None else sound)
    rows = np.arange(block.rows)
    return _marked(
        plan.nodes, block, np.zeros(block.rows, np.int64), rows, lookup, compressed
    ), fits


def _lookup(
    behind: Block, sizes: Numbers, sound: NDArray[np.bool_]
) -> tuple[Lookup, NDArray[np.bool_]]:
    """Return what finds the confidence of elements by subset and number."""
    bits, bit = _below(behind, BIT)
    given, confidence = _below(behind, CONFIDENCE)
    length = np.bincount(bits, minlength=len(sizes))
    count = np.bincount(given, minlength=len(sizes))
    present = bit == 0
    before = np.concatenate([[0], np.cumsum(present)])
    start, first = np.cumsum(length) - length, np.cumsum(count) - count
    fits = sound & (before[start + length] - before[start] == count) & (length <= sizes)

    def lookup(row: Numbers, number: Numbers) -> NDArray[np.float64]:
        place = number - (sizes[row] - length[row])
        found = np.full(len(row), np.nan)
        own = np.flatnonzero(fits[row] & (place >= 0) & (place < length[row]))
        at = start[row[own]] + place[own]
        own, at = own[present[at]], at[present[at]]
        found[own] = confidence[first[row[own]] + before[at] - before[start[row[own]]]]
        return found

    return lookup, fits


def _below(block: Block, code: int) -> tuple[Numbers, NDArray[np.float64]]:
    """Return the rows above and the values of an element in the replication that has it."""
    for below in block.blocks():
        for column in below.columns(code):
            return below.parent, np.asarray(column.values, np.float64)
    return np.zeros(0, np.int64), np.zeros(0)


def _parts(nodes: Nodes, block: Block, compressed: bool) -> Iterator[Part]:
    """Yield the parts of the rows of a block, in order."""
    items = iter(block.items)
    for node in nodes:
        if isinstance(node, Skip):
            yield None, (), np.full(block.rows, node.elements)
        elif isinstance(node, Read):
            yield next(items), (), np.ones(block.rows, np.int64)
        else:
            yield from _repeated(node, items, block.rows, compressed)


def _repeated(
    node: Repeat, items: Iterator[Column | Block], rows: int, compressed: bool
) -> Iterator[Part]:
    count = np.full(rows, node.count or 0)
    if node.factor is not None:
        factor = next(items)
        if not isinstance(factor, Column):
            raise TypeError("a replication factor is a column")
        count = factor.values.astype(np.int64)
        yield factor, (), np.ones(rows, np.int64)
    if not (compressed or node.width is None or is_wanted(node.body)):
        yield None, (), count * _elements(node.body)
        return
    below = next(items)
    if not isinstance(below, Block):
        raise TypeError("a replication is a block")
    own = _sizes(node.body, below, compressed)
    yield below, node.body, np.bincount(below.parent, own, minlength=rows).astype(np.int64)


def _elements(nodes: Nodes) -> int:
    """Return the number of elements of nodes whose replications are all of fixed counts."""
    return sum(
        node.elements
        if isinstance(node, Skip)
        else 1
        if isinstance(node, Read)
        else (node.count or 0) * _elements(node.body)
        for node in nodes
    )


def _sizes(nodes: Nodes, block: Block, compressed: bool) -> Numbers:
    """Return the number of elements of each row, with all that is below it."""
    total = np.zeros(block.rows, np.int64)
    for _, _, count in _parts(nodes, block, compressed):
        total += count
    return total


def _marked(
    nodes: Nodes,
    block: Block,
    number: Numbers,
    row: Numbers,
    lookup: Lookup,
    compressed: bool,
) -> Block:
    """Return a block whose columns have confidences.

    Args:
        nodes: What was read of each row.
        block: The rows.
        number: Number of the first element of each row in its subset.
        row: The subset of each row.
        lookup: Finds the confidences.
        compressed: Whether the data were compressed.
    """
    marked, number = Block(block.rows, block.parent), number.copy()
    for item, body, count in _parts(nodes, block, compressed):
        if isinstance(item, Column):
            marked.items.append(replace(item, confidence=lookup(row, number)))
        elif isinstance(item, Block):
            own = _sizes(body, item, compressed)
            ahead = np.cumsum(own) - own
            first = np.searchsorted(item.parent, item.parent)  # of the same row above
            start = number[item.parent] + ahead - ahead[first]
            below = _marked(body, item, start, row[item.parent], lookup, compressed)
            marked.items.append(below)
        number += count
    return marked
