"""Clean-up: which attempts of an experiment may go, and their removal, interrupted at any instant.

An attempt may go in two cases.

*lost*: its stage is committed by another attempt. Whatever the lost one still does, it cannot
become what readers follow, and nobody reads it; unless it is young or its lease is alive. An
attempt at a stage that is still open is kept, as it may come back and win.

*published*: it is what its stage committed, the archive holds it, its cycle is more than `keep`
older than the last one, and it is read by no stage that is still to be done (open, or made from an
open one), nor by one of the cycles that are kept. So the recent cycles can be rerun, and a rerun
from before begins where its inputs are, at the latest with the first cycle.

Before files of the second kind go, the ledger says so (`STAGE.removed-G.json`), and who needs what
is asked once more. A rerun asks in the other order: it reopens, then looks what was removed. So one
of the two sees the other.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from tasks import store
from tasks.ledger import ATTEMPTS, Stage
from tasks.ledger_lease import LEASE, living
from tasks.ledger_names import cycle_time_of
from tasks.ledger_rerun import stages_until
from tasks.plan import CYCLE_STAGES, Plan

__all__ = ["Removal", "removals", "remove"]


@dataclass(frozen=True)
class Removal:
    """An attempt that may go.

    Attributes:
        cycle_time: Its cycle.
        stage: Its stage.
        attempt: Its name.
        why: `lost` or `published`.
        bytes: Size of its files.
    """

    cycle_time: pd.Timestamp
    stage: str
    attempt: str
    why: str
    bytes: int


@dataclass
class Written:
    """The files of an attempt: size [bytes] and last change [s since 1970]."""

    bytes: int = 0
    changed: float = 0.0


def removals(plan: Plan, keep: pd.Timedelta) -> list[Removal]:
    """Return the attempts that may go, in order of time.

    Args:
        plan: The experiment.
        keep: Age up to which nothing goes: of published attempts in cycle time before the last
            cycle, of lost ones since they were written and their stage was committed.
    """
    plan = plan.at_once()
    kept, newest = _kept(plan, keep), time.time() - keep.total_seconds()
    attempts, found = _attempts(plan), []
    for (cycle_time, stage, attempt), written in sorted(attempts.items()):
        commit, why = plan.commit(cycle_time, stage), ""
        if commit is None or attempt == LEASE:
            continue
        if attempt == commit.attempt:
            why = "" if (cycle_time, stage) in kept else "published"
        elif max(written.changed, pd.Timestamp(commit.created).timestamp()) <= newest:
            leased = (cycle_time, stage, LEASE) in attempts
            lease = living(plan.ledger.folder(cycle_time, stage)) if leased else None
            why = "" if lease and lease.attempt == attempt else "lost"
        if why:
            found.append(Removal(cycle_time, stage, attempt, why, written.bytes))
    return found


def remove(plan: Plan, found: Sequence[Removal], keep: pd.Timedelta) -> Iterator[Removal]:
    """Remove attempts that `removals` returned and yield each when it is gone.

    What somebody came to need meanwhile is kept.
    """
    plan = plan.at_once()
    given_up = {(r.cycle_time, r.stage): r for r in found if r.why == "published"}
    commits = [commit for place in given_up if (commit := plan.commit(*place))]
    plan.ledger.give_up(commits)
    plan = plan.at_once()
    kept = _kept(plan, keep)
    for commit in commits:
        if (commit.cycle_time, commit.stage) in kept:
            plan.ledger.keep(commit)
    for removal in found:
        if removal.why == "published" and not _is_still(plan, removal, kept):
            continue
        folder = plan.ledger.folder(removal.cycle_time, removal.stage)
        store.remove_tree(store.join(folder, removal.attempt))
        yield removal


def _is_still(plan: Plan, removal: Removal, kept: set[Stage]) -> bool:
    commit = plan.commit(removal.cycle_time, removal.stage)
    place = removal.cycle_time, removal.stage
    return commit is not None and commit.attempt == removal.attempt and place not in kept


def _kept(plan: Plan, keep: pd.Timedelta) -> set[Stage]:
    """Return the stages whose committed attempts stay."""
    order = stages_until(plan)
    if not order:
        return set()
    last = order[-1][0]
    order = [*order, *((last + plan.step, stage) for stage in CYCLE_STAGES)]
    published = {t: plan.is_published(t) for t in {t for t, _ in order} if t < last - keep}
    undone: set[Stage] = set()
    for place in order:
        sources = plan.upstream(*place)
        if (
            plan.commit(*place) is None
            or any(source in undone for source in sources)
            or not _has_read(plan, place)
        ):
            undone.add(place)
    stay = undone | {place for place in order if not published.get(place[0], False)}
    return stay | {source for place in stay for source in plan.upstream(*place)}


def _has_read(plan: Plan, place: Stage) -> bool:
    """Return whether a stage was made from what its inputs are now."""
    commit = plan.committed(*place)
    return all(commit.has_read(source) for source in plan.sources(*place))


def _attempts(plan: Plan) -> dict[tuple[pd.Timestamp, str, str], Written]:
    """Return all attempts that have a file, and the leases."""
    found: dict[tuple[pd.Timestamp, str, str], Written] = {}
    for name, (size, changed) in store.entries(store.join(plan.root, ATTEMPTS)).items():
        cycle, stage, attempt = [*name.split("/", 3), "", ""][:3]
        if stage in CYCLE_STAGES and attempt:
            written = found.setdefault((cycle_time_of(cycle), stage, attempt), Written())
            written.bytes += size
            written.changed = max(written.changed, changed)
    return found
