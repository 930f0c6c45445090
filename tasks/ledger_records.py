"""The records of the ledger: attempts, commits, reopenings, and where a stage stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer

from tasks import store

__all__ = [
    "Attempt",
    "Commit",
    "ReopenedError",
    "Reopening",
    "StageResult",
    "StaleCommitError",
    "Standing",
]

CycleTime = Annotated[
    pd.Timestamp,
    BeforeValidator(pd.Timestamp),
    PlainSerializer(lambda time: time.isoformat(), return_type=str),
]


class StaleCommitError(ValueError):
    """A stage is committed, but was made from something else."""


class ReopenedError(ValueError):
    """What a stage reads from is not committed (any more), or the stage itself was reopened."""


@dataclass(frozen=True)
class Standing:
    """Where a stage stands.

    Attributes:
        generation: The latest one; the first is 1, each reopening begins the next.
        committed: Whether that generation is committed.
        removed: Whether clean-up has given up what was committed.
    """

    generation: int = 1
    committed: bool = False
    removed: bool = False


@dataclass(frozen=True)
class StageResult:
    """What a stage's work reports: seconds by part, and a small JSON summary."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    summary: Mapping[str, object] = field(default_factory=dict)


class Commit(BaseModel):
    """The record that a stage is done."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    cycle_time: CycleTime
    """Nominal analysis time, UTC."""
    stage: str
    """Name of the stage."""
    generation: int = 1
    """How often the stage was reopened before, plus one."""
    attempt: str
    """Name of the attempt that counts."""
    address: str
    """The attempt's folder; in the file relative to the experiment."""
    digests: dict[str, str]
    """SHA-256 of every file of the attempt, by path below the address."""
    inputs: dict[str, str]
    """Fingerprint of each commit that the stage depends on."""
    contents: dict[str, str] = Field(default_factory=dict)
    """Digest of what the stage read from each commit (the commit's `content`)."""
    fingerprint: str
    """What the result was made of."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock time by part [s]."""
    summary: dict[str, JsonValue] = Field(default_factory=dict)
    """Counts, errors and the like."""
    created: str
    """When, ISO 8601, UTC."""
    host: str
    """Where it was computed."""
    versions: dict[str, str]
    """Versions of the packages that computed it."""

    @property
    def name(self) -> str:
        """The stage's name in the inputs of another, CYCLE/STAGE."""
        return f"{self.cycle_time:%Y%m%dT%H}/{self.stage}"

    @property
    def content(self) -> str:
        """SHA-256 over names and digests of the files: equal where the bytes are."""
        return store.digest("\n".join(map("=".join, sorted(self.digests.items()))).encode())

    def has_read(self, source: "Commit") -> bool:
        """Return whether the stage read just what another commit names.

        The commits of before there were generations do not say; they can only know the first.
        """
        first = source.content if source.generation == 1 else ""
        return self.contents.get(source.name, first) == source.content


@dataclass(frozen=True)
class Attempt:
    """One try at a stage and the only folder it may write to.

    Attributes:
        cycle_time: Nominal analysis time, UTC.
        stage: Name of the stage.
        name: Name of the attempt.
        address: Its folder.
        generation: The generation of the stage in which it began; it can commit no other.
        sources: The commits that it reads from, as they were when it began.
    """

    cycle_time: pd.Timestamp
    stage: str
    name: str
    address: str
    generation: int = 1
    sources: tuple[Commit, ...] = ()

    def source(self, cycle_time: pd.Timestamp, stage: str) -> str:
        """Return the address of what another stage committed before the attempt began."""
        place = cycle_time, stage
        return next(c.address for c in self.sources if (c.cycle_time, c.stage) == place)


class Reopening(BaseModel):
    """The record that a generation of a stage counts no more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    """Why, in the words of who did it."""
    by: str
    """Name of the user."""
    host: str
    """Where."""
    created: str
    """When, ISO 8601, UTC."""
