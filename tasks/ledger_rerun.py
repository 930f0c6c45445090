"""Reopen stages of an experiment, with all that depends on them: which ones, and in which order.

A stage that is reopened is done again by the next run, from what its inputs are then. Nothing is
removed: the commits of before stay, and count no more. The earliest stages are reopened first. A
crash between two of them leaves later ones that were made from a stage that is open; they are stale
(refused, not used), and the same command goes on with them.
"""

from collections.abc import Collection, Iterator

import pandas as pd

from tasks.experiment import cycle_name
from tasks.ledger import Stage
from tasks.plan import CYCLE_STAGES, Plan

__all__ = ["reopen", "stages_to_reopen", "stages_until", "stale_stages"]


def stages_until(plan: Plan, last: pd.Timestamp | None = None) -> list[Stage]:
    """Return all stages up to a cycle, each after those that it reads from.

    Args:
        plan: The experiment.
        last: Last cycle; by default the last one that has a commit.
    """
    listing = plan.ledger.standings() if plan.listing is None else plan.listing
    last = last if last is not None else max((time for time, _ in listing), default=None)
    times = pd.date_range(plan.start, last, freq=plan.step) if last is not None else ()
    return [(time, stage) for time in times for stage in CYCLE_STAGES]


def stale_stages(plan: Plan, since: pd.Timestamp | None = None) -> list[Stage]:
    """Return the committed stages that were made from something else than is there now."""
    return [
        (time, stage)
        for time, stage in stages_until(plan)
        if (since is None or time >= since) and plan.state(time, stage) == "stale"
    ]


def stages_to_reopen(plan: Plan, wanted: Collection[Stage], only: bool = False) -> list[Stage]:
    """Return the committed stages that are to be reopened, in the order in which they are made.

    Where clean-up has removed what one of them reads, the stage that made it is reopened too.

    Args:
        plan: The experiment, best as of one instant.
        wanted: The stages to be done again.
        only: Without what depends on them.

    Raises:
        ValueError: Only an earlier cycle, or with `only` another stage, can make again what
            clean-up has removed.
    """
    order, chosen = stages_until(plan), set(wanted)
    while True:
        chosen |= set() if only else _dependents(plan, order, chosen)
        lost = _removed_sources(plan, chosen)
        if not lost:
            break
        chosen |= lost
    _require_makable(plan, wanted, chosen, only)
    return [stage for stage in order if stage in chosen and plan.commit(*stage)]


def reopen(
    plan: Plan, wanted: Collection[Stage], reason: str, only: bool = False
) -> Iterator[Stage]:
    """Reopen stages and yield each when it is.

    What others meanwhile commit from a stage that is reopened, or give up, is reopened as well.

    Raises:
        ValueError: As `stages_to_reopen`.
    """
    plan, done = plan.at_once(), set(wanted)
    stages = stages_to_reopen(plan, wanted, only)
    while stages:
        for time, stage in stages:
            plan.ledger.reopen(time, stage, plan.standing(time, stage).generation, reason)
            yield time, stage
        done |= set(stages)
        plan = plan.at_once()
        stages = [
            stage
            for stage in stages_to_reopen(plan, done, only)
            if plan.state(*stage) == "stale" or plan.standing(*stage).removed
        ]


def _dependents(plan: Plan, order: list[Stage], chosen: set[Stage]) -> set[Stage]:
    """Return the stages that read from some, directly or not."""
    found: set[Stage] = set()
    for stage in order:
        if any(before in chosen or before in found for before in plan.upstream(*stage)):
            found.add(stage)
    return found


def _removed_sources(plan: Plan, chosen: set[Stage]) -> set[Stage]:
    """Return the stages that others read from and whose files clean-up has removed."""
    sources = {before for stage in chosen for before in plan.upstream(*stage)} - chosen
    return {source for source in sources if plan.standing(*source).removed}


def _require_makable(
    plan: Plan, wanted: Collection[Stage], chosen: set[Stage], only: bool
) -> None:
    """Require that no more than what was asked for, or depends on it, is to be made again."""
    if only and chosen != set(wanted):
        names = _names(_removed_sources(plan, set(wanted)))
        raise ValueError(f"{_names(wanted)} of {plan.root} reads what clean-up removed: {names}")
    first, earliest = (min((t for t, _ in some), default=None) for some in (wanted, chosen))
    if first is not None and earliest is not None and earliest < first:
        raise ValueError(
            f"a rerun from cycle {cycle_name(first)} of {plan.root} reads what clean-up removed; "
            f"it can begin at cycle {cycle_name(earliest)}"
        )


def _names(stages: Collection[Stage]) -> str:
    return ", ".join(f"{stage} of cycle {cycle_name(time)}" for time, stage in sorted(stages))
