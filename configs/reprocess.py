"""How a past period is reprocessed: which cycles, in how many streams side by side."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from configs.base import Model, Time


class Reprocess(Model):
    """A period and its streams."""

    start: Time
    """First cycle time."""
    end: Time
    """Last cycle time."""
    streams: Annotated[int, Field(ge=1)] = 2
    """Parts of the period that are run side by side."""
    spin_up: Annotated[int, Field(ge=1)] = 20
    """Cycles that each stream but the first runs before its part; the stream before has them too,
    so the two are compared there. In the embedded world, 5 % of the columns observed, the first
    guess is down to a tenth of the analysis error after 17."""

    @model_validator(mode="after")
    def _end_is_not_before_start(self) -> Self:
        if self.end < self.start:
            raise ValueError(
                f"end: {self.end.isoformat()}; must not be before start ({self.start.isoformat()})"
            )
        return self
