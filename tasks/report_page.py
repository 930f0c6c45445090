"""The parts of the report's page: sections with figures, captions and tables; and the page itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

TEMPLATE = "report_template.html.j2"


@dataclass(frozen=True)
class Figure:
    """A picture as HTML and what it shows."""

    picture: Markup
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text; the first columns are labels, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    labels: int = 1


@dataclass(frozen=True)
class Section:
    """One part of the page; without figures and tables it says what is missing."""

    key: str
    title: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    missing: str = ""
    folded: str = ""  # long text that opens on demand


@dataclass(frozen=True)
class Tile:
    """One number that stands out at the top of the page."""

    number: str
    text: str


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    subtitle: str
    verdict: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str


def render(page: Page) -> str:
    """Return the page as self-contained HTML."""
    return template(TEMPLATE).render(page=page)


@cache
def template(name: str) -> Template:
    """Return a template of this package; it may include other files of it."""
    folder = files("tasks")
    environment = Environment(
        loader=FunctionLoader(lambda file: folder.joinpath(file).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def count_of(count: int, noun: str) -> str:
    """Write a number and its noun, in the plural where it must be."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def time_name(time: pd.Timestamp) -> str:
    """Write a time as people do."""
    return f"{time:%Y-%m-%d %H} UTC"
