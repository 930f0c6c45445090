"""What `losda hold` and `losda release` do: entries in the journal, which the drive obeys."""

from typing import Any

import pandas as pd

from tasks.experiment import cycle_name, cycle_time
from tasks.journal import Entry, Journal
from tasks.orders import orders_of
from tasks.plan import Plan

__all__ = ["hold", "release"]


def hold(root: str, cycle: str | None, reason: str) -> dict[str, Any]:
    """Let nothing more of an experiment be begun, or nothing from one cycle on.

    Raises:
        ValueError: There is no such experiment or cycle.
    """
    entry = Entry(kind="hold", text=reason, cycle=_cycle(Plan.read(root), cycle))
    Journal(root).write(entry)
    return _document(root, entry)


def release(root: str, cycle: str | None, reason: str) -> dict[str, Any]:
    """Take a hold back; failures of before count no more.

    Raises:
        ValueError: There is no such experiment or cycle, or nothing to release.
    """
    entry = Entry(kind="release", text=reason, cycle=_cycle(Plan.read(root), cycle))
    journal = Journal(root)
    orders = orders_of(journal.entries())
    failed = {e.cycle for e in orders.troubles if entry.cycle in ("", e.cycle)}
    if entry.cycle not in orders.held and not failed:
        held = ", ".join(sorted(filter(None, orders.held))) or "none"
        what = f"cycle {entry.cycle}" if entry.cycle else "the experiment"
        raise ValueError(
            f"{root}: {what} is not held and nothing of it failed; held cycles: {held}"
        )
    journal.write(entry)
    return _document(root, entry)


def _cycle(plan: Plan, name: str | None) -> str:
    """Return the name of a cycle that the experiment has or will have; empty for all."""
    if name is None:
        return ""
    try:
        time: pd.Timestamp | None = cycle_time(name)
    except ValueError:
        time = None
    if time is None or time < plan.start or (time - plan.start) % plan.step:
        hours = plan.step // pd.Timedelta("1h")
        allowed = f"YYYYMMDDTHH from {cycle_name(plan.start)} on, every {hours} h"
        raise ValueError(f"cycle {name!r}: allowed is {allowed}")
    return cycle_name(time)


def _document(root: str, entry: Entry) -> dict[str, Any]:
    fields = {"kind", "cycle", "text", "by", "host", "created"}
    return {"experiment": root, **entry.model_dump(mode="json", include=fields)}
