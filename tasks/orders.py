"""What the journal amounts to: what is held, which failures count, which alerts were given.

hold      counts until a release of the same cycle, or of the whole experiment
failure   counts until a release, of its cycle or of the whole experiment, or until a rerun
          from its cycle or an earlier one
alert     is not given again as long as the failures of its cycle would count
late      names its files until a rerun from its cycle or an earlier one
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from tasks.experiment import cycle_name
from tasks.journal import Entry

__all__ = ["Orders", "orders_of"]

EXPERIMENT = ""


@dataclass(frozen=True)
class Orders:
    """What counts of a journal.

    Attributes:
        held: The hold of each cycle that is held; of the whole experiment under an empty name.
        troubles: Failures and deaths, oldest first.
        alerts: Alerts that were given.
        reruns: The first cycle of each rerun, oldest first.
        late: The files that came late, by cycle.
    """

    held: dict[str, Entry] = field(default_factory=dict)
    troubles: list[Entry] = field(default_factory=list)
    alerts: list[Entry] = field(default_factory=list)
    reruns: list[str] = field(default_factory=list)
    late: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def hold(self, time: pd.Timestamp) -> Entry | None:
        """Return what holds a cycle, if anything does."""
        return self.held.get(EXPERIMENT) or self.held.get(cycle_name(time))

    def failures(self, time: pd.Timestamp, stage: str, generation: int) -> list[Entry]:
        """Return the failures and deaths of a stage that count, oldest first."""
        place = cycle_name(time), stage, generation
        return [e for e in self.troubles if (e.cycle, e.stage, e.generation) == place]

    def has_alert(self, alert: Entry) -> bool:
        """Return whether an alert was given before."""
        place = alert.cycle, alert.stage, alert.text
        return any((e.cycle, e.stage, e.text) == place for e in self.alerts)


def orders_of(entries: Iterable[Entry]) -> Orders:
    """Return what counts of a journal's entries."""
    orders = Orders()
    for entry in entries:
        match entry.kind:
            case "hold":
                orders.held[entry.cycle] = entry
            case "release":
                orders.held.pop(entry.cycle, None)
                _forget(orders, entry)
            case "rerun":
                orders.reruns.append(entry.cycle)
                _forget(orders, entry)
                for cycle in [cycle for cycle in orders.late if cycle >= entry.cycle]:
                    orders.late.pop(cycle)
            case "late":
                before = orders.late.get(entry.cycle, ())
                orders.late[entry.cycle] = tuple(dict.fromkeys((*before, *entry.files)))
            case "alert":
                orders.alerts.append(entry)
            case "failure" | "death":
                orders.troubles.append(entry)
    return orders


def _forget(orders: Orders, entry: Entry) -> None:
    """Let what a release or a rerun is about count no more."""
    for known in (orders.troubles, orders.alerts):
        known[:] = [e for e in known if not _covers(entry, e)]


def _covers(entry: Entry, other: Entry) -> bool:
    if entry.cycle == EXPERIMENT:
        return True
    # the names of cycles sort as their times do
    return other.cycle == entry.cycle or (entry.kind == "rerun" and other.cycle > entry.cycle)
