"""Tables for people on standard output."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flows import summary

__all__ = ["print_rows", "print_run"]


def print_run(document: Mapping[str, Any]) -> None:
    """Print the mean errors of a run and where its report lies."""
    rows = summary.table(document["mean"])
    title = (
        f"mean squared error / climatological variance, {document['method']}, after the spin-up"
    )
    print_rows(rows, title)
    lines = [f"experiment  {document['experiment']}"]
    if "report" in document:
        lines.append(f"report      {document['report']}")
    lines.append(
        f"{document['wall_seconds']:.1f} s, of which {100 * document['overhead']:.0f} % overhead"
    )
    sys.stdout.write("\n".join(lines) + "\n")


def print_rows(rows: Sequence[Mapping[str, str]], title: str) -> None:
    """Print rows of text as a table; the first column is to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    names = list(rows[0]) if rows else []
    for name in names:
        table.add_column(name, justify="left" if name == names[0] else "right")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
