"""`losda status --watch`: the grid of cycles and stages in the terminal, looked at again and again.

Only the cycles that fit the screen are looked at, the last ones; a look costs the same after a
year as after a day. Ctrl-C or SIGTERM ends it and leaves the last picture.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.errors import one_line
from flows.status import status_of
from flows.stream_status import stream_lines, streams_of
from flows.waiting import held_rows, said_waits
from tasks import store
from tasks.driver import driver_of
from tasks.experiment import STAGES, cycle_name, cycle_time
from tasks.journal import Journal
from tasks.ledger import LEDGER
from tasks.ledger_lease import Lease, living
from tasks.orders import Orders, orders_of
from tasks.overview import Overview
from tasks.plan import PUBLICATION, Plan
from tasks.streams import is_reprocess

__all__ = ["StreamsView", "View", "watch"]

EVERY = 2.0
NEWS = 4  # lines of the journal
STYLES = {"done": "green", "stale": "bold yellow", "open": "dim", "failed": "bold red"}


@dataclass
class View:
    """An experiment as it is shown.

    Attributes:
        plan: The experiment.
        journal: Its journal.
        overview: What of it is unfinished.
        times: The cycles that are shown.
    """

    plan: Plan
    journal: Journal
    overview: Overview
    times: list[pd.Timestamp] = field(default_factory=list)

    @classmethod
    def of(cls, root: str) -> "View":
        """Return the view of an experiment.

        Raises:
            ValueError: There is none.
        """
        plan = Plan.read(root)
        return cls(plan, Journal(root), Overview(Plan.read(root), plan.start))

    def picture(self, height: int) -> Group:
        """Look at the experiment and return what fits a height in lines."""
        orders = orders_of(self.journal.entries())
        below = self.below(orders)
        self.times = self.last_cycles(max(1, height - len(below) - 6))
        grid = self.grid(orders)
        return Group(self.headline(), grid, *below)

    def last_cycles(self, count: int) -> list[pd.Timestamp]:
        """Return the last cycles that have a commit, and the one after them."""
        names = store.names(store.join(self.plan.root, LEDGER))
        times = [cycle_time(name) for name in names[-count:]]
        following = times[-1] + self.plan.step if times else self.plan.start
        return [*times, following][-count:]

    def headline(self) -> Text:
        """Say what it is, and who is at work on it."""
        name, kind = self.plan.identity["name"], self.plan.identity["method"]["kind"]
        driver = driver_of(self.plan.root)
        who = f"driven by process {driver.process} on {driver.host}" if driver else "not driven"
        text = Text(f"{name}, {kind}", style="bold")
        text.append(f"   {who}", style="cyan" if driver else "dim")
        return text.append(f"   {pd.Timestamp.now('UTC'):%H:%M:%S} UTC   {self.plan.root}", "dim")

    def grid(self, orders: Orders) -> Table:
        """Return the cycles and their stages."""
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
        for name in ("cycle", *STAGES, "published"):
            table.add_column(name, no_wrap=True)
        for when in self.times:
            table.add_row(cycle_name(when), *self.cells(when, orders))
        return table

    def cells(self, when: pd.Timestamp, orders: Orders) -> Iterator[Text]:
        """Yield the state of each stage of a cycle, and of its publication."""
        listing = self.plan.ledger.standings_of(when)
        for stage in STAGES:
            standing = listing.get(stage)
            if standing and standing.committed:
                yield self.committed(when, stage)
            else:
                yield self.open(when, stage, orders)
        failed = orders.failures(when, PUBLICATION, self.plan.generation(when, PUBLICATION))
        if self.plan.is_published(when):
            yield Text("yes", STYLES["done"])
        else:
            yield Text("failed", STYLES["failed"]) if failed else Text("-", STYLES["open"])

    def committed(self, when: pd.Timestamp, stage: str) -> Text:
        """Say how long a stage took, or that it counts no more."""
        if self.plan.state(when, stage) == "stale":
            return Text("STALE", STYLES["stale"])
        commit = self.plan.committed(when, stage)
        return Text(f"done {sum(commit.seconds.values()):.1f} s", STYLES["done"])

    def open(self, when: pd.Timestamp, stage: str, orders: Orders) -> Text:
        """Say since when a stage is under way, that it failed, or that it is open."""
        lease = living(self.plan.ledger.folder(when, stage))
        if lease:
            return Text(f"running {_seconds(lease):.0f} s", "bold cyan")
        failures = orders.failures(when, stage, self.plan.generation(when, stage))
        if failures:
            return Text(f"failed {len(failures)} ×", STYLES["failed"])
        return Text("held" if orders.hold(when) else "-", STYLES["open"])

    def below(self, orders: Orders) -> list[Text]:
        """Say what is held, what is waited for, and what happened last."""
        lines = [Text("")]
        for hold in held_rows(orders):
            what = f"cycle {hold['cycle']}" if hold["cycle"] else "the experiment"
            lines.append(Text(f"HELD  {what} by {hold['by']}: {hold['why']}", "bold yellow"))
        for row in said_waits(self.overview, orders):
            name = cycle_name(pd.Timestamp(row["cycle_time"]))
            style = "bold red" if row["kind"] in ("failed", "stale") else ""
            lines.append(_line(f"{name}  {row['kind']}: {row['why']}", style))
        entries = self.journal.entries()[-NEWS:]
        lines += [
            _line(f"{e.created:%m-%d %H:%M:%S}  {e.kind} {e.cycle} {e.stage}: {e.text}", "dim")
            for e in entries
        ]
        return lines


@dataclass
class StreamsView:
    """A reprocess as it is shown: a line for each stream.

    Attributes:
        root: Address of the reprocess.
    """

    root: str

    def picture(self, height: int) -> Group:
        """Look at the streams and return what fits a height in lines."""
        title, *lines = stream_lines(streams_of(self.root, status_of))
        now = f"{pd.Timestamp.now('UTC'):%H:%M:%S} UTC"
        head = Text(title, "bold", no_wrap=True, overflow="ellipsis")
        return Group(head, Text(now, "dim"), *(_line(one, "") for one in lines[: height - 3]))


def _line(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _seconds(lease: Lease) -> float:
    return (pd.Timestamp.now("UTC") - pd.Timestamp(lease.started)).total_seconds()


def watch(root: str, every: float = EVERY) -> None:
    """Show an experiment until somebody interrupts it.

    Args:
        root: Address of the experiment.
        every: Time between two looks [s].

    Raises:
        ValueError: There is no experiment, or standard output is no terminal.
    """
    if not sys.stdout.isatty():
        raise ValueError("--watch needs a terminal; allowed elsewhere: losda status, or --json")
    view, console = StreamsView(root) if is_reprocess(root) else View.of(root), Console()
    picture = view.picture(console.height)
    with _until_signal() as stop:
        with Live(picture, console=console, screen=True, auto_refresh=False) as live:
            live.refresh()
            while not stop.wait(every):
                try:
                    picture = view.picture(console.height)
                    live.update(picture, refresh=True)
                except OSError as error:  # storage that does not answer may do so the next time
                    trouble = _line(one_line(error), "bold red")
                    live.update(Group(trouble, picture), refresh=True)
        console.print(picture)


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets; a second one interrupts what hangs.

    So also where SIGINT was ignored from the start, as in what a shell script starts in the background.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
