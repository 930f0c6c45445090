r"""Radiation as relaxation to an equilibrium with seasons, land and sea.

    ∂T/∂t = -k (T - T_eq),   k = k_a + (k_s - k_a) max(0, (σ - σ_b) / (1 - σ_b)) cos⁴φ,
    T_eq = max(T_st, (p/p_0)^κ (T_0(φ) - Δθ ln(p/p_0) cos²φ)),
    T_0  = T_max - ΔT sin²φ + ε sin φ,

after Held & Suarez (1994); the seasonal asymmetry ε of Polvani & Kushner (2002) here follows
the sun with a lag, stronger and sooner over land than over sea.

References:
    | Held & Suarez (1994), A proposal for the intercomparison of the dynamical cores of
      atmospheric general circulation models, doi 10.1175/1520-0477(1994)075<1825:APFTIO>2.0.CO;2
    | Polvani & Kushner (2002), Tropospheric response to stratospheric perturbations in a
      relatively simple general circulation model, doi 10.1029/2001GL014284
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import DAY, EARTH
from models.world.physics.column import Column, Geometry
from models.world.physics.parameters import PhysicsParameters
from models.world.tables import register_tables

__all__ = ["Radiation"]


class Radiation(nn.Module):
    """Relaxation of temperature."""

    rate: Tensor
    stability: Tensor
    annual_mean: Tensor
    level_exner: Tensor

    def __init__(
        self, geometry: Geometry, parameters: PhysicsParameters, dtype: torch.dtype
    ) -> None:
        """Tabulate the rates and the annual-mean equilibrium."""
        super().__init__()
        self.minimum = parameters.stratosphere_temperature
        bottom = parameters.boundary_layer_top
        depth = np.maximum(0, (geometry.sigma - bottom) / (1 - bottom))
        excess = parameters.surface_relaxation_rate - parameters.relaxation_rate
        rate = parameters.relaxation_rate + excess * depth * geometry.cosine**4
        contrast = parameters.meridional_contrast * geometry.sine**2
        tables = {
            "rate": rate / DAY,
            "stability": parameters.static_stability * geometry.cosine**2,
            "annual_mean": parameters.equator_temperature - contrast,
            "level_exner": geometry.sigma**EARTH.kappa,
        }
        register_tables(self, dtype, tables)

    def surface_equilibrium(
        self, season: Float[Tensor, "#batch lat lon"]
    ) -> Float[Tensor, "#batch lat lon"]:
        """Return T_0 for the seasonal part ε sin φ [K]."""
        return self.annual_mean + season

    def forward(
        self, column: Column, surface: Float[Tensor, "#batch lat lon"]
    ) -> Float[Tensor, "batch level lat lon"]:
        """Return the heating, with T_0 at the surface [K s-1]."""
        exner = torch.exp(EARTH.kappa * column.surface_log_pressure)[:, None] * self.level_exner
        potential = surface[:, None] - column.log_pressure * self.stability
        equilibrium = (exner * potential).clamp(min=self.minimum)
        return (equilibrium - column.temperature) * self.rate
