r"""Saturation of water vapor over liquid water.

    e_s(T) = 611.2 Pa exp(17.27 (T - 273.16 K) / (T - 35.86 K)),
    q_s(T, p) = 0.622 e_s / (p - 0.378 e_s),   γ(T) = (L / c_p) ∂q_s/∂T ≈ L² q_s / (c_p R_v T²)

References:
    | Tetens (1930), Über einige meteorologische Begriffe, Zeitschrift für Geophysik 6, 297–309
    | Murray (1967), On the computation of saturation vapor pressure,
      doi 10.1175/1520-0450(1967)006<0203:OTCOSV>2.0.CO;2
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from models.world.constants import EARTH, LATENT_HEAT, REFERENCE_PRESSURE, VAPOR_GAS_CONSTANT

__all__ = ["WARMING", "latent_factor", "saturation_humidity"]

#: Warming of the air per unit of condensed specific humidity, L / c_p [K].
WARMING = LATENT_HEAT / EARTH.heat_capacity

_RATIO, _DEFICIT = 0.622, 0.378
_SLOPE, _FREEZING, _POLE = 17.27, 273.16, 35.86
_OFFSET = math.log(_RATIO * 611.2 / REFERENCE_PRESSURE) + _SLOPE
_GAMMA = LATENT_HEAT * WARMING / VAPOR_GAS_CONSTANT


def saturation_humidity(
    temperature: Float[Tensor, "*shape"], log_pressure: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return q_s at a temperature [K] and ln(p / p_0) [1].

    The quotient is formed in the exponent; both bounds only keep absurd states finite.
    """
    inverse = torch.reciprocal((temperature - _POLE).clamp(min=20.0))
    exponent = torch.sub(_OFFSET - log_pressure, inverse, alpha=_SLOPE * (_FREEZING - _POLE))
    ratio = torch.exp(exponent)
    return ratio / torch.rsub(ratio, 1, alpha=_DEFICIT / _RATIO).clamp(min=0.2)


def latent_factor(
    temperature: Float[Tensor, "*shape"], saturation: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return γ, by which latent heat slows the approach to saturation [1]."""
    return saturation / (temperature * temperature) * _GAMMA
