"""Small ensembles and observations in double precision: for tests of the LETKF."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.localization import ObservationLocalization
from models.methods.letkf import LETKF, LETKFSettings
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.state import StateSpec, Variable

TIME = pd.Timestamp("2005-01-01")
SIGMA = (0.2, 0.5, 0.9)
VARIABLES = (
    Variable("t", "air_temperature", "K", SIGMA),
    Variable("q", "specific_humidity", "kg kg-1", SIGMA),
    Variable("sp", "surface_air_pressure", "Pa"),
)
GLOBE = StateSpec(VARIABLES, LatLonGrid.gaussian(6, 12), "sigma")
REGION = StateSpec(
    (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),
        Variable("t", "air_temperature", "K", (300.0, 500.0, 850.0)),
    ),
    LatLonGrid(tuple(np.arange(55, 30, -5.0)), tuple(np.arange(-15, 16, 5.0))),
    "pressure",
)
NOWHERE = ObservationLocalization(half_width=math.inf, vertical=math.inf)
MEMBERS = 6
Values = NDArray[np.float64]


def generators(count: int = MEMBERS, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 * seed + k) for k in range(count)]


def ensemble(spec: StateSpec = GLOBE, members: int = MEMBERS, seed: int = 0) -> torch.Tensor:
    """Members in double precision whose fields have different means and spreads."""
    g = torch.Generator().manual_seed(seed)
    scale = 1 + torch.arange(spec.n_fields, dtype=torch.float64)[:, None, None]
    x = torch.randn(members, *spec.shape, generator=g, dtype=torch.float64)
    return 10 * scale + scale * x


def observe(
    spec: StateSpec, count: int, seed: int = 1, places: list[int] | None = None
) -> Observations:
    """Observations of one to three places of the state each, in double precision."""
    random = np.random.default_rng(seed)
    index = torch.from_numpy(random.choice(math.prod(spec.shape), (count, 1), replace=False))
    index = index if places is None else torch.tensor(places)[:, None]
    operator = InterpolationOperator(index, torch.ones(len(index), 1), spec.shape)
    error = torch.from_numpy(random.uniform(0.5, 2.0, len(index)))
    scale = 1 + index[:, 0].double() // math.prod(spec.grid.shape)
    y = 10 * scale + 2 * scale * torch.from_numpy(random.standard_normal(len(index)))
    return Observations(y, error, operator)


def interpolated(spec: StateSpec, count: int) -> Observations:
    """Observations between the grid points."""
    random = np.random.default_rng(5)
    latitude, longitude = np.array(spec.grid.latitude), np.array(spec.grid.longitude)
    field = random.integers(0, spec.n_fields, count)
    nothing = np.full(count, np.nan)
    table = pd.DataFrame(
        {
            "lat": random.uniform(latitude.min(), latitude.max(), count),
            "lon": random.uniform(longitude.min(), longitude.max(), count),
            "pres": nothing,
            "variable": [spec.fields[i].variable for i in field],
            "level": [
                np.nan if spec.fields[i].level is None else spec.fields[i].level for i in field
            ],
        }
    )
    operator = InterpolationOperator.from_table(table, spec)
    observed = observe(spec, 1)
    scale = torch.from_numpy(10.0 * (1 + field))
    return replace(observed, y=scale, error=scale / 20, operator=operator)


def matrix(observations: Observations, spec: StateSpec) -> torch.Tensor:
    """H as a matrix (obs, state)."""
    size = math.prod(spec.shape)
    identity = torch.eye(size, dtype=torch.float64).reshape(size, *spec.shape)
    return observations.operator(identity).T


def filtered(
    settings: LETKFSettings,
    x_b: torch.Tensor,
    observations: Observations,
    spec: StateSpec = GLOBE,
    **extra: object,
) -> torch.Tensor:
    method = LETKF(spec, settings, **extra)  # type: ignore[arg-type]
    return method(x_b, TIME, observations, generators(len(x_b))).x_a


def draws(members: list[torch.Generator]) -> torch.Tensor:
    return torch.stack([5 + torch.randn(GLOBE.shape, generator=g) for g in members])
