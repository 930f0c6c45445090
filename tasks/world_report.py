"""A report on the embedded world itself: a simulated year, its climate and its predictability.

The nature model runs for a year from a spun-up state, and pairs of twins from four days of it for
a month. The numbers (`models.world.realism`) are written to `world.json`, the pictures
(`tasks.world_pictures`) beside it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from models.grid import LatLonGrid
from models.randomness import torch_generator
from models.training.nature import integrate
from models.world.boundary import land_fraction
from models.world.nature import clock, forecast_model, nature_model
from models.world.realism import (
    Climate,
    climate_numbers,
    doubling_time,
    normalized_errors,
    twin_errors,
)
from models.world.tables import Array
from tasks.world_pictures import draw_pictures

__all__ = ["world_report"]

START = pd.Timestamp("2001-01-01")
STEP = pd.Timedelta(hours=6)
PER_DAY = 4
TWIN_DAYS, TWIN_CASES = 32, 4

Progress = Callable[[int, int], None]


def world_report(
    out: str | Path, days: int = 365, seed: int = 0, progress: Progress | None = None
) -> dict[str, float]:
    """Simulate the embedded world and write pictures and numbers about it.

    Args:
        out: Folder to write to; made if it is missing.
        days: Length of the simulation, at least 4; seasons need a year.
        seed: Seed of the run.
        progress: Called with the simulated days done and all days.

    Returns:
        The numbers, with their units in the names, as written to `world.json`.

    Raises:
        ValueError: Too few days.
    """
    if days < TWIN_CASES:
        raise ValueError(f"days: {days}; allowed: {TWIN_CASES} or more")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda done, total: None)
    total = days + min(TWIN_DAYS, days)
    with one_thread():
        climate = simulate(days, seed, lambda done: tell(done, total))
        errors = grow_errors(climate, seed, total - days, lambda done: tell(days + done, total))
    statistics = climate.statistics()
    growth = normalized_errors(errors, statistics)
    numbers = climate_numbers(climate, statistics)
    doubling = doubling_time(growth)
    if doubling is not None:
        numbers["error doubling time [d]"] = doubling
    draw_pictures(folder, climate, statistics, growth)
    (folder / "world.json").write_text(json.dumps(numbers, indent=1) + "\n")
    return numbers


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: the arrays of one state are too small for two to be faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def simulate(days: int, seed: int, tell: Callable[[int], None]) -> Climate:
    """Run the nature model after its spin-up, with a state every six hours."""
    tell(0)
    count = days * PER_DAY
    grid = LatLonGrid.gaussian(32, 64)
    latitude = np.asarray(grid.latitude)
    x = np.empty((count, 33, *grid.shape), np.float32)
    for number, state in enumerate(islice(integrate([START], seed, count, STEP), count)):
        x[number] = state[0]
        if (number + 1) % PER_DAY == 0:
            tell((number + 1) // PER_DAY)
    return Climate(
        x,
        pd.date_range(START, periods=count, freq=STEP),
        latitude,
        grid.cell_area_weights().double().numpy(),
        land_fraction(latitude, np.asarray(grid.longitude)),
    )


def grow_errors(climate: Climate, seed: int, days: int, tell: Callable[[int], None]) -> Array:
    """Run twins from days spread over the year; returns errors (day, case, field)."""
    places = np.linspace(0, len(climate.times), TWIN_CASES, endpoint=False).astype(int)
    seconds = torch.tensor([clock(climate.times[k]) for k in places], dtype=torch.float64)
    starts = torch.from_numpy(climate.x[places])
    generator = torch_generator(seed, None, "twin perturbation")
    twins = twin_errors(nature_model(), forecast_model(), starts, seconds, generator)
    errors = []
    for day, error in enumerate(islice(twins, days + 1)):
        errors.append(error)
        tell(day)
    return np.asarray(np.stack(errors), np.float64)
