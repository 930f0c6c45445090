"""The embedded world on pressure levels, in the variables of a reanalysis.

Along each column values are linear in ln p, with the lowest layer continued below it (temperature
with the lapse rate of a dry-moist mean) and the highest above it. The geopotential follows from the
hydrostatic equation,

    Φ(p) = Φ_s + ∫_p^{p_s} R T d ln p,

and the pressure at sea level from the same below the ground.

References:
    | Trenberth, Berry & Buja (1993), Vertical interpolation and truncation of model-coordinate data,
    | doi 10.5065/D6HX19NH
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.world.constants import EARTH

__all__ = ["Column", "isobaric"]

#: d ln T / d ln p of an atmosphere with 6.5 K/km.
LAPSE = EARTH.gas_constant * 6.5e-3 / EARTH.gravity
#: Share of the lowest layer's wind that is left at 10 m.
SURFACE_WIND = 0.8
Column = dict[str, Float[Tensor, "time *level lat lon"]]


def isobaric(
    x: Float[Tensor, "time field lat lon"],
    sigma: Float[Tensor, "layer"],
    surface: Float[Tensor, "lat lon"],
    levels: tuple[float, ...],
) -> Column:
    """Return z, t, q, u, v on pressure levels and u10, v10, t2m, msl [SI].

    Args:
        x: States of the embedded world: u, v, t, q on the layers from the top down, and p_s.
        sigma: Middles of the layers [1].
        surface: Geopotential of the surface [m2 s-2].
        levels: Pressure levels [hPa].
    """
    n = len(sigma)
    u, v, t, q, pressure = torch.split(x, [n, n, n, n, 1], 1)
    ln_surface = torch.log(pressure)
    ln_p = torch.log(sigma)[:, None, None].to(x) + ln_surface
    target = torch.log(100 * torch.tensor(levels).to(x))
    place = Places(ln_p, target)
    z = geopotential(t, ln_p, ln_surface, surface)
    found = {"z": place.take(z), "t": place.take(t), "q": place.take(q)}
    found |= {"u": place.take(u), "v": place.take(v)}
    below, above = place.below, place.above
    found["t"] = found["t"] * torch.exp(LAPSE * below)
    found["z"] = found["z"] - EARTH.gas_constant * (t[:, -1:] * below - t[:, :1] * above)
    mean = t[:, -1] + 0.5 * 6.5e-3 * surface / EARTH.gravity
    return found | {
        "u10": SURFACE_WIND * u[:, -1],
        "v10": SURFACE_WIND * v[:, -1],
        "t2m": t[:, -1] * torch.exp(LAPSE * -torch.log(sigma[-1]).to(x)),
        "msl": pressure[:, 0] * torch.exp(surface / (EARTH.gas_constant * mean)),
    }


class Places:
    """Where pressure levels lie between the layers of each column.

    Attributes:
        below: ln p of each level minus that of the lowest layer, where that is positive.
        above: ln p of the highest layer minus that of each level, where that is positive.
    """

    def __init__(
        self, ln_p: Float[Tensor, "time layer lat lon"], target: Float[Tensor, "level"]
    ) -> None:
        """Find the layers around the levels."""
        wanted = target[None, :, None, None]
        count = (ln_p[:, None] <= wanted[:, :, None]).sum(2)
        self.lower = (count.clamp(1, ln_p.shape[1] - 1)).expand(-1, -1, *ln_p.shape[2:])
        upper, lower = ln_p.gather(1, self.lower - 1), ln_p.gather(1, self.lower)
        self.share = ((wanted - upper) / (lower - upper)).clamp(0, 1)
        self.below = (wanted - ln_p[:, -1:]).clamp(min=0)
        self.above = (ln_p[:, :1] - wanted).clamp(min=0)

    def take(self, x: Float[Tensor, "time layer lat lon"]) -> Float[Tensor, "time level lat lon"]:
        """Return the values on the levels; beyond the layers those of the nearest."""
        upper, lower = x.gather(1, self.lower - 1), x.gather(1, self.lower)
        return upper + self.share * (lower - upper)


def geopotential(
    t: Float[Tensor, "time layer lat lon"],
    ln_p: Float[Tensor, "time layer lat lon"],
    ln_surface: Float[Tensor, "time 1 lat lon"],
    surface: Float[Tensor, "lat lon"],
) -> Float[Tensor, "time layer lat lon"]:
    """Return the geopotential in the middle of the layers [m2 s-2]."""
    gas = EARTH.gas_constant
    lowest = surface + gas * t[:, -1:] * (ln_surface - ln_p[:, -1:])
    between = 0.5 * gas * (t[:, 1:] + t[:, :-1]) * (ln_p[:, 1:] - ln_p[:, :-1])
    above = between.flip(1).cumsum(1).flip(1)
    return torch.cat([lowest + above, lowest], 1)
