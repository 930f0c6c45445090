"""The observations of one analysis as tensors: y, the diagonal of R^½, and H."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.observations.background import WindowBackground
from models.observations.mixed import ObservationOperator, build_operator
from models.state import StateSpec

__all__ = ["Observations", "to_observations"]


@dataclass(frozen=True)
class Observations:
    """What is assimilated.

    Methods compare y with `equivalents(x)`; the operator alone is for what is not a state, such as
    standard deviations (`operator.absolute()`).

    Attributes:
        y: Observed values [SI].
        error: Observation-error standard deviations [SI].
        operator: H, which maps states to the observations' equivalents at the states' time.
        offset: For each member what is added to H x of the cycle time for an observation of
            another time [SI] (see `models.observations.background`); None adds nothing.
    """

    y: Float[Tensor, "obs"]
    error: Float[Tensor, "obs"]
    operator: ObservationOperator
    offset: Float[Tensor, "member obs"] | None = None

    def equivalents(self, x: Float[Tensor, "member field lat lon"]) -> Float[Tensor, "member obs"]:
        """Return what the observations would be at their own times, of states of the cycle time.

        Args:
            x: States valid at the cycle time [SI], one for each member of the background.
        """
        values = self.operator(x)
        return values if self.offset is None else values + self.offset.to(values.dtype)

    def of_members(self, rows: slice) -> "Observations":
        """Return what some members of the background are compared with."""
        return self if self.offset is None else replace(self, offset=self.offset[rows])

    def to(self, device: torch.device | str) -> "Observations":
        """Return the observations on another device."""
        return replace(
            self,
            y=self.y.to(device),
            error=self.error.to(device),
            operator=self.operator.to(device),
            offset=None if self.offset is None else self.offset.to(device),
        )


def to_observations(
    table: pd.DataFrame, spec: StateSpec, background: WindowBackground | None = None
) -> Observations:
    """Convert the used rows of a table, in their order.

    Args:
        table: A validated table; if it was screened, only rows with `used` are taken.
        spec: The state that is observed.
        background: The background, for observations that are compared at their own times; None
            compares all at the time of the states.
    """
    rows = table[table["used"]] if "used" in table else table
    operator = build_operator(rows, spec)
    offset = None if background is None else background.offset(operator, rows["time"])
    return Observations(tensor(rows["observation"]), tensor(rows["error"]), operator, offset)


def tensor(column: pd.Series) -> Float[Tensor, "obs"]:
    """Return a column as a tensor in single precision."""
    return torch.from_numpy(np.array(column, np.float32))
