"""Keep `monitor.html` up to date beside the work, and `losda monitor`, which makes it at will.

A thread takes what was published, and what changed in the journal, and writes the page once for
all of it: a cycle never waits for the page, and never fails because of it.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from flows.errors import one_line
from tasks.plan import Plan
from tasks.timing import working

__all__ = ["Pages", "current", "monitored", "write_monitor"]

PATIENCE = 30.0


class Pages:
    """The page of one experiment, for as long as a process works on it."""

    def __init__(self, plan: Plan) -> None:
        """Begin with what the ledger has that the page has not."""
        self.plan = plan
        self.new: list[pd.Timestamp] = []
        self.changed, self.stop, self.said = threading.Event(), threading.Event(), ""
        self.changed.set()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def published(self, time: pd.Timestamp) -> None:
        """Take note that a cycle was published."""
        self.new.append(time)
        self.changed.set()

    def refresh(self) -> None:
        """Write the page again: the journal, or what is waited for, changed."""
        self.changed.set()

    def close(self) -> None:
        """Write the page a last time."""
        self.stop.set()
        self.changed.set()
        self.thread.join(PATIENCE)

    def _work(self) -> None:
        from tasks.monitor import Monitor

        monitor, is_first = Monitor.of(self.plan), True
        while not (self.stop.is_set() and not self.changed.is_set()):
            self.changed.wait()
            self.changed.clear()
            times, self.new = self.new, []
            try:
                with working():
                    monitor.catch_up() if is_first else monitor.add(times)
                    monitor.write()
                is_first = False
            except Exception as error:  # noqa: BLE001 - the work goes on without the page
                text = f"losda: monitor.html is not refreshed: {one_line(error)}"
                is_first = True
                if text != self.said:
                    sys.stderr.write(text + "\n")
                self.said = text


_current: Pages | None = None


@contextmanager
def monitored(plan: Plan) -> Iterator[Pages]:
    """Keep the page of an experiment up to date while the block runs."""
    global _current
    _current = pages = Pages(plan)
    try:
        yield pages
    finally:
        _current = None
        pages.close()


def current() -> Pages | None:
    """Return what keeps the page of this process's experiment up to date, if anything does."""
    return _current


def write_monitor(root: str) -> dict[str, Any]:
    """Write the page of an experiment, whatever became of it before.

    Raises:
        ValueError: There is no experiment.
    """
    from tasks.monitor import Monitor

    monitor = Monitor.of(Plan.read(root))
    changed = monitor.catch_up()
    return {"experiment": root, "monitor": monitor.write(), "changed": changed}
