"""What an experiment is to do now, or what it waits for: a pure function.

Analyses are made strictly in order: only the first cycle without one is ever begun, once

    now >= cycle time + offset                              it is due,
    every source of its observations is complete or past its cutoff (its forecast need not wait),
    it is less than `run_ahead` cycles from the first one that is not published,
    and nothing of it is held, stale, or waits for its retry.

Verification and publication follow off that path, oldest first. After too many failures, a hold,
or at a stale stage nothing later is begun. So after an outage of any length all cycles are made, in
order, none missed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from configs.operations import Operations
from tasks.clock import Clock
from tasks.experiment import cycle_name
from tasks.orders import Orders

__all__ = ["ANALYSIS", "CUTOFF", "Action", "CycleState", "Decision", "Moment", "Wait", "due"]

ANALYSIS = ("forecast", "observations", "analysis")
"""The stages on the path from one cycle to the next."""
STOPPERS = ("held", "stale", "failed")
CUTOFF = "due, observations incomplete at the cutoff: "


@dataclass(frozen=True)
class CycleState:
    """Where a cycle stands.

    Attributes:
        time: Cycle time.
        open: What is to be done, in order: stages, then `publication`.
        generations: Generation of each of them; failures of an earlier one do not count.
        stale: Why one of its stages does not count any more, if so.
    """

    time: pd.Timestamp
    open: tuple[str, ...]
    generations: Mapping[str, int] = field(default_factory=dict)
    stale: str = ""


@dataclass(frozen=True)
class Action:
    """Stages of a cycle that can be begun now, in order.

    Attributes:
        time: Cycle time.
        stages: What is to be done.
        why: The reason, for people.
        missing: Sources without which the observations are taken, at their cutoff.
    """

    time: pd.Timestamp
    stages: tuple[str, ...]
    why: str
    missing: tuple[str, ...] = ()

    @property
    def is_on_path(self) -> bool:
        """Whether the next cycle waits for it."""
        return self.stages[0] in ANALYSIS


@dataclass(frozen=True)
class Wait:
    """What keeps a cycle from being begun.

    Attributes:
        time: Cycle time.
        kind: `held`, `failed` (too often), `stale`, `end`, `due`, `observations`, `retry` or
            `run-ahead`.
        why: The same for people.
        stage: The stage, if it is about one.
        until: When to look again, UTC; None if only somebody's act, or other work, ends it.
    """

    time: pd.Timestamp
    kind: str
    why: str
    stage: str = ""
    until: pd.Timestamp | None = None


@dataclass(frozen=True)
class Decision:
    """What to do now, in order, and what the rest waits for."""

    actions: tuple[Action, ...] = ()
    waits: tuple[Wait, ...] = ()

    def waits_for(self, *kinds: str) -> list[Wait]:
        """Return what waits for one of some reasons."""
        return [wait for wait in self.waits if wait.kind in kinds]


@dataclass(frozen=True)
class Moment:
    """When and under which rules it is asked.

    Attributes:
        utc: The machine's time.
        clock: The experiment's.
        rules: The operational settings.
        step: Time between cycles.
        missing: The sources of which not all observations of a cycle are there.
        end: Last cycle time, if there is one.
    """

    utc: pd.Timestamp
    clock: Clock
    rules: Operations
    step: pd.Timedelta
    missing: Callable[[pd.Timestamp], Sequence[str]]
    end: pd.Timestamp | None = None


def due(cycles: Sequence[CycleState], orders: Orders, moment: Moment) -> Decision:
    """Return what is to be done now.

    Args:
        cycles: The unfinished cycles in order, up to the first without an analysis. Later ones
            make no difference.
        orders: What the journal amounts to.
        moment: When, and under which rules.
    """
    actions: list[Action] = []
    waits: list[Wait] = []
    for cycle in cycles:
        found = _look(cycle, cycles[0], orders, moment)
        if isinstance(found, Action):
            actions.append(found)
        else:
            waits.append(found)
        if _is_on_path(cycle) or (waits and waits[-1].kind in STOPPERS):
            break
    return Decision(tuple(actions), tuple(waits))


def _is_on_path(cycle: CycleState) -> bool:
    return any(stage in ANALYSIS for stage in cycle.open)


def _look(cycle: CycleState, first: CycleState, orders: Orders, moment: Moment) -> Action | Wait:
    """Return what to do of a cycle, or why not."""
    found: Action | Wait | None = _stopped(cycle, orders, moment)
    found = found or _after_failure(cycle, orders, moment)
    if found is None and _is_on_path(cycle):
        found = _too_early(cycle, first, moment) or _without_observations(cycle, moment)
    return found or _action(cycle, "due")


def _action(cycle: CycleState, why: str, missing: Sequence[str] = ()) -> Action:
    """Return what is to be done of a cycle; the next one need not wait for its end."""
    stages = tuple(stage for stage in cycle.open if stage in ANALYSIS)
    return Action(cycle.time, stages or cycle.open, why, tuple(missing))


def _stopped(cycle: CycleState, orders: Orders, moment: Moment) -> Wait | None:
    """Return who or what has to act first."""
    if hold := orders.hold(cycle.time):
        which = f"cycle {hold.cycle}" if hold.cycle else "the experiment"
        reason = f": {hold.text}" if hold.text else ""
        return Wait(cycle.time, "held", f"{which} is held by {hold.by}{reason}")
    if cycle.stale:
        return Wait(cycle.time, "stale", cycle.stale)
    for stage in cycle.open:
        failures = orders.failures(cycle.time, stage, cycle.generations.get(stage, 1))
        if len(failures) >= moment.rules.attempts:
            number = f"{len(failures)} times (`losda release` lets it try again)"
            why = f"{stage} of cycle {cycle_name(cycle.time)} failed {number}, the last time: "
            return Wait(cycle.time, "failed", why + failures[-1].text, stage)
    return None


def _after_failure(cycle: CycleState, orders: Orders, moment: Moment) -> Wait | None:
    """Return the wait for the next attempt; after the death of a process there is none."""
    stage = cycle.open[0]
    failures = orders.failures(cycle.time, stage, cycle.generations.get(stage, 1))
    if not failures or failures[-1].kind == "death":
        return None
    delay = moment.rules.retry_after * 2 ** (len(failures) - 1)
    until = pd.Timestamp(failures[-1].created).tz_convert(None) + delay
    if moment.utc >= until:
        return None
    number = f"attempt {len(failures) + 1} of {moment.rules.attempts}"
    why = f"{number} at {stage} after: {failures[-1].text}"
    return Wait(cycle.time, "retry", why, stage, until)


def _too_early(cycle: CycleState, first: CycleState, moment: Moment) -> Wait | None:
    """Return what a cycle without an analysis waits for before it is begun."""
    if moment.end is not None and cycle.time > moment.end:
        return Wait(cycle.time, "end", f"the last cycle is {cycle_name(moment.end)}")
    due_at = moment.clock.utc(cycle.time + moment.rules.offset)
    if moment.utc < due_at:
        return Wait(cycle.time, "due", f"due at {_text(due_at)}", until=due_at)
    ahead = (cycle.time - first.time) // moment.step
    if ahead > moment.rules.run_ahead:
        why = f"{ahead} cycles ahead of {cycle_name(first.time)}, which is not published"
        return Wait(cycle.time, "run-ahead", why)
    return None


def _without_observations(cycle: CycleState, moment: Moment) -> Action | Wait | None:
    """Return what can be done while observations are incomplete; None if they do not matter."""
    missing = moment.missing(cycle.time) if "observations" in cycle.open else ()
    if not missing:
        return None
    rules, clock = moment.rules, moment.clock
    cutoffs = {name: clock.utc(cycle.time + rules.cutoff_of(name)) for name in missing}
    awaited = {name: cutoff for name, cutoff in cutoffs.items() if moment.utc < cutoff}
    if not awaited:
        return _action(cycle, CUTOFF + ", ".join(missing), missing)
    if "forecast" in cycle.open:
        return Action(cycle.time, ("forecast",), "due, observations awaited")
    names = ", ".join(f"{name} until {_text(cutoff)}" for name, cutoff in awaited.items())
    why = f"observations incomplete; awaited: {names}"
    return Wait(cycle.time, "observations", why, "observations", min(awaited.values()))


def _text(time: pd.Timestamp) -> str:
    return f"{time.isoformat(timespec='seconds')}Z"
