"""The monitor of an experiment: `monitor.html`, the experiment over time, and the table it is made of.

`add` a cycle when it is published, then `write` the page: both cost the same after a year as after
a day. `catch_up` compares the table with the ledger and makes what is missing, or was made from
commits that count no more.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pandas as pd

from configs import load_text
from tasks import store
from tasks.driver import DRIVE, driver_of, settings_of
from tasks.experiment import Experiment, cycle_name
from tasks.journal import Journal
from tasks.ledger import ReopenedError, Standing
from tasks.monitor_page import Labels, Now, Schedule, monitor_page
from tasks.monitor_rows import generations, row_of
from tasks.monitor_table import MonitorTable
from tasks.orders import orders_of
from tasks.plan import Plan

__all__ = ["PAGE", "Monitor"]

PAGE, RECENT = "monitor.html", 400


@dataclass
class Monitor:
    """The monitor of one experiment.

    Attributes:
        plan: The experiment.
        journal: Its journal.
        labels: Names and units of the variables, once there is an archive.
    """

    plan: Plan
    journal: Journal
    labels: Labels | None = None
    table: MonitorTable = field(init=False)

    def __post_init__(self) -> None:
        """Find the table."""
        self.table = MonitorTable(self.plan.root, self.plan.start, self.plan.step)

    @classmethod
    def of(cls, plan: Plan) -> "Monitor":
        """Return the monitor of an experiment; what it reads of the plan is forgotten again."""
        return cls(replace(plan, known={}, listing=None), Journal(plan.root))

    def add(self, times: Iterable[pd.Timestamp]) -> None:
        """Take cycles that were published into the table; one that is open again is left out."""
        rows = []
        for time in sorted(set(times)):
            with suppress(ReopenedError, FileNotFoundError):
                rows.append(row_of(self.plan, time))
        self.plan.known.clear()
        self.table.put(rows)

    def catch_up(self) -> int:
        """Make the table what the ledger says; return how many cycles that concerned."""
        found: dict[str, dict[str, Standing]] = {}
        for (time, stage), standing in self.plan.ledger.standings().items():
            found.setdefault(cycle_name(time), {})[stage] = standing
        wanted = {name: made for name, s in found.items() if (made := generations(s))}
        there: dict[str, list[int]] = {}
        for block in self.table.blocks():
            rows = self.table.block(int(block.removesuffix(".json")))
            there |= {name: row["generations"] for name, row in rows.items()}
        gone = [name for name in there if name not in wanted]
        changed = [name for name, made in wanted.items() if there.get(name) != made]
        self.table.remove(gone)
        self.add(pd.to_datetime(name, format="%Y%m%dT%H") for name in changed)
        return len(gone) + len(changed)

    def write(self) -> str:
        """Write the page and return its address."""
        root = self.plan.root
        past, recent = self.table.last(RECENT)
        page = monitor_page(self.plan, past, recent[-RECENT:], self._labels(), self._now())
        store.write_bytes(store.join(root, PAGE), page.encode(), durable=False)
        return store.join(root, PAGE)

    def _labels(self) -> Labels:
        """Return names and units, from the published archive."""
        address = store.join(self.plan.root, "analysis.zarr")
        if self.labels is None and store.exists(address):
            variables = store.open_dataset(address).data_vars.items()
            self.labels = {
                str(name): (str(a.attrs.get("long_name", "")), str(a.attrs.get("units", "1")))
                for name, a in variables
            }
        return self.labels or {}

    def _now(self) -> Now:
        """Return what the journal and the drive say."""
        root, schedule = self.plan.root, None
        if (settings := settings_of(root)) is not None:
            config = load_text(settings, root)
            schedule = Schedule.of(Experiment(root=root, config=config))
        waits = []
        with suppress(OSError, ValueError):
            waits = json.loads(store.read_bytes(store.join(root, DRIVE, "waiting.json")))
        entries = list(self.journal.entries())
        return Now(driver_of(root), waits, orders_of(entries), entries, schedule)
