"""The observations of one analysis as tensors: y, the diagonal of R^½, and H."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.observations.operator import InterpolationOperator
from models.state import StateSpec

__all__ = ["Observations", "to_observations"]


@dataclass(frozen=True)
class Observations:
    """What is assimilated.

    Attributes:
        y: Observed values [SI].
        error: Observation-error standard deviations [SI].
        operator: Maps states to the observations' equivalents.
    """

    y: Float[Tensor, "obs"]
    error: Float[Tensor, "obs"]
    operator: InterpolationOperator

    def to(self, device: torch.device | str) -> "Observations":
        """Return the observations on another device."""
        return Observations(self.y.to(device), self.error.to(device), self.operator.to(device))


def to_observations(table: pd.DataFrame, spec: StateSpec) -> Observations:
    """Convert the used rows of a table, in their order.

    Args:
        table: A validated table; if it was screened, only rows with `used` are taken.
        spec: The state that is observed.
    """
    rows = table[table["used"]] if "used" in table else table
    operator = InterpolationOperator.from_table(rows, spec)
    return Observations(tensor(rows["observation"]), tensor(rows["error"]), operator)


def tensor(column: pd.Series) -> Float[Tensor, "obs"]:
    """Return a column as a tensor in single precision."""
    return torch.from_numpy(np.array(column, np.float32))
