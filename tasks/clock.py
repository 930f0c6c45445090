"""The experiment's clock: which experiment time it is, and when it will be some time.

    wall     time = UTC
    mapped   time = start + (UTC - at) · rate

so that a past period can be driven as if it were now, at any speed.
"""

from dataclasses import dataclass

import pandas as pd

from configs.operations import MappedClock
from tasks.experiment import Experiment

__all__ = ["Clock", "clock_of"]

EPOCH = pd.Timestamp(0)


@dataclass(frozen=True)
class Clock:
    """A linear map of UTC to the experiment's time; both are naive times.

    Attributes:
        at: UTC at which the clock shows `start`.
        start: What it shows then.
        rate: Its seconds in one second.
    """

    at: pd.Timestamp = EPOCH
    start: pd.Timestamp = EPOCH
    rate: float = 1.0

    def time(self, utc: pd.Timestamp) -> pd.Timestamp:
        """Return what the clock shows."""
        return self.start + (utc - self.at) * self.rate

    def utc(self, time: pd.Timestamp) -> pd.Timestamp:
        """Return when the clock shows a time."""
        return self.at + (time - self.start) / self.rate


def clock_of(experiment: Experiment) -> Clock:
    """Return the clock that an experiment's configuration names."""
    clock = experiment.config.operations.clock
    if isinstance(clock, MappedClock):
        return Clock(pd.Timestamp(clock.at), experiment.start, clock.rate)
    return Clock()
