"""Values of the reference at the places of real reports, for observing-system experiments.

Places, times of day, types, variables and errors are those of the files; times are moved by whole
steps into the window. Each value is y = H(x_true) + ε with ε ~ N(0, σ_o²), of humidity cut off on both
sides alike, so that it stays between none and saturation and has no bias; a part of them gets a
gross error of 5 to 20 σ_o of either sign on top, and the column `planted` says which.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from configs.observing import Simulation
from models.observations.background import WindowBackground
from models.observations.batch import to_observations
from models.observations.comparable import unobservable
from models.observations.errors import assign_errors, nominal_pressure, saturation_humidity
from models.observations.quality.control import Moment
from models.randomness import numpy_generator
from tasks.observing import Observing

__all__ = ["simulate"]

SMALLEST, LARGEST = 5.0, 20.0
NONE, NANOSECOND = Simulation(), pd.Timedelta(1, "ns")


def simulate(
    table: pd.DataFrame,
    observing: Observing,
    moment: Moment,
    truth: Mapping[pd.Timestamp, Float[Tensor, "field lat lon"]],
    time: pd.Timestamp,
    seed: int,
) -> pd.DataFrame:
    """Return the table with simulated values.

    Args:
        table: What was read.
        observing: How observations are treated.
        moment: The window.
        truth: The reference at the times that observations are compared at [SI].
        time: Cycle time.
        seed: Seed of the experiment.
    """
    table = table.assign(time=moved(table["time"], moment, observing), planted=False)
    table = assign_errors(table, observing.errors)
    error = table["error"].to_numpy(np.float64)
    comparable = (unobservable(table, observing.spec) == "") & (error > 0)
    rows = np.flatnonzero(comparable & table["time"].notna().to_numpy())
    if not len(rows):
        return table
    equivalents = values(table.iloc[rows], observing, truth, time)
    generator = numpy_generator(seed, time, "observation error")
    noise = generator.standard_normal(len(rows))
    gross = generator.random(len(rows)) < (observing.files.simulation or NONE).gross
    size = generator.uniform(SMALLEST, LARGEST, len(rows))
    size = np.where(generator.random(len(rows)) < 0.5, -size, size)
    value, planted = table["observation"].to_numpy(np.float64).copy(), np.zeros(len(table), bool)
    value[rows] = equivalents
    room = room_for_errors(table.assign(observation=value))[rows]
    value[rows] += np.clip(error[rows] * noise, -room, room)
    value = capped(table.assign(observation=value))
    value[rows] += np.where(gross, size, 0.0) * error[rows]
    planted[rows] = gross
    return table.assign(observation=value, quality=0, planted=planted)


def room_for_errors(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return how large errors may be: humidity is between 0 and saturation, all else is free."""
    value = table["observation"].to_numpy(np.float64)
    humid = table["variable"].isin(["q", "q2m"]).to_numpy()
    full = saturation_humidity(table, nominal_pressure(table))
    room = np.clip(np.minimum(value, full - value), 0.0, None)
    return np.where(humid & np.isfinite(room), room, np.inf)


def capped(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the values, humidity at most that of saturation at its report's temperature."""
    value = table["observation"].to_numpy(np.float64)
    humid = table["variable"].isin(["q", "q2m"]).to_numpy()
    full = saturation_humidity(table, nominal_pressure(table))
    return np.where(humid & np.isfinite(full), np.minimum(value, full), value)


def moved(times: pd.Series, moment: Moment, observing: Observing) -> pd.Series:
    """Return times moved by whole steps into the step that begins with the window."""
    step = int(pd.Timedelta(observing.config.step) / NANOSECOND)
    own = times.to_numpy("datetime64[ns]")
    after = moment.after.to_datetime64().astype("datetime64[ns]")
    behind = (own - after).astype(np.int64) % step
    behind = np.where(behind == 0, step, behind).astype("timedelta64[ns]")
    return pd.Series(np.where(np.isnat(own), own, after + behind), times.index)


@torch.no_grad()
def values(
    table: pd.DataFrame,
    observing: Observing,
    truth: Mapping[pd.Timestamp, Float[Tensor, "field lat lon"]],
    time: pd.Timestamp,
) -> NDArray[np.float64]:
    """Return what the reference has at each row, at the nearest of its times."""
    states = {own: x[None].double() for own, x in truth.items()}
    if time not in states:
        states[time] = next(iter(states.values()))
    background = WindowBackground(time, states)
    observations = to_observations(table, observing.spec, background)
    return np.asarray(observations.equivalents(background.x_b)[0].numpy(), np.float64)
