"""Several marks of a provider for one value → the one that counts: the worst.

A wind has marks of its speed and its direction, and every value those of its place.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["worse"]

Marks = NDArray[np.int64]


def worse(first: Marks, second: Marks, order: Sequence[int]) -> Marks:
    """Return the worse of two marks, each.

    Args:
        first: Marks; they stay where the others are as good.
        second: Marks of the same shape.
        order: Marks from good to bad; one that is not in it is better than all.
    """
    ranks = np.zeros(max(max(order), int(first.max(initial=0)), int(second.max(initial=0))) + 1)
    ranks[list(order)] = np.arange(1, len(order) + 1)
    found: Marks = np.where(ranks[second] > ranks[first], second, first)
    return found
