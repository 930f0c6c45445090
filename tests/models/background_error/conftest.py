"""Errors of a small world in which mass and wind are balanced."""

import pytest
import torch

from models.background_error.covariance import BackgroundCovariance
from models.grid import LatLonGrid
from models.state import StateSpec, Variable

LEVELS = (0.3, 0.8)
VARIABLES = (
    Variable("u", "eastward_wind", "m s-1", LEVELS),
    Variable("v", "northward_wind", "m s-1", LEVELS),
    Variable("q", "specific_humidity", "kg kg-1", (0.8,)),
    Variable("sp", "surface_air_pressure", "Pa"),
)
UNIT = torch.tensor([8.0, 4.0, 6.0, 3.0, 2e-3, 500.0])
#: Pascal for each m s-1 of ψ, times the sine of latitude; and the part that is not balanced.
COUPLING, NOISE = 60.0, 20.0


@pytest.fixture(scope="session")
def spec() -> StateSpec:
    return StateSpec(VARIABLES, LatLonGrid.gaussian(12, 24), "sigma")


def spectrum(covariance: BackgroundCovariance, scale: float) -> torch.Tensor:
    """Return the standard deviation of each mode, for unit variance, without the mean."""
    n = covariance.transform.wavenumber.double()
    power = torch.exp(-((n / scale) ** 2)) * (n > 0)
    return (power / power.sum() * 4 * torch.pi).sqrt()


def balanced_errors(spec: StateSpec, count: int, seed: int) -> torch.Tensor:
    """Draw errors: two levels of ψ with correlation 0.6, weak χ, sp that follows the lower ψ."""
    covariance = BackgroundCovariance(spec, UNIT, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    shape = (count, spec.n_fields, sum(covariance.correlation.sizes))
    c = torch.randn(shape, generator=generator, dtype=torch.float64) * spectrum(covariance, 3.0)
    c[:, 1] = 0.6 * c[:, 0] + 0.8 * c[:, 1]
    p = covariance.transform.synthesis(c)
    sine = torch.sin(torch.deg2rad(torch.tensor(spec.grid.latitude)))[:, None]
    p[:, 2:4] *= 0.3
    p[:, 4] *= 1e-3 * (1.5 + sine)  # moist in the north
    p[:, 5] = COUPLING * sine * p[:, 1] + NOISE * p[:, 5]
    assert covariance.wind is not None
    return (covariance.wind.wind(p) / UNIT[:, None, None]).float()


@pytest.fixture(scope="session")
def errors(spec: StateSpec) -> torch.Tensor:
    return balanced_errors(spec, 3000, 0)


@pytest.fixture(scope="session")
def fitted(spec: StateSpec, errors: torch.Tensor) -> BackgroundCovariance:
    covariance = BackgroundCovariance(spec, UNIT)
    covariance.fit(lambda: errors.split(500))
    return covariance
