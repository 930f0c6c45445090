"""How an experiment is driven in operations: when a cycle is due, and what happens to failures.

These settings are no part of the experiment's identity; they may change while it goes on. Delays
are in the experiment's time, but `retry_after`, which is in the machine's.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from configs.base import DURATIONS, Model, Time, parse_time

Delay = Annotated[timedelta, Field(ge=timedelta(0))]


def _pairs(value: object) -> object:
    """Return a mapping as pairs: a frozen configuration can be a key."""
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def _mapping(pairs: tuple[tuple[str, timedelta], ...]) -> dict[str, object]:
    return {name: DURATIONS.dump_python(delay, mode="json") for name, delay in pairs}


Cutoffs = Annotated[
    tuple[tuple[str, Delay], ...], BeforeValidator(_pairs), PlainSerializer(_mapping)
]


class WallClock(Model):
    """The experiment's time is UTC."""

    kind: Literal["wall"] = "wall"


class MappedClock(Model):
    """The experiment's time is start + (UTC - at) · rate: a past period, as if it were now."""

    kind: Literal["mapped"]
    at: Annotated[datetime, BeforeValidator(parse_time)]
    """When the experiment's clock shows `start`, UTC."""
    rate: Annotated[float, Field(gt=0)] = 1.0
    """Seconds of the experiment's clock in one second."""


Clock = Annotated[WallClock | MappedClock, Field(discriminator="kind")]


class Retention(Model):
    """What `losda gc` keeps."""

    attempts: Delay = timedelta(days=7)
    """Everything of the last cycles so far back, and attempts that lost or died so recently."""
    runs: Delay = timedelta(days=30)
    """Prefect's records (flow and task runs, logs, artifacts) go so long after a flow run's end."""


class Operations(Model):
    """How an experiment is driven."""

    clock: Clock = WallClock()
    """What time it is for the experiment."""
    offset: Delay = timedelta(hours=3)
    """A cycle is due so long after its cycle time."""
    cutoff: Delay = timedelta(hours=6)
    """So long after its cycle time a cycle waits for observations that are not complete."""
    cutoffs: Cutoffs = ()
    """Sources of observations that have another cutoff than the others: delays by source."""
    late: Delay = timedelta(days=1)
    """So long after the last cutoff the journal names files that still come; with PT0S it does not."""
    attempts: Annotated[int, Field(ge=1)] = 3
    """After so many failures of one stage the experiment is held until it is released."""
    retry_after: Delay = timedelta(minutes=1)
    """Delay after a stage's first failure; each further one doubles it."""
    run_ahead: Annotated[int, Field(ge=1)] = 4
    """Analyses may be so many cycles ahead of the first cycle that is not published."""
    end: Time | None = None
    """Last cycle time; without it there is no end."""
    retention: Retention = Retention()
    """What `losda gc` keeps."""

    def cutoff_of(self, source: str) -> timedelta:
        """Return how long after its cycle time a cycle waits for a source of observations."""
        return dict(self.cutoffs).get(source, self.cutoff)

    @model_validator(mode="after")
    def _cutoffs_are_not_before_offset(self) -> Self:
        delays = {"cutoff": self.cutoff}
        delays |= {f"cutoffs.{source}": delay for source, delay in self.cutoffs}
        for name, delay in delays.items():
            if delay < self.offset:
                found, least = (
                    DURATIONS.dump_python(d, mode="json") for d in (delay, self.offset)
                )
                raise ValueError(
                    f"operations.{name}: {found}; must not be less than operations.offset "
                    f"({least})"
                )
        return self
