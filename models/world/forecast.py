"""The embedded forecast model behind the seam `models.forecast.ForecastModel`."""

import pandas as pd
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from models.forecast import ValidTime, each_time
from models.world.model import SpectralModel
from models.world.nature import clock

__all__ = ["EmbeddedForecast"]


class EmbeddedForecast:
    """Forecasts by a spectral model, on the model's own grid."""

    def __init__(self, model: SpectralModel) -> None:
        """Use a model, for instance `models.world.nature.forecast_model()`."""
        self.model = model

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time`.

        Args:
            x: States valid at `valid_time`: u, v, t, q on sigma levels and sp, in SI units.
            valid_time: Time of the states, UTC; one for all, or one for each.
            lead: How far to go, a multiple of the model's step.

        Raises:
            ValueError: The lead is not a multiple of the model's step.
        """
        times = each_time(valid_time, len(x))
        same = all(time == times[0] for time in times)
        seconds = clock(times[0]) if same else clocks(times)
        return self.model.forecast(x, seconds, lead.total_seconds() / 3600)


def clocks(times: list[pd.Timestamp]) -> Float64[Tensor, "batch"]:
    """Return the model's time of each member [s]."""
    return torch.tensor([clock(time) for time in times], dtype=torch.float64)
