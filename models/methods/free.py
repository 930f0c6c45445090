"""No assimilation: the analysis is the background. The free run is a method too."""

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.methods.base import Analysis
from models.observations.batch import Observations

__all__ = ["Free"]


class Free:
    """Returns the background."""

    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the background as the analysis."""
        return Analysis(x_b)
