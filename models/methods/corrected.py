"""A method on backgrounds from which the known part of the forecast model's error is taken.

    x_a = method(x_b + D b(x_b, t), …)

b is learned (`models.model_error`) and a part of the latent prior's mean. With it any method can be
given what LO-SDA knows of the model, so that a comparison does not measure b alone.

References:
    | Dee & da Silva (1998), Data assimilation in the presence of forecast bias,
    | doi 10.1002/qj.49712454512
"""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.methods.base import Analysis, AssimilationMethod
from models.normalization import Statistics
from models.observations.batch import Observations

__all__ = ["Center", "Corrected"]

Center = Callable[[Tensor, Sequence[pd.Timestamp]], Tensor]


class Corrected:
    """Corrects the background, then leaves the analysis to another method."""

    def __init__(self, method: AssimilationMethod, statistics: Statistics, center: Center) -> None:
        """Put a correction before a method.

        Args:
            method: What makes the analysis.
            statistics: Climatology and scales; fields that do not count stay as they are.
            center: Takes the known error off background anomalies, given their valid times.
        """
        self.method, self.statistics, self.center = method, statistics, center

    @torch.no_grad()
    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis of the corrected background."""
        times = [valid_time] * len(x_b)
        a_b = self.statistics.normalize(x_b, times)
        x = self.statistics.denormalize(self.center(a_b, times), times)
        x = torch.where(self.statistics.error_mask[:, None, None], x, x_b)
        return self.method(x, valid_time, observations, generators)
