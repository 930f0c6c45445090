"""Tables B and D: what an element is and how many bits it has; what a sequence consists of.

The tables are those of WMO, version 44. Few elements were ever changed; `former.csv` has what they
were. Over them lie the local elements of the centre, or the tables that a file brings along.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

__all__ = ["Element", "Tables", "wmo_tables"]


NEWEST = 44


@dataclass(frozen=True)
class Element:
    """value = (number of `width` bits + reference) / 10^scale, or a text of `width` bits."""

    scale: int
    reference: int
    width: int
    units: str
    name: str

    @property
    def is_text(self) -> bool:
        """Whether the bits are characters."""
        return "IA5" in self.units

    @property
    def is_code(self) -> bool:
        """Whether the number is one of a code or flag table."""
        return "TABLE" in self.units.upper()


@dataclass(frozen=True)
class Tables:
    """Elements and sequences by descriptor."""

    elements: Mapping[int, Element]
    sequences: Mapping[int, tuple[int, ...]]
    names: Mapping[str, int] = field(default_factory=dict)
    """Descriptors by mnemonic, where a file brings its own tables."""

    def __hash__(self) -> int:
        """Tables are compared by identity: they are never changed."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Tables are compared by identity."""
        return self is other


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("tasks.bufr") / "data" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _element(row: Mapping[str, str]) -> Element:
    scale, reference, width = (int(row[name]) for name in ("scale", "reference", "width"))
    return Element(scale, reference, width, row["units"], row["name"])


@lru_cache(maxsize=1)
def _standard() -> Tables:
    elements = {int(row["descriptor"]): _element(row) for row in _rows("elements.csv")}
    sequences = {
        int(row["descriptor"]): tuple(int(member) for member in row["members"].split())
        for row in _rows("sequences.csv")
    }
    return Tables(elements, sequences)


@lru_cache(maxsize=256)
def wmo_tables(centre: int = 0, master: int = NEWEST, local: int = 0) -> Tables:
    """Return the tables of WMO of a version, with the local elements of a centre over them.

    Args:
        centre: Originating centre.
        master: Version of the master tables.
        local: Version of the local tables; another one of the centre serves if it is not known.
    """
    standard = _standard()
    own = {
        int(row["descriptor"]): _element(row)
        for row in sorted(_rows("former.csv"), key=lambda row: -int(row["until"]))
        if master <= int(row["until"])
    }
    ours = [row for row in _rows("local.csv") if int(row["centre"]) == centre]
    known = {int(row["version"]) for row in ours}
    version = local if local in known else min(known, default=0)
    of_version = {int(r["descriptor"]): _element(r) for r in ours if int(r["version"]) == version}
    own |= {d: e for d, e in of_version.items() if version == local or _is_local(d)}
    return Tables({**standard.elements, **own}, standard.sequences) if own else standard


def _is_local(descriptor: int) -> bool:
    """Tell whether WMO leaves an element to the centres."""
    return descriptor // 1000 >= 48 or descriptor % 1000 >= 192
