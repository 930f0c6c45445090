"""A batch of messages → blocks of values, one per template; what cannot be read, by message."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block, join_blocks
from tasks.bufr.compressed import Overrun, read_compressed
from tasks.bufr.confidence import with_confidence
from tasks.bufr.frames import Damage
from tasks.bufr.plan import Plan, Unsupported, make_plan
from tasks.bufr.sections import Message, unpacked
from tasks.bufr.tables import Tables, wmo_tables
from tasks.bufr.uncompressed import Lanes, TooMuch, read_nodes, read_numbers, read_plan

__all__ = ["Decoded", "Left", "decode"]

BYTE_COUNT = 63000
"""NCEP's element at the start of each subset: how many bytes it has."""
STEPS, STEPS_ALONE = 400_000, 40_000
SPARE_BYTES = 8
OVERRUN = "data section ends before its values"
SPARE = "data section goes on behind its values"
MUCH = "more repetitions than the data section can hold"


@dataclass(frozen=True)
class Decoded:
    """The subsets of messages of one template.

    Attributes:
        block: One row per subset.
        messages: The messages.
        message: Index of each row's message.
        plan: What was read of each subset, and what was not.
        tables: Names and units of its elements.
        judged: For each row whether the confidences of its values were read.
    """

    block: Block
    messages: tuple[Message, ...]
    message: NDArray[np.int64]
    plan: Plan
    tables: Tables
    judged: NDArray[np.bool_]


@dataclass(frozen=True)
class Left:
    """A sound message that is not decoded, and why."""

    message: Message
    reason: str


def decode(
    messages: Iterable[Message],
    wanted: frozenset[int],
    tables: Callable[[Message], Tables] = lambda m: wmo_tables(m.centre, *m.versions),
) -> Iterator[Decoded | Damage | Left]:
    """Decode messages, those of one template at once; never fails on any bytes."""
    groups: dict[tuple[bytes, bool, bool, Tables], list[Message]] = defaultdict(list)
    for message in messages:
        many = message.subsets > 1
        if not message.compressed and message.subsets > 8 * (message.end - message.start):
            yield Damage(message.offset, "more subsets than bits of data")
            continue
        groups[message.descriptors, message.compressed, many, tables(message)].append(message)
    for (descriptors, compressed, many, own), members in groups.items():
        try:
            plan = _plan(descriptors, own, wanted, compressed or not many)
        except Unsupported as error:
            yield from (Left(message, str(error)) for message in members)
            continue
        yield from _group(plan, own, compressed, members, descriptors)


@lru_cache(maxsize=1024)
def _plan(descriptors: bytes, tables: Tables, wanted: frozenset[int], stop: bool) -> Plan:
    return make_plan(unpacked(descriptors), tables, wanted, stop)


def _group(
    plan: Plan, tables: Tables, compressed: bool, members: list[Message], descriptors: bytes
) -> Iterator[Decoded | Damage | Left]:
    if not plan.least:
        yield from (Left(message, "no data in its template") for message in members)
    elif compressed:
        for message in members:
            yield _compressed(plan, tables, message)
    else:
        counted = unpacked(descriptors[:2]) == [BYTE_COUNT]
        try:
            yield from _uncompressed(plan, tables, members, STEPS, counted)
        except TooMuch:
            for message in members:
                try:
                    yield from _uncompressed(plan, tables, [message], STEPS_ALONE, counted)
                except TooMuch:
                    yield Damage(message.offset, MUCH)


def _compressed(plan: Plan, tables: Tables, message: Message) -> Decoded | Damage:
    data = message.data[message.start : message.end]
    try:
        block, behind = read_compressed(plan, data, message.subsets, STEPS_ALONE)
    except Overrun:
        return Damage(message.offset, OVERRUN)
    except TooMuch:
        return Damage(message.offset, MUCH)
    judged = np.zeros(block.rows, bool)
    if behind is not None:
        block, judged = with_confidence(plan, block, behind, compressed=True)
    return Decoded(block, (message,), np.zeros(block.rows, np.int64), plan, tables, judged)


def _uncompressed(
    plan: Plan, tables: Tables, members: list[Message], steps: int, counted: bool
) -> Iterator[Decoded | Damage]:
    data = b"".join(message.data[message.start : message.end] for message in members)
    sizes = np.array([8 * (message.end - message.start) for message in members], np.int64)
    subsets = np.array([message.subsets for message in members], np.int64)
    end = np.cumsum(sizes)
    lanes = Lanes(data, end, steps)
    start = end - sizes
    lanes.bad |= subsets * plan.least > sizes
    lanes.bad |= subsets < 1
    subsets[lanes.bad] = 0
    reader = _by_byte_counts if counted else _in_turn
    block, behind = reader(plan, lanes, start, subsets)
    lanes.bad |= behind > end
    spare = plan.whole & (end - behind >= 8 * SPARE_BYTES) & ~lanes.bad
    for index in np.flatnonzero(lanes.bad | spare):
        yield Damage(members[index].offset, SPARE if spare[index] else OVERRUN)
    good = np.flatnonzero(~(lanes.bad | spare)[block.parent])
    if len(good):
        kept = block if len(good) == block.rows else block.take(good)
        judged = np.zeros(kept.rows, bool)
        if plan.confidence:
            kept, judged = _confident(plan, kept, Lanes(data, end, steps), behind)
        yield Decoded(kept, tuple(members), kept.parent, plan, tables, judged)


def _confident(
    plan: Plan, block: Block, lanes: Lanes, position: NDArray[np.int64]
) -> tuple[Block, NDArray[np.bool_]]:
    """Read the confidences behind the data of messages of one subset each."""
    lane = block.parent
    try:
        behind = read_nodes(plan.confidence, lanes, position[lane], lane)
    except TooMuch:
        return block, np.zeros(block.rows, bool)
    return with_confidence(plan, block, behind, compressed=False, sound=~lanes.bad[lane])


def _in_turn(
    plan: Plan, lanes: Lanes, start: NDArray[np.int64], subsets: NDArray[np.int64]
) -> tuple[Block, NDArray[np.int64]]:
    """Read the subsets of each message one after the other, all messages side by side."""
    if plan.width is not None:
        lane = np.repeat(np.arange(len(subsets)), subsets)
        own = np.arange(len(lane)) - np.repeat(np.cumsum(subsets) - subsets, subsets)
        block = read_plan(plan, lanes, start[lane] + own * plan.width, lane)
        block.parent = lane
        return block, start + subsets * plan.width
    position, blocks, parents = start.copy(), [], []
    for turn in range(max(int(subsets.max(initial=0)), 1)):
        active = np.flatnonzero((subsets > turn) & ~lanes.bad)
        own = position[active]
        blocks.append(read_plan(plan, lanes, own, active))
        position[active] = own
        parents.append(active)
    return join_blocks(blocks, parents), position


def _by_byte_counts(
    plan: Plan, lanes: Lanes, start: NDArray[np.int64], subsets: NDArray[np.int64]
) -> tuple[Block, NDArray[np.int64]]:
    """Find all subsets by their byte counts, then read them all side by side."""
    position, places, owners = start.copy(), [], []
    for turn in range(int(subsets.max(initial=0))):
        active = np.flatnonzero((subsets > turn) & ~lanes.bad)
        places.append(position[active].copy())
        owners.append(active)
        count = read_numbers(lanes, position[active], 16).astype(np.int64)
        lanes.bad[active[8 * count < plan.least]] = True
        position[active] += 8 * count
    lane = np.concatenate([*owners, np.zeros(0, np.int64)])
    place = np.concatenate([*places, np.zeros(0, np.int64)])
    order = np.argsort(lane, kind="stable")
    lane, place = lane[order], place[order]
    inside = place < lanes.end[lane]
    lanes.bad[lane[~inside]] = True
    block = read_plan(plan, lanes, place[inside], lane[inside])
    block.parent = lane[inside]
    return block, position
