"""Reference trajectories for training: independent streams of states at equal steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BatchedStates", "StateArray", "Trajectories"]

Indices = NDArray[np.integer]


class StateArray(Protocol):
    """States of shape (time, stream, field, lat, lon); an array, or several that look like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of each dimension."""
        ...

    def __getitem__(self, index: tuple[int, int]) -> NDArray[np.float32]:
        """Return the state at (time, stream)."""
        ...


@runtime_checkable
class BatchedStates(Protocol):
    """States that are read from an archive: faster many at once, and told beforehand."""

    def batch(self, pairs: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Return the states at several (time, stream)."""
        ...

    def expect(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Begin to read the states that will be asked for next."""
        ...


@dataclass(frozen=True)
class Trajectories:
    """Streams of states; sample (i, j) is step i of stream j.

    Attributes:
        states: States in SI units (a memory map will do), with shape (time, stream, field, lat,
            lon).
        starts: Time of the first state of each stream, UTC.
        step: Time between states.
    """

    states: StateArray
    starts: tuple[pd.Timestamp, ...]
    step: pd.Timedelta

    @property
    def length(self) -> int:
        """Number of steps in each stream."""
        return int(self.states.shape[0])

    @property
    def streams(self) -> int:
        """Number of streams."""
        return int(self.states.shape[1])

    def times(self, i: Indices, j: Indices) -> list[pd.Timestamp]:
        """Return the times of the samples, UTC."""
        return [
            self.starts[b] + int(a) * self.step
            for a, b in zip(np.atleast_1d(i), np.atleast_1d(j), strict=True)
        ]

    def x(self, i: Indices, j: Indices) -> Float[Tensor, "batch field lat lon"]:
        """Return the states of the samples, in SI units."""
        if isinstance(self.states, BatchedStates):
            return torch.from_numpy(self.states.batch(pairs_of(i, j)))
        return torch.from_numpy(np.stack([self.states[pair] for pair in pairs_of(i, j)]))

    def expect(self, i: Indices, j: Indices) -> None:
        """Say which samples will be asked for next, where that helps."""
        if isinstance(self.states, BatchedStates):
            self.states.expect(pairs_of(i, j))

    def draw(
        self, count: int, generator: np.random.Generator, margin: int = 0
    ) -> tuple[Indices, Indices]:
        """Draw `count` samples that have `margin` more steps after them."""
        i = generator.integers(0, self.length - margin, count)
        return i, generator.integers(0, self.streams, count)

    def blocks(self, size: int) -> Sequence[tuple[Indices, Indices]]:
        """Return all samples in order, in blocks of one stream and at most `size` steps."""
        starts = [(j, k) for j in range(self.streams) for k in range(0, self.length, size)]
        spans = [(np.arange(k, min(k + size, self.length)), j) for j, k in starts]
        return [(i, np.full(len(i), j)) for i, j in spans]


def pairs_of(i: Indices, j: Indices) -> list[tuple[int, int]]:
    """Return the samples as pairs of numbers."""
    pairs = zip(np.atleast_1d(i), np.atleast_1d(j), strict=True)
    return [(int(a), int(b)) for a, b in pairs]
