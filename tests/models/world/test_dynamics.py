import numpy as np
import torch
from torch import Tensor

from models.world.constants import EARTH
from models.world.model import ModelSettings, SpectralModel

TEMPERATURE = 288.0


def latitude(model: SpectralModel) -> Tensor:
    return torch.as_tensor(np.radians(model.transform.latitude))[:, None]


def rest(model: SpectralModel) -> Tensor:
    """An isothermal atmosphere at rest with surface pressure p_0."""
    x = torch.zeros(1, 33, 32, 64, dtype=torch.float64)
    x[:, 16:24], x[:, 24:32], x[:, 32] = TEMPERATURE, 1e-3, 1e5
    return x


def test_resting_isothermal_atmosphere_stays_at_rest(dry: SpectralModel) -> None:
    x = rest(dry)
    y = dry.forecast(x, 0.0, 6)
    assert y[:, :16].abs().max() < 1e-9
    torch.testing.assert_close(y[:, 16:], x[:, 16:], rtol=1e-12, atol=0)


def test_resting_atmosphere_over_mountains_stays_at_rest() -> None:
    """At T = T_r, ∇Φ_s and R T_r ∇π cancel exactly when p_s is hydrostatic."""
    orography = torch.zeros(22, 2, 1, 1, 22, dtype=torch.float64)
    orography[3, 0, 0, 0, 5], orography[7, 1, 0, 0, 9] = 2000.0, -1500.0
    settings = ModelSettings(21, time_step=1800.0, diffusion_hours=1e9)
    model = SpectralModel(settings, orography, torch.float64)
    altitude = model.transform.synthesis(orography)[:, 0]
    x = rest(model)
    x[:, 32] = 1e5 * torch.exp(-EARTH.gravity * altitude / (EARTH.gas_constant * TEMPERATURE))
    assert altitude.abs().max() > 500
    assert model.forecast(x, 0.0, 6)[:, :16].abs().max() < 1e-8


def test_balanced_solid_body_rotation_is_steady(dry: SpectralModel) -> None:
    """u = u_0 cos φ with R T π = -(a Ω u_0 + u_0² / 2) sin²φ is in gradient-wind balance."""
    phi, speed = latitude(dry), 40.0
    x = rest(dry)
    x[:, :8] = speed * phi.cos()
    slope = EARTH.radius * EARTH.rotation * speed + speed**2 / 2
    x[:, 32] = 1e5 * torch.exp(-slope * phi.sin() ** 2 / (EARTH.gas_constant * TEMPERATURE))
    y = dry.forecast(x, 0.0, 6)
    assert (y - x)[:, :16].abs().max() < 1e-7
    torch.testing.assert_close(y[:, 16:], x[:, 16:], rtol=1e-9, atol=0)


def test_rossby_haurwitz_wave_moves_with_its_phase_speed(dry: SpectralModel) -> None:
    """One degree l on solid-body rotation ω turns at ν = ω - 2 (Ω + ω) / (l (l + 1)).

    Haurwitz (1940), The motion of atmospheric disturbances on the spherical earth.
    """
    order, degree, omega = 4, 5, 7.848e-6
    state = torch.zeros(22, 2, 1, 33, 22, dtype=torch.float64)
    unit = 2 * omega * np.sqrt(4 * np.pi / 3)  # ζ = 2 ω sin φ
    state[0, 0, 0, :8, 1] = unit
    state[order, 0, 0, :8, degree] = 3e-5
    tendency = dry.dynamics.explicit(dry.dynamics.nodal(state))[..., :8, :]
    speed = omega - 2 * (EARTH.rotation + omega) / (degree * (degree + 1))
    expected = torch.zeros_like(tendency)
    expected[order, 1, 0, :, degree] = order * speed * 3e-5  # -ν ∂/∂λ of cos(mλ)
    torch.testing.assert_close(tendency, expected, rtol=1e-12, atol=1e-21)


def test_uniform_tracer_stays_uniform_in_any_flow(moist: SpectralModel, weather: Tensor) -> None:
    state = moist.from_grid(weather)
    state[..., 25:, :] = 0
    state[0, 0, :, 25:, 0] = 1.0
    nodal = moist.dynamics.nodal(state)
    tendency = moist.dynamics.explicit(nodal)[..., 25:, :]
    scale = float(nodal.divergence.abs().max())
    assert scale > 1e-6
    assert tendency.abs().max() < 1e-12 * scale


def test_dry_dynamics_convert_energy_without_loss(moist: SpectralModel, weather: Tensor) -> None:
    """∂/∂t ∫ p_s (Σ Δσ (½ |v|² + c_p T) + Φ_s) / g vanishes, up to spectral truncation.

    It is compared with what the kinetic energy alone gains.
    """
    state = moist.from_grid(weather)
    tendency = moist.dynamics.explicit(moist.dynamics.nodal(state))
    tendency[..., 8:25, :] += moist.scheme.waves(state[..., 8:25, :])

    def energy(s: Tensor) -> Tensor:
        x = moist.to_grid(s)
        thickness = torch.as_tensor(moist.settings.levels.thickness)[:, None, None]
        kinetic = (thickness * (x[:, :8] ** 2 + x[:, 8:16] ** 2) / 2).sum(1)
        heat = (thickness * EARTH.heat_capacity * x[:, 16:24]).sum(1)
        surface = EARTH.gravity * moist.transform.synthesis(moist.orography)[:, 0]
        both = torch.stack([kinetic, kinetic + heat + surface])
        return (x[:, 32] / EARTH.gravity * both).mean(-1) @ moist.transform.gauss_weights

    kinetic, total = torch.func.jvp(energy, (state,), (tendency,))[1]
    assert float(kinetic.abs().min()) > 0.5  # W m-2
    assert float(total.abs().max()) < 0.05 * float(kinetic.abs().min())
