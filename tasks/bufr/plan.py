"""Descriptors → a plan of reads: sequences expanded, operators applied, unwanted bits skipped.

A plan is a list of nodes: `Read` an element, `Skip` bits, `Repeat` a body. It is made once for all
messages of one template. Quality information that follows the data (operators 2 22 to 2 32) is
behind everything wanted: where a message has one subset, or is compressed, the plan stops there, and
the confidences of the first operator 2 22 are a plan of their own.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, table C and regulations 94.5
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tasks.bufr.sections import spelled
from tasks.bufr.tables import Tables

__all__ = [
    "BIT",
    "CONFIDENCE",
    "Plan",
    "Read",
    "Repeat",
    "Skip",
    "Unsupported",
    "is_wanted",
    "make_plan",
]

MOST_DESCRIPTORS = 50_000
WIDEST_NUMBER = 56
FACTORS = {31000: 1, 31001: 8, 31002: 16}
BIT, CONFIDENCE, CONFIDENCES, BITMAP_KEPT = 31031, 33007, 222000, 236000
QUALITY = {222, 223, 224, 225, 232}
NO_DATA = {235000, 236000, 237000, 237255}
OPERATORS_WITHOUT_DATA = {222000, 223000, 224000, 225000, 232000} | NO_DATA


class Unsupported(ValueError):
    """A descriptor that is in no table, or an operator that is not decoded."""


@dataclass(frozen=True)
class Read:
    """One element; `code` 0 is a replication factor that nobody wants."""

    code: int
    width: int
    scale: int = 0
    reference: int = 0
    is_text: bool = False
    has_missing: bool = True


@dataclass(frozen=True)
class Skip:
    """Elements that nobody wants, with the widths that compressed messages need."""

    widths: tuple[tuple[int, bool], ...]
    elements: int = 1
    """How many elements; associated fields and characters of 2 05 are none."""

    @property
    def width(self) -> int:
        """Sum of the bits."""
        return sum(width for width, _ in self.widths)


@dataclass(frozen=True)
class Repeat:
    """A body that comes `count` times, or as often as the factor before it says."""

    body: tuple["Node", ...]
    count: int | None = None
    factor: Read | None = None
    width: int | None = None
    """Bits of the body if they are always as many."""
    least: int = 0
    """Least bits of the body."""


Node = Read | Skip | Repeat


@dataclass(frozen=True)
class Plan:
    """Nodes of one subset.

    Attributes:
        nodes: What is read, one after the other.
        width: Bits of a subset if they are always as many.
        least: Least bits of a subset.
        whole: False if it stops before quality information.
        unread: Elements that are skipped, in their order, each once.
        associated: Whether associated fields (operator 2 04) are skipped.
        confidence: What is read behind the nodes for the confidences of values; empty if nothing.
    """

    nodes: tuple[Node, ...]
    width: int | None
    least: int
    whole: bool = True
    unread: tuple[int, ...] = ()
    associated: bool = False
    confidence: tuple[Node, ...] = ()


@dataclass(frozen=True)
class _Operators:
    """The operators in force."""

    width: int = 0
    scale: int = 0
    increase: int = 0
    text: int = 0
    associated: int = 0


class _Stop(Exception):
    """Quality information follows, nothing else."""


class _Compiler:
    def __init__(self, tables: Tables, wanted: frozenset[int], stop_at_quality: bool) -> None:
        self.tables, self.wanted, self.stop = tables, wanted, stop_at_quality
        self.operators = _Operators()
        self.budget = MOST_DESCRIPTORS
        self.local_width = 0
        self.unread: dict[int, None] = {}
        self.associated = False

    def nodes(self, queue: deque[int], top: bool = False) -> tuple[Node, ...]:
        found: list[Node] = []
        while queue:
            code = queue.popleft()
            self.budget -= 1
            if self.budget < 0:
                raise Unsupported(f"more than {MOST_DESCRIPTORS} descriptors")
            kind = code // 100_000
            if kind == 3:
                queue.extendleft(reversed(self.sequence(code)))
            elif kind == 2:
                try:
                    found.extend(self.operator(code % 100_000 + 200_000))
                except _Stop:
                    if top:
                        rest = deque([code, *queue])
                        raise _Stopped(tuple(merged(found)), rest) from None
                    raise Unsupported(f"operator {spelled(code)} in a replication") from None
            elif kind == 1:
                found.append(self.repetition(code, queue))
            else:
                found.extend(self.element(code))
        return tuple(merged(found))

    def sequence(self, code: int) -> tuple[int, ...]:
        if code not in self.tables.sequences:
            raise Unsupported(f"sequence {spelled(code)} is in no table")
        return self.tables.sequences[code]

    def repetition(self, code: int, queue: deque[int]) -> Repeat:
        members, count = code // 1000 % 100, code % 1000
        factor = None
        if count == 0:
            own = queue.popleft() if queue else 0
            if own not in FACTORS:
                raise Unsupported(f"replication factor {spelled(own)}")
            self.budget -= 1
            element = self.tables.elements.get(own)
            width = element.width if element else FACTORS[own]
            factor = Read(own if own in self.wanted else 0, width, has_missing=False)
        if members > len(queue):
            raise Unsupported(f"replication {spelled(code)} of more than there is")
        body = self.nodes(deque(queue.popleft() for _ in range(members)))
        return Repeat(body, count or None, factor, fixed_width(body), least_width(body))

    def operator(self, code: int) -> Iterable[Node]:
        kind, value, now = code // 1000, code % 1000, self.operators
        if code in OPERATORS_WITHOUT_DATA or (self.stop and kind in QUALITY):
            if self.stop and kind in QUALITY:
                raise _Stop
            return ()
        if kind == 201:
            self.operators = replace(now, width=value - 128 if value else 0)
        elif kind == 202:
            self.operators = replace(now, scale=value - 128 if value else 0)
        elif kind == 204:
            self.operators = replace(now, associated=value)
        elif kind == 205:
            return (Skip(((8 * value, True),), 0),)
        elif kind == 206:
            self.local_width = value
        elif kind == 207:
            self.operators = replace(now, increase=value)
        elif kind == 208:
            self.operators = replace(now, text=8 * value)
        else:
            raise Unsupported(f"operator {spelled(code)} is not decoded")
        return ()

    def element(self, code: int) -> Iterable[Node]:
        known, now, local = self.tables.elements.get(code), self.operators, self.local_width
        self.local_width = 0
        if local:
            self.unread[code] = None
            return (Skip(((local, False),)),)
        if known is None:
            raise Unsupported(f"element {spelled(code)} is in no table")
        width, scale, reference = known.width, known.scale, known.reference
        if known.is_text:
            width = now.text or width
        elif not known.is_code and code // 1000 != 31:
            width += now.width + ((10 * now.increase + 2) // 3 if now.increase else 0)
            scale += now.scale + now.increase
            reference *= 10**now.increase
        if width <= 0:
            raise Unsupported(f"element {spelled(code)} of {width} bits")
        extra = now.associated if code // 1000 != 31 else 0
        before: tuple[Node, ...] = (Skip(((extra, False),), 0),) if extra else ()
        self.associated |= extra > 0
        if code not in self.wanted or (width > WIDEST_NUMBER and not known.is_text):
            if code // 1000 != 31:
                self.unread[code] = None
            return (*before, Skip(((width, known.is_text),)))
        missing = width > 1 and code // 1000 != 31
        return (*before, Read(code, width, scale, reference, known.is_text, missing))


class _Stopped(Exception):
    """The plan ends here; what it has, and the descriptors from there on, are in the arguments."""


def merged(nodes: Iterable[Node]) -> list[Node]:
    """Join skips that follow each other."""
    joined: list[Node] = []
    for node in nodes:
        if isinstance(node, Skip) and joined and isinstance(joined[-1], Skip):
            last = joined[-1]
            joined[-1] = Skip(last.widths + node.widths, last.elements + node.elements)
        else:
            joined.append(node)
    return joined


def fixed_width(nodes: Iterable[Node]) -> int | None:
    """Return the bits of nodes if they are always as many."""
    total = 0
    for node in nodes:
        if isinstance(node, Repeat):
            if node.count is None or node.width is None:
                return None
            total += node.count * node.width
        else:
            total += node.width
    return total


def is_wanted(nodes: Iterable[Node]) -> bool:
    """Tell whether a body is read: somebody wants an element in it, or it is not of one length."""
    return any(
        isinstance(node, Read)
        or (isinstance(node, Repeat) and (is_wanted(node.body) or node.width is None))
        for node in nodes
    )


def least_width(nodes: Iterable[Node]) -> int:
    """Return the fewest bits that nodes can have."""
    total = 0
    for node in nodes:
        if isinstance(node, Repeat):
            total += (node.count or 0) * node.least + (node.factor.width if node.factor else 0)
        else:
            total += node.width
    return total


def make_plan(
    descriptors: Iterable[int], tables: Tables, wanted: frozenset[int], stop_at_quality: bool
) -> Plan:
    """Return the plan of one subset.

    Args:
        descriptors: Section 3, as numbers F · 100000 + X · 1000 + Y.
        tables: Tables B and D.
        wanted: Elements to read; all other bits are skipped.
        stop_at_quality: Whether nothing has to be found behind quality information.

    Raises:
        Unsupported: A descriptor is in no table, or an operator is not decoded.
    """
    own = tuple(descriptors)
    compiler = _Compiler(tables, wanted, stop_at_quality)
    nodes, rest = _stopped(compiler, own)
    confidence = confidence_nodes(rest, tables) if rest else ()
    if confidence:  # elements are counted, so the replication factors are needed
        compiler = _Compiler(tables, wanted | FACTORS.keys(), stop_at_quality)
        nodes, _ = _stopped(compiler, own)
    widths, unread = (fixed_width(nodes), least_width(nodes)), tuple(compiler.unread)
    return Plan(nodes, *widths, rest is None, unread, compiler.associated, confidence)


def _stopped(
    compiler: _Compiler, descriptors: tuple[int, ...]
) -> tuple[tuple[Node, ...], deque[int] | None]:
    """Return the nodes, and the descriptors behind them if they stop before quality information."""
    try:
        return compiler.nodes(deque(descriptors), top=True), None
    except _Stopped as stopped:
        nodes, rest = stopped.args
        return nodes, rest


def confidence_nodes(rest: deque[int], tables: Tables) -> tuple[Node, ...]:
    """Return what has to be read from a bit map to the confidences; nothing if it is not known.

    Args:
        rest: Descriptors from the first operator of quality information on; they are used up.
        tables: Tables B and D.
    """
    if rest.popleft() != CONFIDENCES:
        return ()
    compiler = _Compiler(tables, frozenset((BIT, CONFIDENCE)), stop_at_quality=False)
    found: list[Node] = []
    try:
        while rest:
            code = rest.popleft()
            kind = code // 100_000
            if kind == 3:
                rest.extendleft(reversed(compiler.sequence(code)))
            elif kind == 1:
                found.append(compiler.repetition(code, rest))
                if is_read(found[-1:], CONFIDENCE):
                    return tuple(merged(found)) if is_read(found, BIT) else ()
            elif kind == 0:
                found.extend(compiler.element(code))
            elif code != BITMAP_KEPT:
                return ()
    except Unsupported:
        return ()
    return ()


def is_read(nodes: Iterable[Node], code: int) -> bool:
    """Tell whether a replication right in these nodes reads an element."""
    bodies = (node.body for node in nodes if isinstance(node, Repeat))
    return any(isinstance(n, Read) and n.code == code for body in bodies for n in body)
