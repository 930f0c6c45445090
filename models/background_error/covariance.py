r"""The background-error covariance B = L Lᵀ of 3DVar, and a root L of it.

The control vector v, with independent elements of variance 1, goes through a chain of transforms,

    x' = L v = D⁻¹ U K Σ C^{½} v,

correlations C between all fields at all distances (`spectral_covariance`), standard deviations Σ of
the unbalanced fields by latitude, balance K of the other fields with the streamfunction
(`balance`), the wind U of streamfunction and velocity potential (`control_variables`), and units D.
Increments x' are of normalized anomalies. On a region the modes are cosines, Σ depends on
the place, and K and U are the identity.

Everything is fitted to samples of the error: differences of forecasts of different lengths for the
same time (the NMC method), forecasts minus truth, or backgrounds minus truth of cycles.

References:
    | Parrish & Derber (1992), doi 10.1175/1520-0493(1992)120<1747:TNMCSS>2.0.CO;2
    | Barker et al. (2004), A three-dimensional variational data assimilation system for MM5,
    | doi 10.1175/1520-0493(2004)132<0897:ATVDAS>2.0.CO;2
    | Bannister (2008), A review of forecast error covariance statistics in atmospheric variational
    | data assimilation, doi 10.1002/qj.339 and 10.1002/qj.340
    | Descombes et al. (2015), doi 10.5194/gmd-8-669-2015
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.background_error.balance import Balance
from models.background_error.control_variables import WindVariables, wind_pairs
from models.background_error.cosines import CosineTransform
from models.background_error.harmonics import HarmonicTransform
from models.background_error.spectral_covariance import (
    SpectralCovariance,
    Transform,
    latitude_bands,
)
from models.sampler import randn
from models.state import StateSpec

__all__ = ["BackgroundCovariance"]

#: Least standard deviation anywhere, in units of the largest: some humidities are always zero.
LEAST = 1e-3
HUMIDITY = ("specific_humidity", "relative_humidity")


class BackgroundCovariance(nn.Module):
    """B over normalized anomalies; its `state_dict` holds all that is fitted."""

    unit: Float[Tensor, "field"]
    std: Float[Tensor, "field lat lon"]
    error_variance: Float[Tensor, "field lat lon"]

    def __init__(
        self,
        spec: StateSpec,
        unit: Float[Tensor, "field"],
        truncation: int | None = None,
        bands: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Create a covariance that is not fitted.

        Args:
            spec: Layout of the states.
            unit: Standard deviation of the anomalies, `Statistics.std` [SI].
            truncation: Largest total wavenumber; what the grid resolves if not given.
            bands: Number of bands of latitudes with correlations of their own.
            dtype: Floating-point type of the transforms.
        """
        super().__init__()
        grid = spec.grid
        self.transform: Transform
        self.wind: WindVariables | None = None
        zonal: list[int] = []
        if grid.reaches_poles:
            self.transform = harmonics = HarmonicTransform(grid, truncation, dtype)
            zonal, meridional = wind_pairs(spec)
            self.wind = WindVariables(harmonics, zonal, meridional) if zonal else None
        else:
            self.transform = CosineTransform(grid, truncation, dtype)
        self.balance = Balance(grid.shape[0], zonal, balanced_fields(spec, zonal))
        latitude = torch.tensor(grid.latitude)
        self.correlation = SpectralCovariance(
            self.transform, spec.n_fields, latitude_bands(latitude, bands)
        )
        places = (grid.shape[0], 1 if self.transform.zonal else grid.shape[1])
        self.register_buffer("unit", unit.float())
        self.register_buffer("std", torch.ones(spec.n_fields, *places))
        self.register_buffer("error_variance", torch.ones(spec.n_fields, *places))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the control vector: bands, fields and modes."""
        return self.correlation.shape

    def root(
        self, v: Float[Tensor, "batch band field mode"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the increment L v of normalized anomalies."""
        x = self.balance(self.std * self.correlation.root(v))
        x = x if self.wind is None else self.wind.wind(x)
        return x / self.unit[:, None, None]

    def root_adjoint(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch band field mode"]:
        """Return Lᵀ x."""
        x = x / self.unit[:, None, None]
        x = x if self.wind is None else self.wind.wind_adjoint(x)
        return self.correlation.root_adjoint(self.std * self.balance.adjoint(x))

    def sample(
        self, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Draw errors of N(0, B), one from each generator."""
        shape = (len(generators), *self.shape)
        return self.root(randn(shape, generators, self.unit.device))

    def control_fields(
        self, a: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return ψ, χ and the other fields of an increment, before the balance is taken off."""
        x = a.to(self.transform.weights) * self.unit[:, None, None]
        return x if self.wind is None else self.wind.potentials(x)

    @torch.no_grad()
    def fit(self, errors: Callable[[], Iterable[Float[Tensor, "batch field lat lon"]]]) -> None:
        """Estimate B from samples of the error in normalized anomalies; their mean is not removed.

        Args:
            errors: Returns the samples in batches; it is called twice.

        Raises:
            ValueError: There are no samples, or a field does not vary.
        """
        moment, square, count = self._moments(errors())
        self.error_variance.copy_(square / count)
        if not (self.error_variance.amax((1, 2)) > 0).all():
            raise ValueError("a field of the samples does not vary")
        self.balance.fit(moment)
        variance = self.balance.unbalanced(moment).diagonal(dim1=-2, dim2=-1)
        std = (variance / count).sqrt().movedim(-1, 0)
        self.std.copy_(std.clamp(min=LEAST * std.amax((1, 2), keepdim=True)))
        total = torch.zeros_like(self.correlation.spectrum, dtype=torch.float64)
        for a in errors():
            p = self.balance.inverse(self.control_fields(a)) / self.std
            total += self.correlation.moments(p)
        self.correlation.fit(total, count)
        # what the truncation leaves out, and the doubled variance of cosines at an edge
        self.std.div_(self.correlation.variance().sqrt())

    def _moments(self, errors: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
        """Return sums over the samples: second moments of the control fields, squared errors."""
        zonal = self.transform.zonal
        moment = square = torch.zeros((), dtype=torch.float64, device=self.unit.device)
        count = 0
        for a in errors:
            p = self.control_fields(a).double()
            product = torch.einsum("bfjk,bgjk->jfg" if zonal else "bfjk,bgjk->jkfg", p, p)
            squares = a.double().square().sum(0)
            moment = moment + (product[:, None] / p.shape[-1] if zonal else product)
            square = square + (squares.mean(-1, keepdim=True) if zonal else squares)
            count += len(a)
        if not count:
            raise ValueError("there are no samples of the background error")
        return moment, square, count


def balanced_fields(spec: StateSpec, psi: Sequence[int]) -> list[int]:
    """Return the positions of all fields but ψ and humidity, or none without ψ."""
    names = {variable.name: variable.standard_name for variable in spec.variables}
    rest = [i for i, f in enumerate(spec.fields) if names[f.variable] not in HUMIDITY]
    return [i for i in rest if psi and i not in psi]
