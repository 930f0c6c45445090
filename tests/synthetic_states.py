"""Random states of a truth and of a background, an analysis and a free run with known errors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.observations.networks import Network
from models.state import StateSpec, Variable

START, STEP, NOW = pd.Timestamp("2005-01-01"), pd.Timedelta(hours=6), pd.Timedelta(0)
MEANS = {"u": 8.0, "v": 0.0, "t": 260.0, "q": 4e-3, "sp": 98500.0, "msl": 1.013e5, "z": 5.5e4}
SPREADS = {"u": 8.0, "v": 7.0, "t": 3.0, "q": 1e-3, "sp": 750.0, "msl": 800.0, "z": 1000.0}
COLUMNS = Network("columns", fraction=0.1)


@dataclass(frozen=True)
class Recipe:
    """What a synthetic experiment has."""

    spec: StateSpec
    cycles: int = 6
    spin_up: int = 2
    members: int = 1
    free: bool = True
    forecasts: bool = True
    trace: bool = True
    keep_truth: bool = True
    network: Network = COLUMNS


def small_spec() -> StateSpec:
    """The layout of the embedded world on three levels and a small globe."""
    levels = (0.2, 0.51, 0.95)
    return StateSpec(
        (
            Variable("u", "eastward_wind", "m s-1", levels, "eastward wind"),
            Variable("t", "air_temperature", "K", levels, "temperature"),
            Variable("q", "specific_humidity", "kg kg-1", levels[1:], "specific humidity", True),
            Variable("sp", "surface_air_pressure", "Pa", None, "surface pressure"),
        ),
        LatLonGrid.gaussian(8, 16),
        "sigma",
    )


def regional_spec() -> StateSpec:
    """The layout of the reanalysis over Europe: north first, longitudes across Greenwich."""
    variables = (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa", None, "sea-level pressure"),
        Variable("z", "geopotential", "m2 s-2", (500.0,), "geopotential"),
        Variable("t", "air_temperature", "K", (850.0,), "temperature"),
    )
    latitude = tuple(np.linspace(55, 30, 11).tolist())
    longitude = tuple(np.linspace(-15, 15, 13).tolist())
    return StateSpec(variables, LatLonGrid(latitude, longitude), "pressure")


class World:
    """Smooth random states about a climatology: truth, background, analysis and free run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.spec = recipe, recipe.spec
        self.generator = np.random.default_rng(1)
        names = [field.variable for field in self.spec.fields]
        self.mean = np.array([MEANS[n] for n in names])[:, None, None]
        self.std = np.array([SPREADS[n] for n in names])[:, None, None]
        shape = (5, *self.spec.shape)
        coefficients = torch.zeros(shape)
        coefficients[0] = torch.as_tensor(np.broadcast_to(self.mean, shape[1:]).copy())
        std = torch.as_tensor(self.std.ravel(), dtype=torch.float32)
        error = torch.full_like(std, 0.3)
        self.statistics = Statistics(coefficients, std, error, torch.ones_like(std, dtype=bool))
        self.anomaly = self.noise()
        self.error = 0.9 * self.noise(recipe.members)

    def noise(self, count: int | None = None) -> np.ndarray:
        """Fields of unit variance whose power falls with the wavenumber."""
        shape = (*(() if count is None else (count,)), *self.spec.shape)
        wave = [np.fft.fftfreq(n) * n for n in shape[-2:]]
        k = np.hypot(wave[0][:, None] * (1 if self.spec.grid.wraps else 2), wave[1])
        white = np.fft.fft2(self.generator.standard_normal(shape))
        smooth = np.fft.ifft2(white / (1 + (k / 4) ** 2) ** 1.2).real
        return smooth / smooth.std((-1, -2), keepdims=True)

    def state(self, anomaly: np.ndarray) -> Tensor:
        return torch.as_tensor(self.mean + self.std * anomaly, dtype=torch.float32)

    def step(self) -> dict[str, Tensor]:
        """Advance the truth, spoil the background, and mend it in the analysis."""
        self.anomaly = 0.95 * self.anomaly + 0.31 * self.noise()
        self.error = 0.92 * self.error + 0.12 * self.noise(self.recipe.members)
        background = self.error
        self.error = 0.8 * self.error + 0.06 * self.noise(self.recipe.members)
        states = {
            "truth": self.anomaly,
            "background": self.anomaly + background,
            "analysis": self.anomaly + self.error,
            "free": (0.3 * self.anomaly + 0.9 * self.noise())[None],
        }
        return {name: self.state(anomaly) for name, anomaly in states.items()}
