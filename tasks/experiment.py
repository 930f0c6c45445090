"""What travels between tasks: the address of an experiment and its configuration."""

import pandas as pd
from pydantic import BaseModel, ConfigDict

from configs import Config
from models.observations.window import Window

__all__ = ["CYCLE", "STAGES", "Experiment", "cycle_name", "cycle_time", "window_of"]

CYCLE = "%Y%m%dT%H"
STAGES = ("forecast", "observations", "analysis", "verification")


class Experiment(BaseModel):
    """One named series of cycles: where it lies and what made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    """Local path or s3:// address."""
    config: Config
    """The configuration."""

    @property
    def start(self) -> pd.Timestamp:
        """First cycle time."""
        return pd.Timestamp(self.config.start)

    @property
    def step(self) -> pd.Timedelta:
        """Time between cycles."""
        return pd.Timedelta(self.config.step)

    @property
    def first_guess_time(self) -> pd.Timestamp:
        """Time of the reference state from which the first background starts."""
        own = getattr(self.config.background, "lead", self.config.first_guess.lead)
        return self.start - pd.Timedelta(own)

    @property
    def members(self) -> int:
        """Number of backgrounds and analyses."""
        return getattr(self.config.method, "members", 1)

    @property
    def window(self) -> Window:
        """The span and the times of each cycle's observations."""
        return window_of(self.config)

    def cycle_times(self) -> list[pd.Timestamp]:
        """Return all cycle times in order."""
        return [self.start + k * self.step for k in range(self.config.cycles)]

    def background_times(self, time: pd.Timestamp) -> list[pd.Timestamp]:
        """Return the times at which a cycle needs its background, in order; `time` is one."""
        own = self.config.observations.at_own_time
        return sorted({time, *(self.window.times(time) if own else ())})


def window_of(config: Config) -> Window:
    """Return the window of a configuration: one step long, with the observations' slots."""
    return Window(pd.Timedelta(config.step), config.observations.slots)


def cycle_name(time: pd.Timestamp) -> str:
    """Return the name of a cycle, YYYYMMDDTHH."""
    return time.strftime(CYCLE)


def cycle_time(name: str) -> pd.Timestamp:
    """Return the time of a cycle's name."""
    return pd.Timestamp(pd.to_datetime(name, format=CYCLE))
