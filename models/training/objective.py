"""What a training minimizes: the mean of a loss over a batch.

Drawing a batch and computing its loss are apart. A batch depends on its generator alone and is
drawn without the network, so threads draw the next ones while the device computes; the loss of a
batch has nothing random in it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from models.training.processes import ALONE, Processes

__all__ = ["Batch", "Objective", "Prefetch"]

Batch = tuple[Tensor, ...]


class Objective(nn.Module, ABC):
    """A loss, with the network and all else that it needs as its parts."""

    def __init__(self, batch: int) -> None:
        """Create an objective with so many samples in a batch."""
        super().__init__()
        self.batch = batch

    @abstractmethod
    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        """Draw a batch, on the CPU; of several processes each gets its part."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the mean loss of a batch, which is on the device of the parts."""


class Prefetch:
    """Batches in order, the next ones drawn by threads meanwhile."""

    def __init__(self, draw: Callable[[int], Batch], ahead: int, end: int) -> None:
        """Prepare to draw.

        Args:
            draw: Draws the batch of an iteration.
            ahead: Batches under way, each with a thread of its own; 0 for none.
            end: First iteration that is never asked for.
        """
        self.draw, self.ahead, self.end = draw, ahead, end
        self._pool = ThreadPoolExecutor(ahead, thread_name_prefix="prefetch") if ahead else None
        self._drawn: dict[int, Future[Batch]] = {}

    def take(self, iteration: int) -> Batch:
        """Return the batch of an iteration, waiting for it if need be, and begin the next ones."""
        if self._pool is None:
            return self.draw(iteration)
        for number in range(iteration, min(iteration + self.ahead + 1, self.end)):
            if number not in self._drawn:
                self._drawn[number] = self._pool.submit(self.draw, number)
        return self._drawn.pop(iteration).result()

    def __enter__(self) -> Self:
        """Return the batches."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop what was not asked for, and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
