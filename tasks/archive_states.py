"""The states of an archive as an array for training: read when they are asked for, or just before.

A training asks for batches of random times, and says one iteration ahead which; they are read while
the device computes. Only the batches under way are kept, so a training on decades needs no more
memory than one on a week.
"""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.reference_gridded import GriddedReference

__all__ = ["ArchiveStates"]

Pairs = Sequence[tuple[int, int]]
KEPT = 3


class ArchiveStates:
    """States at equal steps, as one stream; implements `BatchedStates` and `StateArray`."""

    def __init__(self, reference: GriddedReference, times: pd.DatetimeIndex) -> None:
        """Use the states of an archive at some times, which are not read yet."""
        self.reference, self.times = reference, times
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="archive-states")
        self._ahead: OrderedDict[tuple[int, ...], Future[NDArray[np.float32]]] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension: (time, stream, field, lat, lon)."""
        return (len(self.times), 1, *self.reference.spec.shape)

    def __getitem__(self, index: tuple[int, int]) -> NDArray[np.float32]:
        """Return the state at (time, 0)."""
        state: NDArray[np.float32] = self._read((index[0],))[0]
        return state

    def batch(self, pairs: Pairs) -> NDArray[np.float32]:
        """Return the states of several samples, which may have been expected."""
        numbers = tuple(pair[0] for pair in pairs)
        ahead = self._ahead.pop(numbers, None)
        return self._read(numbers) if ahead is None else ahead.result()

    def expect(self, pairs: Pairs) -> None:
        """Begin to read a batch."""
        numbers = tuple(pair[0] for pair in pairs)
        if numbers not in self._ahead:
            self._ahead[numbers] = self._pool.submit(self._read, numbers)
        while len(self._ahead) > KEPT:
            self._ahead.popitem(last=False)

    def _read(self, numbers: tuple[int, ...]) -> NDArray[np.float32]:
        """Read states; each time once, in the order of the archive."""
        once, where = np.unique(np.asarray(numbers), return_inverse=True)
        states: NDArray[np.float32] = self.reference.states(list(self.times[once])).numpy()
        return states if np.array_equal(where, np.arange(len(once))) else np.take(states, where, 0)
