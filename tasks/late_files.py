"""Files of observations that came after their cycle had read its files.

    until the last cutoff    the ingest is reopened with all that depends on it, and reads them too
    after it                 the journal names them, once; `losda rerun` reads them

So what a cycle has read at its cutoff is all that was there by then, whatever a source said, and
what came later changes nothing without a human. Cycles are looked at until `operations.late` after
their last cutoff.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from configs import Config
from tasks.clock import Clock
from tasks.experiment import cycle_name
from tasks.journal import Entry, Journal
from tasks.ledger import Commit
from tasks.ledger_rerun import reopen
from tasks.orders import Orders
from tasks.plan import Plan

__all__ = ["LateFiles"]

SHOWN = 3
STAGE = "observations"


@dataclass(frozen=True)
class LateFiles:
    """Looks whether files came late.

    Attributes:
        plan: The experiment.
        journal: Its journal.
        clock: Its clock.
        config: Its configuration.
        unread: The files of a cycle that its ingest has not read as they are now.
    """

    plan: Plan
    journal: Journal
    clock: Clock
    config: Config
    unread: Callable[[Commit], Sequence[str]]

    @property
    def cutoff(self) -> pd.Timedelta:
        """How long after its cycle time a cycle waits for its last source."""
        rules, sources = self.config.operations, self.config.observations.sources
        return pd.Timedelta(max(rules.cutoff_of(source) for source in sources))

    def look(self, orders: Orders, utc: pd.Timestamp) -> bool:
        """Reopen what may still be read again, name what came too late; return whether any was.

        Args:
            orders: What the journal amounts to.
            utc: The machine's time.
        """
        found = False
        for time in self.times(utc):
            if orders.hold(time) or (commit := self.plan.commit(time, STAGE)) is None:
                continue
            if not (files := self.unread(commit)):
                continue
            if utc < self.clock.utc(time + self.cutoff):
                found = self.read_again(time, files) or found
            else:
                known = orders.late.get(cycle_name(time), ())
                new = tuple(name for name in files if name not in known)
                found = self.name_them(time, new) or found
        return found

    def times(self, utc: pd.Timestamp) -> Iterator[pd.Timestamp]:
        """Yield the cycle times whose files may have changed, oldest first."""
        now, late = self.clock.time(utc), pd.Timedelta(self.config.operations.late)
        steps = max(0, -(-(now - late - self.cutoff - self.plan.start) // self.plan.step))
        time = self.plan.start + steps * self.plan.step
        while time <= now and self.plan.ledger.standing(time, STAGE).committed:
            yield time
            time += self.plan.step

    def read_again(self, time: pd.Timestamp, files: Sequence[str]) -> bool:
        """Reopen the ingest of a cycle with all that depends on it."""
        reason = f"{_count(files)} came after the ingest: {_names(files)}"
        try:
            for _ in reopen(self.plan, [(time, STAGE)], reason):
                pass
        except ValueError:  # what the analysis needs was cleaned up: nothing was reopened
            return False
        self.journal.write(Entry(kind="rerun", text=reason, cycle=cycle_name(time)))
        self._say(time, f"{reason}; it is done again")
        return True

    def name_them(self, time: pd.Timestamp, files: tuple[str, ...]) -> bool:
        """Write into the journal which files came too late."""
        if not files:
            return False
        text = f"{_count(files)} came after the cutoff: {_names(files)}"
        entry = Entry(kind="late", text=text, cycle=cycle_name(time), stage=STAGE, files=files)
        self.journal.write(entry)
        command = f"`losda rerun {self.plan.root} {cycle_name(time)} --stage {STAGE}`"
        self._say(time, f"{text}; {command} reads what came late")
        return True

    def _say(self, time: pd.Timestamp, text: str) -> None:
        sys.stderr.write(f"losda: {self.plan.root}: cycle {cycle_name(time)}: {text}\n")
        sys.stderr.flush()


def _count(files: Sequence[str]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _names(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(files[:SHOWN]) + more
