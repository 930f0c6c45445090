"""Drive an experiment: look what is due, give alerts, and be the only one who does.

    ROOT/drive/lease.json       who drives
    ROOT/drive/settings.yaml    the configuration of the last drive, operational settings included
    ROOT/drive/waiting.json     what it saw to do or to wait for at its last look

The lease only saves double work: should two drive the same experiment, the commits still decide.
"""

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import yaml

from tasks import store
from tasks.clock import Clock
from tasks.due import Decision, Moment, due
from tasks.experiment import Experiment, cycle_name
from tasks.failures import note_deaths
from tasks.journal import Entry, Journal
from tasks.late_files import LateFiles
from tasks.ledger_lease import Lease, kept, lease_of, living
from tasks.orders import Orders, orders_of
from tasks.overview import Overview

__all__ = [
    "DRIVE",
    "DrivenError",
    "Driver",
    "driver_of",
    "driving",
    "require_free",
    "save_settings",
    "settings_of",
    "utc_now",
]

DRIVE, SETTINGS = "drive", "settings.yaml"


class DrivenError(ValueError):
    """Another process drives the experiment."""

    def __init__(self, root: str, lease: Lease) -> None:
        """Say who drives."""
        since = lease.started.isoformat(timespec="seconds")
        super().__init__(
            f"{root} is driven by process {lease.process} on {lease.host} since {since}"
        )


def utc_now() -> pd.Timestamp:
    """Return the machine's time, UTC."""
    return pd.Timestamp.now("UTC").tz_localize(None)


@dataclass
class Driver:
    """What a process that drives an experiment knows.

    Attributes:
        experiment: What is driven.
        overview: Its unfinished cycles.
        journal: Its journal.
        clock: Its clock.
        missing: The sources of which not all observations of a cycle are there.
        end: Last cycle time, if there is one.
        late: Looks whether files came late, where observations are read from files.
        now: The machine's time, UTC.
    """

    experiment: Experiment
    overview: Overview
    journal: Journal
    clock: Clock
    missing: Callable[[pd.Timestamp], Sequence[str]]
    end: pd.Timestamp | None = None
    late: LateFiles | None = None
    now: Callable[[], pd.Timestamp] = utc_now

    def look(self) -> Decision:
        """Return what is to be done now, and give an alert where somebody has to act."""
        orders = orders_of(self.journal.entries())
        if self.late is not None and self.late.look(orders, self.now()):
            orders = orders_of(self.journal.entries())
        cycles = self.overview.unfinished(orders)
        note_deaths(self.overview.plan, self.journal, cycles)
        orders = orders_of(self.journal.entries())
        decision = due(cycles, orders, self.moment())
        for wait in decision.waits_for("failed", "stale"):
            self.alert(orders, wait.why, wait.time, wait.stage)
        for action in decision.actions:
            if action.missing:
                self.alert(orders, action.why, action.time, "observations")
        return decision

    def moment(self) -> Moment:
        """Return when and under which rules it is asked."""
        rules, step = self.experiment.config.operations, self.experiment.step
        return Moment(self.now(), self.clock, rules, step, self.missing, self.end)

    def alert(
        self, orders: Orders, text: str, time: pd.Timestamp | None = None, stage: str = ""
    ) -> None:
        """Tell people that they are needed, once: on standard error and in the journal."""
        cycle = "" if time is None else cycle_name(time)
        entry = Entry(kind="alert", text=text, cycle=cycle, stage=stage)
        if not orders.has_alert(entry):
            self.journal.write(entry)
            about = f"cycle {cycle}: " if cycle else ""
            sys.stderr.write(f"losda: ALERT: {self.experiment.root}: {about}{text}\n")
            sys.stderr.flush()


def driver_of(root: str) -> Lease | None:
    """Return who drives an experiment, if anybody does."""
    return living(store.join(root, DRIVE))


def require_free(root: str) -> None:
    """Require that nobody drives an experiment.

    Raises:
        DrivenError: Somebody does.
    """
    if there := driver_of(root):
        raise DrivenError(root, there)


@contextmanager
def driving(root: str) -> Iterator[None]:
    """Be the one who drives an experiment while the block runs.

    Raises:
        DrivenError: Another process does.
    """
    folder, mine = store.join(root, DRIVE), lease_of(f"drive-{uuid.uuid4().hex[:8]}")
    require_free(root)
    with kept(folder, mine):
        there = living(folder)  # of two who began at once the last to write goes on
        if there and there.attempt != mine.attempt:
            raise DrivenError(root, there)
        yield


def save_settings(experiment: Experiment) -> None:
    """Keep the configuration, so that the directory alone can be driven."""
    text = yaml.safe_dump(experiment.config.model_dump(mode="json"), sort_keys=False)
    store.write_bytes(_settings(experiment.root), text.encode())


def settings_of(root: str) -> str | None:
    """Return the configuration that an experiment was driven with, YAML, if it ever was."""
    address = _settings(root)
    return store.read_bytes(address).decode() if store.exists(address) else None


def _settings(root: str) -> str:
    return store.join(root, DRIVE, SETTINGS)
