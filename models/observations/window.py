"""The window of a cycle: the span of its observations, and the times at which there are some.

The window of the cycle time t is (t − L/2, t + L/2], as long as the step between cycles. A twin
experiment draws its observations at the centers of k equal parts of it, the slots; one slot is the
cycle time itself.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Window"]

SIX_HOURS = pd.Timedelta(hours=6)


@dataclass(frozen=True)
class Window:
    """The window around any cycle time.

    Attributes:
        length: Its length L.
        slots: Number of its parts.
    """

    length: pd.Timedelta = SIX_HOURS
    slots: int = 1

    @property
    def offsets(self) -> tuple[pd.Timedelta, ...]:
        """The slots' times minus the cycle time, in order."""
        half = self.length / self.slots / 2
        return tuple((2 * k + 1 - self.slots) * half for k in range(self.slots))

    def times(self, cycle_time: pd.Timestamp) -> list[pd.Timestamp]:
        """Return the slots' times, in order."""
        return [cycle_time + offset for offset in self.offsets]

    def limits(self, cycle_time: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Return the first time, which is not in the window, and the last one, which is."""
        return cycle_time - self.length / 2, cycle_time + self.length / 2

    def slot(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the slot of each time [s since the window's first time]."""
        part = self.length.total_seconds() / self.slots
        return (np.asarray(seconds) // part).astype(np.int64).clip(0, self.slots - 1)
