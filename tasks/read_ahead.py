"""States of an archive read ahead: whole chunks of times, the next while this one is used.

Cycles and passes over the data ask for times in order. The block of times that is asked for is read
once and kept; the one after it is read by a thread meanwhile. At most `budget` bytes are kept, the
oldest go first: the archive itself never is in memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from tasks.reference_gridded import GriddedReference

__all__ = ["ReadAhead"]

BUDGET = 2**29
BLOCK_BYTES = 2**27


class ReadAhead:
    """A gridded reference behind a window of states; implements `tasks.reference.Reference`."""

    def __init__(
        self, reference: GriddedReference, step: pd.Timedelta, budget: int = BUDGET
    ) -> None:
        """Read ahead.

        Args:
            reference: The archive.
            step: Time between the states that will be asked for.
            budget: Most bytes of states that are kept.
        """
        self.reference, self.step, self.spec = reference, step, reference.spec
        most = max(1, min(BLOCK_BYTES, budget // 4) // reference.state_bytes)
        #: States in a block: as many steps as one chunk of the data has times, if they fit.
        self.block = max(1, min(most, reference.chunk))
        self.kept = max(3, budget // (reference.state_bytes * self.block))
        self._blocks: OrderedDict[pd.Timestamp, Future[Tensor]] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="read-ahead")

    @property
    def times(self) -> pd.DatetimeIndex:
        """The times that there are, UTC."""
        return self.reference.times

    def state(self, valid_time: pd.Timestamp) -> Float[Tensor, "field lat lon"]:
        """Return the state at a time [SI], from the block that is kept, being read or read now.

        Raises:
            ValueError: The time is missing, or a value is not finite or absurd.
        """
        times = self._times_of(valid_time)
        if valid_time not in times:  # between the steps
            return self.reference.state(valid_time)
        with self._lock:
            block = self._request(times)
            following = self._times_of(times[-1] + self.step)
            if len(following) and len(following) == len(times):
                self._request(following)
        try:
            return block.result()[times.index(valid_time)]
        except ValueError:  # perhaps of another time of the block, which nobody asked for
            return self.reference.state(valid_time)

    def states(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "time field lat lon"]:
        """Return the states at some times [SI], read together."""
        return self.reference.states(times)

    def check(self, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> None:
        """Refuse the reference if a state from `start` to `end` is missing or not usable."""
        self.reference.check(start, end, step)

    def _times_of(self, time: pd.Timestamp) -> list[pd.Timestamp]:
        """Return the present times of the block that holds a time."""
        first = self.reference.times[0]
        number = (time - first) // self.step // self.block
        start = first + number * self.block * self.step
        times = [start + k * self.step for k in range(self.block)]
        there = self.reference.times
        return [t for t in times if t in there]

    def _request(self, times: list[pd.Timestamp]) -> "Future[Tensor]":
        """Return a block that is read or being read; one that failed is tried again."""
        key = times[0]
        found = self._blocks.get(key)
        if found is None or (found.done() and found.exception() is not None):
            found = self._pool.submit(self.reference.states, times)
            self._blocks[key] = found
        self._blocks.move_to_end(key)
        while len(self._blocks) > self.kept:
            self._blocks.popitem(last=False)
        return found
