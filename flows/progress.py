"""Progress on standard error: a bar on a terminal, one plain line per cycle elsewhere."""

import sys
import time

import pandas as pd

from flows.summary import cycle_row
from tasks.experiment import cycle_name
from tasks.plan import Plan

__all__ = ["Bar", "Lines", "Steps", "Watch", "current", "show"]


class Lines:
    """One line per cycle."""

    def __init__(self, total: int) -> None:
        """Start before the first of `total` cycles."""
        self.total, self.done, self.began = total, 0, time.perf_counter()

    def advance(self, plan: Plan, cycle_time: pd.Timestamp) -> None:
        """Report a finished cycle."""
        self.done += 1
        self.show(self.text(plan, cycle_time))

    def text(self, plan: Plan, cycle_time: pd.Timestamp) -> str:
        """Return the cycle's line."""
        row = cycle_row(plan, cycle_time)
        errors = "  ".join(
            f"{name} {row[name]:.3f}" for name in ("analysis", "background", "free")
        )
        elapsed = time.perf_counter() - self.began
        return f"{cycle_name(cycle_time)}  {self.done}/{self.total}  {errors}  {elapsed:.1f} s"

    def show(self, text: str) -> None:
        """Write a line."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """End."""


class Watch(Lines):
    """One line per finished cycle, without an end, and one per new reason to wait."""

    def __init__(self) -> None:
        """Start before the first cycle."""
        super().__init__(0)
        self.waits: dict[str, str] = {}

    def advance(self, plan: Plan, cycle_time: pd.Timestamp) -> None:
        """Report a finished cycle; it waits for nothing more."""
        super().advance(plan, cycle_time)
        self.waits.pop(cycle_name(cycle_time), None)

    def text(self, plan: Plan, cycle_time: pd.Timestamp) -> str:
        """Return the cycle's line."""
        return super().text(plan, cycle_time).replace(f"{self.done}/0", f"{self.done}")

    def waiting(self, cycle: str, kind: str, why: str) -> None:
        """Say what a cycle waits for, if that is new."""
        if self.waits.get(cycle) != why:
            self.show(f"{cycle}  {kind}: {why}")
        self.waits[cycle] = why


class Bar(Lines):
    """A bar that moves."""

    def __init__(self, total: int) -> None:
        """Show an empty bar of `total` cycles."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(total)
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.task = self.progress.add_task("starting", total=total)
        self.progress.start()

    def show(self, text: str) -> None:
        """Move the bar."""
        self.progress.update(self.task, advance=1, description=text)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.progress.stop()


class Steps:
    """A line for every tenth of some work."""

    def __init__(self, name: str) -> None:
        """Start before any of the work, counted in `name`."""
        self.name, self.tenths = name, -1

    def show(self, done: int, total: int) -> None:
        """Write a line where a tenth is complete."""
        tenths = 10 * done // total
        if tenths > self.tenths:
            self.tenths = tenths
            sys.stderr.write(f"{done}/{total} {self.name}\n")
            sys.stderr.flush()


_current: Lines | None = None


def show(total: int) -> Lines:
    """Show the progress of a run of `total` cycles from now on."""
    global _current
    _current = Bar(total) if sys.stderr.isatty() else Lines(total)
    return _current


def current() -> Lines | None:
    """Return what shows the progress of this process's run, if anything does."""
    return _current
