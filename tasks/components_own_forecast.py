"""Forecast models of the package itself: the embedded world's, and the trained emulator."""

import pandas as pd
import torch

from configs import Config
from models.emulator import Emulator, EmulatorShape
from models.forecast import ForecastModel
from models.normalization import Statistics
from models.state import StateSpec, embedded_spec
from tasks.components_reference import hours_of
from tasks.experiment import window_of
from tasks.registry import LoadedComponent

__all__ = ["check_step", "embedded_forecast", "emulator"]


def embedded_forecast(spec: StateSpec, device: torch.device) -> ForecastModel:
    """Return the forecast model of the embedded world.

    Raises:
        ValueError: The states are not those of the nature run.
    """
    from models.world.forecast import EmbeddedForecast
    from models.world.nature import forecast_model

    if spec != embedded_spec():
        raise ValueError(
            "forecast_model.kind: 'embedded' needs the states of the nature run; "
            "allowed with data are 'emulator' and 'persistence'"
        )
    return EmbeddedForecast(forecast_model().to(device))


def emulator(component: LoadedComponent, statistics: Statistics) -> Emulator:
    """Return a trained emulator, where the statistics are."""
    shape = EmulatorShape.from_dict(component.card.architecture)
    found = Emulator.from_tensors(shape, component.tensors, statistics)
    return found.to(statistics.std.device)


def check_step(config: Config, step: pd.Timedelta) -> None:
    """Refuse observations at times that a forecast model with one step does not reach.

    Raises:
        ValueError: A time of the observations is between two steps.
    """
    observations = config.observations
    for offset in window_of(config).offsets if observations.at_own_time else ():
        if offset % step:
            raise ValueError(
                f"observations.slots: {observations.slots}; the forecast model has no states "
                f"{hours_of(offset)} from the cycle times, its step is {hours_of(step)}; "
                "allowed: 1, or observations.at_own_time false"
            )
