"""`losda errors`: observation errors estimated from the feedback of an experiment's cycles."""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from flows.tables import print_rows
from models.observations.desroziers import as_table, departure_sums, estimate
from tasks.experiment import cycle_name
from tasks.plan import Plan
from tasks.store import join, names, write_bytes
from tasks.tables import read_table

__all__ = ["estimate_errors", "print_errors"]


def estimate_errors(root: str, out: str, least: int) -> dict[str, Any]:
    """Write the table of estimated errors, and return what is in it.

    Raises:
        ValueError: No experiment is there, or none of its feedback counts.
    """
    if least < 2:
        raise ValueError(f"--least: {least}; allowed: 2 or more")
    plan = Plan.read(root)
    spin_up = int(plan.identity["spin_up"])
    first = cycle_name(plan.start + spin_up * plan.step)
    found = [n for n in names(join(root, "feedback")) if n.endswith(".parquet")]
    used = [name for name in found if name.removesuffix(".parquet") >= first]
    if not used:
        text = f"{len(found)} cycles have feedback, {spin_up} are the spin-up"
        raise ValueError(f"{root}: {text}; needed: feedback of later ones (from {first} on)")
    estimates = estimate(departure_sums(feedback(root, used)), least)
    cycles = f"{len(used)} cycles from {used[0].removesuffix('.parquet')}"
    table = as_table(estimates, cycles)
    write_bytes(out, table.to_csv(index=False, float_format="%.6g").encode())
    rows = [
        {str(name): _number(value) for name, value in row.items()}
        for row in estimates.reset_index().to_dict("records")
    ]
    return {"experiment": root, "out": out, "cycles": len(used), "estimates": rows}


def feedback(root: str, files: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the feedback of cycles, one after the other."""
    for name in files:
        yield read_table(join(root, "feedback", name))


def _number(value: object) -> object:
    """Return a value for JSON, which has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_errors(document: Mapping[str, Any]) -> None:
    """Print the estimates for people."""
    rows = [
        {
            "type": row["type"],
            "variable": row["variable"],
            "hPa": f"{row['pressure'] / 100:g}",
            "values": str(row["count"]),
            "mean O-B": f"{row['bias']:.3g}",
            "assumed": f"{row['assumed']:.3g}",
            "estimated": f"{row['error']:.3g}" if row["estimated"] else "-",
            "background": f"{row['background']:.3g}",
        }
        for row in document["estimates"]
    ]
    print_rows(rows, f"observation errors from {document['cycles']} cycles [SI]")
    sys.stdout.write(f"\ntable  {document['out']}\n")
