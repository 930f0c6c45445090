"""The records of the ledger: an attempt, what its work reports, and the commit of a stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer

__all__ = ["Attempt", "Commit", "StageResult", "StaleCommitError"]

CycleTime = Annotated[
    pd.Timestamp,
    BeforeValidator(pd.Timestamp),
    PlainSerializer(lambda time: time.isoformat(), return_type=str),
]


class StaleCommitError(ValueError):
    """A stage is committed, but was made from something else."""


@dataclass(frozen=True)
class Attempt:
    """One try at a stage and the only folder it may write to."""

    cycle_time: pd.Timestamp
    stage: str
    name: str
    address: str


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
    attempt: str
    """Name of the attempt that counts."""
    address: str
    """The attempt's folder; in the file relative to the experiment."""
    digests: dict[str, str]
    """SHA-256 of every file of the attempt, by path below the address."""
    inputs: dict[str, str]
    """Fingerprint of each commit that the stage read from."""
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
