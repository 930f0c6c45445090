"""What must hold of an experiment, whatever was killed while it was driven.

once        each stage of each cycle has one commit, never reopened, its files as committed
in order    analyses one after the other, each forecast after the analysis before it
no more     no attempt at a stage began to write after the stage was committed
the same    the archive that people read is, byte for byte, that of an undisturbed run
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from tasks import store
from tasks.ledger import Commit, Ledger
from tasks.plan import CYCLE_STAGES
from tests.chaos import ARCHIVE

__all__ = ["archive_at", "attempts_of", "difference_of", "faults"]


def archive_at(root: str) -> dict[str, bytes]:
    """Return the bytes of every file that people read, on disk or on S3."""
    found = {}
    for part in ARCHIVE:
        folder = store.join(root, part)
        for name, data in store.read_many(folder, store.files(folder)).items():
            found[f"{part}/{name}"] = data
    return found


def difference_of(whole: str, other: str) -> list[str]:
    """Return the files of two archives that are not the same."""
    one, two = archive_at(whole), archive_at(other)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def attempts_of(root: str) -> Counter[str]:
    """Return how many attempts of each stage left something."""
    names = store.files(store.join(root, "attempts"))
    places = {tuple(name.split("/")[:3]) for name in names if name.count("/") > 2}
    return Counter(stage for _, stage, _ in places)


def faults(root: str, cycles: Sequence[str]) -> list[str]:
    """Return everything that is not as it must be, in words.

    Args:
        root: Address of the experiment.
        cycles: The names of the cycles that must be there, and no others.
    """
    found, ledger = [], Ledger(root)
    files = set(store.files(store.join(root, "ledger")))
    wanted = {f"{cycle}/{stage}.json" for cycle in cycles for stage in CYCLE_STAGES}
    found += [f"{name}: missing" for name in sorted(wanted - files)]
    found += [f"{name}: nobody asked for it" for name in sorted(files - wanted)]
    commits = {
        (f"{time:%Y%m%dT%H}", stage): ledger.read(time, stage, 1)
        for (time, stage), standing in ledger.standings().items()
        if standing.committed
    }
    for commit in commits.values():
        try:
            ledger.verify(commit)
        except ValueError as error:
            found.append(str(error))
        found += _attempts_after(ledger, commit)
    path = [
        commits[cycle, stage]
        for cycle in cycles
        for stage in ("forecast", "analysis")
        if (cycle, stage) in commits
    ]
    for before, after in itertools.pairwise(path):
        if after.created < before.created:
            found.append(f"{after.name} was committed before {before.name}")
    return found


def _attempts_after(ledger: Ledger, commit: Commit) -> list[str]:
    """Return the attempts that came after the one that was committed, and after its commit."""
    folder, found = ledger.folder(commit.cycle_time, commit.stage), []
    first: dict[str, float] = {}
    for name, (_, changed) in store.entries(folder).items():
        attempt, slash, _ = name.partition("/")
        if slash:
            first[attempt] = min(changed, first.get(attempt, changed))
    done = datetime.fromisoformat(commit.created).timestamp()
    for attempt, began in first.items():
        if _number(attempt) > _number(commit.attempt) and began > done + 1:
            late = f"{began - done:.0f} s after the commit of {commit.attempt}"
            found.append(f"{commit.name}: {attempt} wrote {late}")
    return found


def _number(attempt: str) -> int:
    return int(attempt.split("-")[0][1:])
