"""Several processes that train one network: each has a part of every batch.

Process k of n takes the samples k, k + n, … of a batch, and gradients are averaged. A loss is a mean
over its batch and n divides the batch, so the average is the gradient that one process would have
had, to rounding. Every process draws all random numbers of a batch and takes its own: how many
there are changes nothing but rounding.

References:
    | Li et al. (2020), PyTorch distributed: experiences on accelerating data parallel training,
    | doi 10.14778/3415478.3415530
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["ALONE", "Processes"]

Whole = TypeVar("Whole", Tensor, NDArray[Any])


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; their group is open where there are several.

    Attributes:
        rank: Number of this one.
        count: Number of them.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return not self.rank

    def part(self, whole: Whole) -> Whole:
        """Return this process's part of something that has one row for each sample of a batch."""
        return whole if self.count == 1 else whole[self.rank :: self.count]

    def agree(self, value: int) -> int:
        """Return the leader's value in every process; all wait for it."""
        if self.count == 1:
            return value
        shared = torch.tensor(value)
        distributed.broadcast(shared, 0)
        return int(shared)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a number over the processes, the same in all of them."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.count

    def joined(self, objective: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages the gradients over the processes."""
        if self.count == 1:
            return objective
        return DistributedDataParallel(objective, forward_sync_buffers=False)


#: A training in a single process.
ALONE = Processes()
