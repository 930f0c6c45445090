"""The files of the ledger: what they are called, and who may create, read and outlast them.

The format is told in `tasks.ledger`. Nothing here knows which stages there are.
"""

import getpass
import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from tasks import store
from tasks.ledger_lease import LEASE, StageBusyError, living
from tasks.ledger_names import (
    ATTEMPTS,
    LEDGER,
    REMOVED,
    REOPENED,
    Stage,
    cycle_of,
    cycle_time_of,
    file_name,
    standings,
)
from tasks.ledger_records import Attempt, Commit, ReopenedError, Reopening, Standing
from tasks.messages import first_error

__all__ = ["Ledger", "now", "user"]


@dataclass(frozen=True)
class Ledger:
    """The ledger of the experiment at one address, local or on S3."""

    root: str

    def standing(self, cycle_time: pd.Timestamp, stage: str) -> Standing:
        """Return where a stage stands."""
        return self.standings_of(cycle_time).get(stage, Standing())

    def standings_of(self, cycle_time: pd.Timestamp) -> dict[str, Standing]:
        """Return where the stages of a cycle stand that have a file, by one listing."""
        return standings(store.names(store.join(self.root, LEDGER, cycle_of(cycle_time))))

    def standings(self) -> dict[Stage, Standing]:
        """Return where all stages stand that have a file, in order of time, by one listing."""
        names: dict[str, list[str]] = {}
        for path in store.files(store.join(self.root, LEDGER)):
            cycle, _, name = path.partition("/")
            names.setdefault(cycle, []).append(name)
        return {
            (cycle_time_of(cycle), stage): standing
            for cycle, found in sorted(names.items())
            for stage, standing in sorted(standings(found).items())
        }

    def cycles(self) -> dict[pd.Timestamp, tuple[str, ...]]:
        """Return the committed stages of every cycle that ever had one, in order of time."""
        found: dict[pd.Timestamp, tuple[str, ...]] = {}
        for (cycle_time, stage), standing in self.standings().items():
            before = found.get(cycle_time, ())
            found[cycle_time] = (*before, stage) if standing.committed else before
        return found

    def committed(self, cycle_time: pd.Timestamp, stage: str) -> Commit | None:
        """Return the commit of a stage, or None if it is not done.

        Raises:
            ValueError: The commit's file is not a commit.
        """
        standing = self.standing(cycle_time, stage)
        return self.read(cycle_time, stage, standing.generation) if standing.committed else None

    def read(self, cycle_time: pd.Timestamp, stage: str, generation: int) -> Commit:
        """Return the commit of a generation of a stage.

        Raises:
            FileNotFoundError: It is not committed.
            ValueError: The commit's file is not a commit.
        """
        address = self._address(cycle_time, stage, generation)
        try:
            commit = Commit.model_validate_json(store.read_bytes(address))
        except ValidationError as error:
            place, reason = first_error(error)
            raise ValueError(f"{address} is no commit: {place}: {reason}") from error
        here = store.join(self.folder(cycle_time, stage), commit.attempt)  # it may have moved
        return commit.model_copy(update={"address": here})

    def new_attempt(
        self, cycle_time: pd.Timestamp, stage: str, sources: Sequence[Commit] = ()
    ) -> Attempt:
        """Return a new attempt at the latest generation, with an empty folder of its own.

        Raises:
            StageBusyError: Another attempt is under way, by its lease.
        """
        generation = self.standing(cycle_time, stage).generation
        folder = self.folder(cycle_time, stage)
        names = store.names(folder)
        if LEASE in names and (lease := living(folder)):
            raise StageBusyError(cycle_of(cycle_time), stage, lease)
        number = sum(name != LEASE for name in names) + 1
        name = f"a{number}-{uuid.uuid4().hex[:8]}"
        address = store.join(folder, name)
        if not store.is_remote(address):
            os.makedirs(address)
        return Attempt(cycle_time, stage, name, address, generation, tuple(sources))

    def require_current(self, attempt: Attempt) -> None:
        """Require that an attempt may still make the commit that counts.

        Raises:
            ReopenedError: The stage, or one that it read from, was reopened since it began.
        """
        began = {(attempt.cycle_time, attempt.stage): attempt.generation}
        began |= {(c.cycle_time, c.stage): c.generation for c in attempt.sources}
        listed = {time: self.standings_of(time) for time in {time for time, _ in began}}
        for (time, stage), generation in began.items():
            if listed[time].get(stage, Standing()).generation != generation:
                raise ReopenedError(
                    f"stage {stage} of cycle {cycle_of(time)} in {self.root} was reopened while "
                    f"{attempt.stage} of {cycle_of(attempt.cycle_time)} was made: run again"
                )

    def commit(self, commit: Commit) -> Commit:
        """Commit an attempt, or take the commit that came first and remove the attempt.

        All files of the attempt are on disk before the commit is. In the file the address is
        relative to the root, so that an experiment can be moved.
        """
        address = self._address(commit.cycle_time, commit.stage, commit.generation)
        relative = commit.address.removeprefix(self.root.rstrip("/") + "/")
        stored = commit.model_copy(update={"address": relative})
        data = stored.model_dump_json(indent=1).encode() + b"\n"
        if store.create_exclusive(address, data, vouches_for=self._written(commit)):
            return commit
        try:
            winner = self.read(commit.cycle_time, commit.stage, commit.generation)
        except FileNotFoundError:
            attempt = commit.attempt
            raise ValueError(f"{address} was removed while attempt {attempt} committed") from None
        # An S3 client whose first answer was lost asks again and loses to itself.
        if winner.attempt != commit.attempt:
            store.remove_tree(commit.address)
        return winner

    def reopen(
        self, cycle_time: pd.Timestamp, stage: str, generation: int, reason: str = ""
    ) -> bool:
        """End a generation of a stage; return whether this call did."""
        record = Reopening(reason=reason, by=user(), host=socket.gethostname(), created=now())
        address = self._address(cycle_time, stage, generation, REOPENED)
        return store.create_exclusive(address, record.model_dump_json(indent=1).encode() + b"\n")

    def give_up(self, commits: Iterable[Commit]) -> None:
        """Say that what was committed may be gone from now on, before it is removed."""
        record = f'{{"created": "{now()}"}}\n'.encode()
        for commit in commits:
            store.write_bytes(self._removed(commit), record)

    def keep(self, commit: Commit) -> None:
        """Take back `give_up`; nothing has been removed."""
        store.remove(self._removed(commit))

    def verify(self, commit: Commit) -> None:
        """Require that the attempt's files are what was committed.

        Raises:
            ValueError: A file is missing or altered.
        """
        found = store.digests(commit.address)
        for name, expected in commit.digests.items():
            if found.get(name) != expected:
                address, state = store.join(commit.address, name), found.get(name, "nothing")
                raise ValueError(f"{address} was altered: digest {state}, expected {expected}")

    def folder(self, cycle_time: pd.Timestamp, stage: str) -> str:
        """Return where the attempts at a stage lie."""
        return store.join(self.root, ATTEMPTS, cycle_of(cycle_time), stage)

    def _address(
        self, cycle_time: pd.Timestamp, stage: str, generation: int, mark: str = ""
    ) -> str:
        name = file_name(stage, generation, mark)
        return store.join(self.root, LEDGER, cycle_of(cycle_time), name)

    def _removed(self, commit: Commit) -> str:
        return self._address(commit.cycle_time, commit.stage, commit.generation, REMOVED)

    def _written(self, commit: Commit) -> list[Path]:
        """Return the files of an attempt and all folders from them up to the root."""
        if store.is_remote(self.root):
            return []
        root, folder = Path(self.root), Path(commit.address)
        paths = [folder / name for name in commit.digests]
        above = {parent for path in [*paths, folder / "."] for parent in path.parents}
        return [*paths, folder, *(p for p in above if p.is_relative_to(root) and p != folder)]


def now() -> str:
    """Return the time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def user() -> str:
    """Return the name of who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
