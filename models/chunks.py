"""Members in chunks, one chunk after the other: memory that does not grow with the ensemble.

The members of an ensemble are computed apart from each other, but for what an analysis takes from
all of them: the expected error and their perturbations (`models.methods.latent`). So the size of a
chunk says how much is computed at once, not what. Results differ by rounding, as between devices:
sums within a product of matrices are made in an order that depends on how many members there are.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.forecast import Around, ForecastModel, ValidTime

__all__ = ["ForecastInChunks", "rows_of"]


def rows_of(members: int, chunk: int | None) -> list[slice]:
    """Return the members of each chunk, in order.

    Args:
        members: How many there are.
        chunk: Members in a chunk, the last has what is left; None for all in one.
    """
    size = chunk or max(members, 1)
    return [slice(first, min(first + size, members)) for first in range(0, members, size)]


class ForecastInChunks(Around):
    """A forecast model that carries so many states at once."""

    def __init__(self, model: ForecastModel, chunk: int) -> None:
        """Wrap a model; `chunk` states are carried at once."""
        super().__init__(model)
        self.chunk = chunk

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time` (see `ForecastModel`)."""

        def at(rows: slice) -> ValidTime:
            return valid_time if isinstance(valid_time, pd.Timestamp) else valid_time[rows]

        chunks = rows_of(len(x), self.chunk)
        return torch.cat([self.model.step(x[rows], at(rows), lead) for rows in chunks])
