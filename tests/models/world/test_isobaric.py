import torch

from models.world.constants import EARTH
from models.world.isobaric import isobaric

SIGMA = torch.tensor([0.1, 0.3, 0.6, 0.9])
LEVELS = (50.0, 200.0, 500.0, 850.0, 1000.0)


def state(surface: torch.Tensor, temperature: float = 250.0) -> torch.Tensor:
    """An isothermal atmosphere whose wind is 10 ln(p / 1000 hPa)."""
    pressure = 1e5 * torch.exp(-surface / (EARTH.gas_constant * temperature))
    ln_p = torch.log(SIGMA)[:, None, None] + torch.log(pressure / 1e5)
    wind, warm = 10 * ln_p, torch.full_like(ln_p, temperature)
    return torch.cat([wind, -wind, warm, 0.01 * warm, pressure[None]])[None]


def test_an_isothermal_atmosphere_has_the_geopotential_of_its_hypsometric_equation() -> None:
    surface = torch.tensor([[0.0, 5000.0], [20_000.0, 0.0]])
    found = isobaric(state(surface), SIGMA, surface, LEVELS)
    expected = EARTH.gas_constant * 250.0 * torch.log(1000.0 / torch.tensor(LEVELS))
    for k in range(len(LEVELS)):
        torch.testing.assert_close(
            found["z"][0, k], expected[k].expand(2, 2), rtol=1e-4, atol=20.0
        )
    torch.testing.assert_close(found["msl"][0, 0, 0], torch.tensor(1e5))


def test_what_is_linear_in_ln_p_comes_out_exactly_and_ends_with_the_layers() -> None:
    surface = torch.zeros(1, 1)
    found = isobaric(state(surface), SIGMA, surface, LEVELS)
    u = found["u"][0, :, 0, 0]
    between = 10 * torch.log(torch.tensor([0.2, 0.5, 0.85]))
    torch.testing.assert_close(u[1:4], between, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(u[[0, 4]], 10 * torch.log(SIGMA[[0, 3]]))
    torch.testing.assert_close(found["v"], -found["u"])
    assert found["t"][0, 4] > 250.0  # below the lowest layer it warms with the lapse rate
