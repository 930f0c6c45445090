"""The unfinished cycles of an experiment, at a cost that does not grow with the finished ones.

It remembers the first unfinished cycle and lists the ledger only from there up to the first cycle
without an analysis. A rerun says in the journal where it began, and the view goes back there.
"""

from dataclasses import dataclass, field, replace

import pandas as pd

from tasks.due import ANALYSIS, CycleState
from tasks.experiment import cycle_time
from tasks.ledger import Stage, Standing
from tasks.orders import Orders
from tasks.plan import CYCLE_STAGES, PUBLICATION, Plan

__all__ = ["Overview"]


@dataclass
class Overview:
    """Where an experiment stands.

    Attributes:
        plan: The experiment. Commits of finished cycles are forgotten.
        first: The first cycle that may be unfinished; the first of all to begin with.
        reruns: How many reruns were seen.
    """

    plan: Plan
    first: pd.Timestamp
    reruns: int = 0

    def unfinished(self, orders: Orders) -> list[CycleState]:
        """Return the unfinished cycles up to the first without an analysis, or the first stale."""
        self._go_back(orders)
        view = _View(self.plan, self.first)
        found: list[CycleState] = []
        time = self.first
        while True:
            cycle = view.state(time)
            if cycle.open or cycle.stale:
                found.append(cycle)
            elif not found:
                self._pass(time)
            if cycle.stale or any(stage in ANALYSIS for stage in cycle.open):
                return found
            time += self.plan.step

    def _go_back(self, orders: Orders) -> None:
        for cycle in orders.reruns[self.reruns :]:
            self.first = min(self.first, cycle_time(cycle))
        self.reruns = len(orders.reruns)

    def _pass(self, time: pd.Timestamp) -> None:
        """Take note that a cycle is finished; the next one still reads from it."""
        self.first = time + self.plan.step
        for place in [place for place in self.plan.known if place[0] < time]:
            self.plan.known.pop(place, None)


@dataclass
class _View:
    """A plan that lists each cycle once."""

    plan: Plan
    first: pd.Timestamp
    listing: dict[Stage, Standing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan = replace(self.plan, listing=self.listing)
        self._list(self.first - self.plan.step)

    def state(self, time: pd.Timestamp) -> CycleState:
        """Return where a cycle stands; the one before must have been asked for."""
        self._list(time)
        plan, stages = self.plan, CYCLE_STAGES
        left = [stage for stage in stages if plan.commit(time, stage) is None]
        reasons = {s: plan.why_stale(time, s) for s in stages if s not in left}
        stale = next((f"{s} is stale: {why}" for s, why in reasons.items() if why), "")
        if left or not plan.is_published(time):
            left.append(PUBLICATION)
        generations = {stage: plan.generation(time, stage) for stage in left}
        return CycleState(time, tuple(left), generations, stale)

    def _list(self, time: pd.Timestamp) -> None:
        for stage, standing in self.plan.ledger.standings_of(time).items():
            self.listing[time, stage] = standing
