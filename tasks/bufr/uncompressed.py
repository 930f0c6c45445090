"""Uncompressed data: all subsets of all messages of one template, read side by side.

Every subset is a lane with its own position; each node of the plan is read once for all lanes. A
replication whose body has always as many bits turns its repetitions into lanes of their own; else
the lanes that have one more repetition go round once more. A lane that runs over its end is bad:
it reads on in place (the buffer is padded) and is dropped at the end.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block, Column, join_blocks
from tasks.bufr.plan import Node, Plan, Read, Repeat, Skip, is_wanted

__all__ = ["Lanes", "TooMuch", "read_nodes", "read_numbers", "read_plan"]

PADDING = 16
Positions = NDArray[np.int64]


class TooMuch(Exception):
    """More steps than any sound data need."""


@dataclass
class Lanes:
    """Bits that are read, the end of each lane, and which lanes are bad."""

    data: bytes
    end: Positions
    steps: int
    bad: NDArray[np.bool_] = field(init=False)
    octets: NDArray[np.uint8] = field(init=False)
    words: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        """Lay a view of overlapping 64-bit words over the bytes."""
        padded = self.data + bytes(PADDING)
        self.octets = np.frombuffer(padded, np.uint8)
        self.words = np.ndarray((len(padded) - 7,), ">u8", padded, strides=(1,))
        self.bad = np.zeros(len(self.end), bool)

    def step(self) -> None:
        """Count one node that is read.

        Raises:
            TooMuch: The budget is used up.
        """
        self.steps -= 1
        if self.steps < 0:
            raise TooMuch


def read_plan(plan: Plan, lanes: Lanes, position: Positions, lane: Positions) -> Block:
    """Read one subset in each lane; the positions are moved behind it."""
    return read_nodes(plan.nodes, lanes, position, lane)


def read_nodes(
    nodes: tuple[Node, ...], lanes: Lanes, position: Positions, lane: Positions
) -> Block:
    """Read nodes once in each lane; the positions are moved behind them."""
    return _rows(nodes, lanes, position, lane, np.arange(len(position)))


def read_numbers(lanes: Lanes, position: Positions, width: int) -> NDArray[np.uint64]:
    """Return numbers of up to 56 bits at any bit positions."""
    octet = np.minimum(position >> 3, len(lanes.words) - 1)
    word = lanes.words[octet].astype(np.uint64)
    numbers: NDArray[np.uint64] = (word << (position & 7).astype(np.uint64)) >> np.uint64(
        64 - width
    )
    return numbers


def _rows(
    nodes: tuple[Node, ...], lanes: Lanes, position: Positions, lane: Positions, parent: Positions
) -> Block:
    block = Block(len(position), parent)
    for node in nodes:
        lanes.step()
        if isinstance(node, Skip):
            position += node.width
        elif isinstance(node, Read):
            block.items.append(Column(node.code, _values(node, lanes, position)))
            position += node.width
        else:
            _repetition(node, lanes, position, lane, block)
    return block


def _values(
    node: Read, lanes: Lanes, position: Positions
) -> NDArray[np.float64] | NDArray[np.bytes_]:
    if node.is_text:
        return _texts(node.width // 8, lanes, position)
    raw = read_numbers(lanes, position, node.width)
    return scaled(raw, node)


def scaled(raw: NDArray[np.uint64], node: Read) -> NDArray[np.float64]:
    """Return the values of an element; all bits set is NaN."""
    number = raw.astype(np.float64) + node.reference
    values = number / 10.0**node.scale if node.scale >= 0 else number * 10.0**-node.scale
    if node.has_missing:
        values[raw == np.uint64((1 << node.width) - 1)] = np.nan
    return values


def _texts(length: int, lanes: Lanes, position: Positions) -> NDArray[np.bytes_]:
    octet = np.minimum(position >> 3, len(lanes.octets) - 2)[:, None] + np.arange(length)
    octet = np.minimum(octet, len(lanes.octets) - 2)
    shift = (position & 7)[:, None]
    pair = lanes.octets[octet].astype(np.uint16) << 8 | lanes.octets[octet + 1]
    return np.ascontiguousarray((pair >> (8 - shift)).astype(np.uint8)).view(f"S{length}")[:, 0]


def _repetition(
    node: Repeat, lanes: Lanes, position: Positions, lane: Positions, block: Block
) -> None:
    counts = np.full(len(position), node.count or 0, np.int64)
    if node.factor is not None:
        counts = read_numbers(lanes, position, node.factor.width).astype(np.int64)
        if node.factor.code:
            block.items.append(Column(node.factor.code, counts.astype(np.float64)))
        position += node.factor.width
    room = lanes.end[lane] - position
    over = counts * node.least > room if node.least < 1 << 40 else counts > 0
    lanes.bad[lane[over]] = True
    counts[over | (node.least == 0)] = 0
    if node.width is None:
        block.items.append(_go_round(node, lanes, position, lane, counts))
        return
    parent = np.repeat(np.arange(len(position)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    own = position[parent] + (np.arange(len(parent)) - first) * node.width
    if is_wanted(node.body):
        block.items.append(_rows(node.body, lanes, own, lane[parent], parent))
    position += counts * node.width


def _go_round(
    node: Repeat, lanes: Lanes, position: Positions, lane: Positions, counts: Positions
) -> Block:
    blocks, parents = [], []
    for turn in range(max(int(counts.max(initial=0)), 1)):  # one turn of no rows gives the columns
        active = np.flatnonzero(counts > turn)
        own = position[active]
        blocks.append(_rows(node.body, lanes, own, lane[active], active))
        parents.append(active)
        position[active] = own
    return join_blocks(blocks, parents)
