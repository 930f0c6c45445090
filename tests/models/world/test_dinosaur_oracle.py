"""The dynamical core against an independent one, dinosaur-torch, in double precision."""

from typing import Any

import numpy as np
import pytest
import torch
from dinosaur_torch import (
    coordinate_systems,
    primitive_equations,
    scales,
    sigma_coordinates,
    spherical_harmonic,
    time_integration,
    units,
)
from torch import Tensor

from models.world.constants import Planet
from models.world.model import ModelSettings, SpectralModel
from models.world.vertical import EIGHT_LEVELS

STEP = 1800.0
SCALE = torch.tensor([2e-5] * 8 + [2e-6] * 8 + [0.05] + [10.0] * 8 + [5e-3] * 8)
PARTS = {
    "vorticity": slice(0, 8),
    "divergence": slice(8, 16),
    "log pressure": slice(16, 17),
    "temperature": slice(17, 25),
    "humidity": slice(25, 33),
}


class Oracle:
    """dinosaur-torch with the grid, the levels and the mountains of our model."""

    def __init__(self, truncation: int) -> None:
        self.specs = units.SimUnits.from_si()
        unit: Any = scales.units
        self.second = float(self.specs.nondimensionalize(1 * unit.s))

        def si(value: float, of: object) -> float:
            return float(self.specs.dimensionalize(value, of).m)

        planet = Planet(
            radius=si(self.specs.radius, unit.m),
            rotation=si(self.specs.angular_velocity, 1 / unit.s),
            gravity=si(self.specs.g, unit.m / unit.s**2),
            gas_constant=si(self.specs.R, unit.J / unit.kg / unit.degK),
            kappa=self.specs.kappa,
        )
        settings = ModelSettings(truncation, STEP, diffusion_hours=1e9, planet=planet)
        n = truncation + 1
        orography = smooth(np.random.default_rng(0).normal(size=(n, 2, 1, 1, n)), n) * 300
        self.model = SpectralModel(settings, orography, torch.float64)
        self.equations = self._equations(truncation, orography)

    def _equations(
        self, truncation: int, orography: Tensor
    ) -> primitive_equations.PrimitiveEquations:
        spec = getattr(spherical_harmonic.GridSpec, f"T{truncation}")(radius=self.specs.radius)
        harmonics = spherical_harmonic.FastSphericalHarmonics
        grid = spherical_harmonic.Grid(spec, impl=harmonics, dtype=torch.float64)
        levels = sigma_coordinates.SigmaCoordinates(np.array(EIGHT_LEVELS.half_levels))
        vertical = sigma_coordinates.SigmaLevels(levels, dtype=torch.float64)
        coordinates = coordinate_systems.CoordinateSystem(grid, vertical)
        meter = float(self.specs.nondimensionalize(1 * scales.units.m))
        modal = self.to_modal(orography)[0] * meter
        return primitive_equations.PrimitiveEquations(
            np.full(8, 288.0), modal, coordinates, self.specs
        )

    @staticmethod
    def to_modal(f: Tensor) -> Tensor:
        """Map [order part 1 channel degree] to dinosaur's [channel, 2 order, degree + 1]."""
        modal = f[:, :, 0].flatten(0, 1).movedim(1, 0)
        return torch.nn.functional.pad(modal, (0, 1))

    def to_state(self, f: Tensor) -> primitive_equations.State:
        parts = {name: self.to_modal(f[:, :, :, part]) for name, part in PARTS.items()}
        return primitive_equations.State(
            parts["vorticity"] / self.second,
            parts["divergence"] / self.second,
            parts["temperature"],
            parts["log pressure"],
            {"q": parts["humidity"]},
            None,
        )

    def from_state(self, state: primitive_equations.State) -> Tensor:
        modal = torch.cat(
            [
                state.vorticity * self.second,
                state.divergence * self.second,
                state.log_surface_pressure,
                state.temperature_variation,
                state.tracers["q"],
            ]
        )
        n = self.model.transform.orders
        return modal[..., :n].movedim(0, 1).reshape(n, 2, 1, 33, n)


def smooth(f: np.ndarray, n: int) -> Tensor:
    """Keep the triangle, with a spectrum that falls with the degree."""
    order, degree = np.arange(n)[:, None, None, None, None], np.arange(n)
    f = f * (degree >= order) / (1 + degree) ** 1.5
    f[0, 1] = 0
    return torch.as_tensor(f)


@pytest.fixture(scope="module", params=[21, 31])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    return Oracle(request.param)


@pytest.fixture(scope="module")
def state(oracle: Oracle) -> Tensor:
    n = oracle.model.transform.orders
    f = smooth(np.random.default_rng(1).normal(size=(n, 2, 1, 33, n)), n) * SCALE[:, None]
    f[:, :, :, :16, 0] = 0  # vorticity and divergence have no mean over the sphere
    return f


def assert_equal(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    for name, part in PARTS.items():
        scale = expected[:, :, :, part].abs().max()
        error = (actual - expected)[:, :, :, part].abs().max()
        assert error <= tolerance * scale, f"{name}: {float(error)} of {float(scale)}"


def test_explicit_terms_equal_the_oracle(oracle: Oracle, state: Tensor) -> None:
    dynamics = oracle.model.dynamics
    expected = oracle.equations.explicit_terms(oracle.to_state(state))
    expected = oracle.from_state(expected) * oracle.second
    assert_equal(dynamics.explicit(dynamics.nodal(state)), expected, 1e-12)


def test_implicit_terms_equal_the_oracle(oracle: Oracle, state: Tensor) -> None:
    expected = oracle.from_state(oracle.equations.implicit_terms(oracle.to_state(state)))
    actual = torch.zeros_like(state)
    actual[:, :, :, 8:25] = oracle.model.scheme.waves(state[:, :, :, 8:25])
    assert_equal(actual, expected * oracle.second, 1e-12)


def test_five_steps_equal_the_oracle(oracle: Oracle, state: Tensor) -> None:
    step = time_integration.imex_rk_sil3(oracle.equations, STEP * oracle.second)
    ours, theirs = state, oracle.to_state(state)
    for _ in range(5):
        ours, theirs = oracle.model.step(ours, 0.0), step(theirs)
    assert_equal(ours, oracle.from_state(theirs), 1e-8)
