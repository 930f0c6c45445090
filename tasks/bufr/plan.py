"""Descriptors → a plan of reads: sequences expanded, operators applied, unwanted bits skipped.

A plan is a list of nodes: `Read` an element, `Skip` bits, `Repeat` a body. It is made once for all
messages of one template. Quality information that follows the data (operators 2 22 to 2 32) is
behind everything wanted: where a message has one subset, or is compressed, the plan stops there.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, table C and regulations 94.5
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tasks.bufr.sections import spelled
from tasks.bufr.tables import Tables

__all__ = ["Plan", "Read", "Repeat", "Skip", "Unsupported", "make_plan"]

MOST_DESCRIPTORS = 50_000
WIDEST_NUMBER = 56
FACTORS = {31000: 1, 31001: 8, 31002: 16}
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
    """

    nodes: tuple[Node, ...]
    width: int | None
    least: int
    whole: bool = True
    unread: tuple[int, ...] = ()
    associated: bool = False


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
                        raise _Stopped(tuple(merged(found))) from None
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
            return (Skip(((8 * value, True),)),)
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
        before: tuple[Node, ...] = (Skip(((extra, False),)),) if extra else ()
        self.associated |= extra > 0
        if code not in self.wanted or (width > WIDEST_NUMBER and not known.is_text):
            if code // 1000 != 31:
                self.unread[code] = None
            return (*before, Skip(((width, known.is_text),)))
        missing = width > 1 and code // 1000 != 31
        return (*before, Read(code, width, scale, reference, known.is_text, missing))


class _Stopped(Exception):
    """The plan ends here; what it has is in the argument."""


def merged(nodes: Iterable[Node]) -> list[Node]:
    """Join skips that follow each other."""
    joined: list[Node] = []
    for node in nodes:
        if isinstance(node, Skip) and joined and isinstance(joined[-1], Skip):
            joined[-1] = Skip(joined[-1].widths + node.widths)
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
    compiler = _Compiler(tables, wanted, stop_at_quality)
    whole = True
    try:
        nodes = compiler.nodes(deque(descriptors), top=True)
    except _Stopped as stopped:
        nodes, whole = stopped.args[0], False
    unread = tuple(compiler.unread)
    return Plan(nodes, fixed_width(nodes), least_width(nodes), whole, unread, compiler.associated)
