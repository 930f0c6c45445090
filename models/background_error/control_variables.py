r"""Control variables: streamfunction ψ and velocity potential χ stand for the wind.

On the unit sphere, where ψ and χ have the unit of the wind,

    u = -∂ψ/∂φ + (1/cos φ) ∂χ/∂λ,    v = (1/cos φ) ∂ψ/∂λ + ∂χ/∂φ.

The harmonics of ψ and χ are the projections of the wind on rotated gradients and gradients of Y_lm,
whose square norms are l (l+1). The other fields stand for themselves, and so does the wind of a
region, whose ψ and χ would need boundary values.

References:
    | Parrish & Derber (1992), The National Meteorological Center's spectral statistical-
    | interpolation analysis system, doi 10.1175/1520-0493(1992)120<1747:TNMCSS>2.0.CO;2
    | Descombes et al. (2015), Generalized background error covariance matrix model (GEN_BE v2.0),
    | doi 10.5194/gmd-8-669-2015
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.background_error.harmonics import HarmonicTransform
from models.state import StateSpec

__all__ = ["WindVariables", "wind_pairs"]

EASTWARD, NORTHWARD = "eastward_wind", "northward_wind"


class WindVariables(nn.Module):
    """The way between (u, v) and (ψ, χ); ψ takes the place of u in the state, χ that of v."""

    def __init__(
        self, transform: HarmonicTransform, zonal: list[int], meridional: list[int]
    ) -> None:
        """Name the fields.

        Args:
            transform: Harmonics on the state's grid.
            zonal: Positions of u, or of ψ.
            meridional: Positions of v, or of χ, in the same order.
        """
        super().__init__()
        self.transform, self.zonal, self.meridional = transform, zonal, meridional

    def wind(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Put the wind in the place of ψ and χ."""
        t = self.transform
        psi_east, psi_north = t.gradient(t.analysis(x[:, self.zonal]))
        chi_east, chi_north = t.gradient(t.analysis(x[:, self.meridional]))
        return self._put(x, chi_east - psi_north, psi_east + chi_north)

    def wind_adjoint(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the adjoint of `wind`."""
        t = self.transform
        return self._put(x, *(t.analysis_adjoint(c) for c in self._projections(x)))

    def potentials(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Put ψ and χ in the place of the wind; their means are zero."""
        t = self.transform
        degree = t.wavenumber.to(x)
        inverse = 1 / (degree * (degree + 1)).clamp(min=1)
        psi, chi = self._projections(t.weights * x)
        return self._put(x, t.synthesis(inverse * psi), t.synthesis(inverse * chi))

    def _projections(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the products of the wind with the winds of unit ψ and χ."""
        u, v = x[:, self.zonal], x[:, self.meridional]
        return self.transform.gradient_adjoint(v, -u), self.transform.gradient_adjoint(u, v)

    def _put(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        index = torch.tensor([*self.zonal, *self.meridional], device=x.device)
        return x.index_copy(1, index, torch.cat([first, second], 1))


def wind_pairs(spec: StateSpec) -> tuple[list[int], list[int]]:
    """Return the positions of the eastward winds and of the northward ones on the same levels.

    Raises:
        ValueError: A wind has one component only.
    """
    names = {variable.name: variable.standard_name for variable in spec.variables}
    parts = [
        [i for i, field in enumerate(spec.fields) if names[field.variable] == name]
        for name in (EASTWARD, NORTHWARD)
    ]
    levels = [[spec.fields[i].level for i in part] for part in parts]
    if levels[0] != levels[1]:
        raise ValueError(f"eastward and northward wind have other levels: {levels}")
    return parts[0], parts[1]
