"""Tables for people on standard output: plain text that also reads well in a log."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from flows import summary

__all__ = ["print_benchmark", "print_rows", "print_run", "row_lines"]


def print_run(document: Mapping[str, Any]) -> None:
    """Print the mean errors of a run and where its report lies."""
    title = (
        f"{document['method']}: mean squared error / climatological variance, after the spin-up"
    )
    print_rows(summary.table(document["mean"]), title)
    overhead = f"of which {100 * document['overhead']:.0f} % overhead"
    lines = [
        f"experiment  {document['experiment']}",
        *([f"report      {document['report']}"] if "report" in document else []),
        f"time        {document['wall_seconds']:.1f} s, {overhead}",
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def print_benchmark(document: Mapping[str, Any]) -> None:
    """Print one row for each method on each network."""
    rows = [
        {
            "experiment": row["kind"] + (f" {row['lead_hours']} h" if row["lead_hours"] else ""),
            "network": row["network"],
            "method": row["method"],
            "analysis": f"{row['analysis']:.4g}",
            "background": f"{row['background']:.4g}",
            "ratio": f"{row['ratio']:.3f}" if "ratio" in row else "-",
            "seconds": f"{row['seconds']:.2f}",
        }
        for row in document["results"]
    ]
    print_rows(rows, "mean squared error / 24 h background-error variance, after the spin-up")
    sys.stdout.write(f"\npage  {document['page']}\n")


def print_rows(rows: Sequence[Mapping[str, str]], title: str) -> None:
    """Print rows of text under their names."""
    sys.stdout.write("\n".join(row_lines(rows, title)) + "\n")


def row_lines(rows: Sequence[Mapping[str, str]], title: str) -> list[str]:
    """Return the lines of a table; the first column to the left, the others right."""
    names = list(rows[0]) if rows else []
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    lines = [names, ["-" * width for width in widths], *([*row.values()] for row in rows)]
    text = [title]
    for line in lines if rows else []:
        cells = zip(line, widths, strict=True)
        aligned = [c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(cells)]
        text.append("  ".join(aligned))
    return text
