import pandas as pd
import pytest
import torch
from torch import Tensor

from models.forecast import ForecastModel
from models.world.forecast import EmbeddedForecast
from models.world.model import SpectralModel
from models.world.nature import clock


def test_clock_counts_from_the_first_of_january() -> None:
    assert clock(pd.Timestamp("2001-01-01")) == 0
    assert clock(pd.Timestamp("2004-03-01T06")) == (31 + 29) * 86400 + 6 * 3600
    assert clock(pd.Timestamp("2003-12-31T18")) == 364.75 * 86400


def test_it_is_a_forecast_model(moist: SpectralModel) -> None:
    assert isinstance(EmbeddedForecast(moist), ForecastModel)


def test_step_starts_the_model_at_its_clock(moist: SpectralModel, weather: Tensor) -> None:
    forecast = EmbeddedForecast(moist)
    start, lead = pd.Timestamp("2001-07-01T06"), pd.Timedelta(hours=2)
    with torch.no_grad():
        y = forecast.step(weather, start, lead)
        expected = moist.forecast(weather, clock(start), 2)
        at_noon = forecast.step(weather, start + pd.Timedelta(hours=6), lead)
    assert torch.equal(y, expected)
    assert (y - at_noon)[:, 23].abs().max() > 0.05  # the sun stands elsewhere


def test_new_year_does_not_break_a_forecast(moist: SpectralModel, weather: Tensor) -> None:
    """Forecasts over New Year go on counting, so two halves agree up to a quarter of a day."""
    forecast = EmbeddedForecast(moist)
    start, lead = pd.Timestamp("2001-12-31T23"), pd.Timedelta(hours=1)
    with torch.no_grad():
        whole = forecast.step(weather, start, 2 * lead)
        parts = forecast.step(forecast.step(weather, start, lead), start + lead, lead)
    assert (whole - parts)[:, 16:24].abs().max() < 1e-2


def test_a_lead_between_steps_is_refused(moist: SpectralModel, weather: Tensor) -> None:
    forecast = EmbeddedForecast(moist)
    with pytest.raises(ValueError, match=r"allowed are multiples of 1\.0 h"):
        forecast.step(weather, pd.Timestamp("2001-07-01"), pd.Timedelta(minutes=90))
