r"""Repaint: a denoiser whose mean takes the observed values (the mechanism of DiffDA).

The mean is decoded, its observed values are replaced, and the composed state is encoded again:

    a = decode(r_0),    a' = a + w S Gᵀ (G Gᵀ)⁻¹ d,    r̂ = r_0 + encode(a') − encode(a),

with the departures d of a and their tangent G with respect to S⁻¹ a, where S holds the background
error of each field. That is the smallest change, in units of the background error, that fits the
observations: where a grid value is observed it is replaced, an interpolated observation changes
the points around it. It is computed by conjugate gradients on Gᵀ G x = Gᵀ d from x = 0, which end
in the least squares fit where observations contradict each other. As the difference of two encoded
states enters, what autoencoder and background do not share does not.

There is no observation error here. A share w < 1 of the replacement is all that can be had.

References:
    | Lugmayr et al. (2022), RePaint: inpainting using denoising diffusion probabilistic models,
    | arXiv 2201.09865
    | Huang et al. (2024), DiffDA: a diffusion model for weather-scale data assimilation,
    | arXiv 2401.05932
    | Sun et al. (2025), Align-DA, arXiv 2505.22008
"""

from collections.abc import Callable

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule
from jaxtyping import Float
from torch import Tensor

from models.guidance.latent_optimization import linearize
from models.latent_frame import LatentFrame
from models.solvers import conjugate_gradients

__all__ = ["Replacement", "fitting_change"]

Departure = Callable[[Tensor], Tensor]
ITERATIONS, TOLERANCE = 20, 1e-4


class Replacement(Denoiser):  # type: ignore[misc]
    """A denoiser whose mean takes the observed values."""

    def __init__(
        self,
        denoiser: Denoiser,
        frame: LatentFrame,
        departure: Departure,
        size: Float[Tensor, "field 1 1"],
        weight: float = 1.0,
    ) -> None:
        """Guide `denoiser`.

        Args:
            denoiser: The prior; called with the keyword arguments of `forward`.
            frame: Maps its residuals to anomalies and back.
            departure: Observations minus equivalents of anomalies, of shape (batch, obs), in
                units in which they are of similar size.
            size: Background error of each field, in units of the anomalies.
            weight: Share of the replacement, 1 for all of it.
        """
        super().__init__()
        self.denoiser, self.frame, self.departure = denoiser, frame, departure
        self.size, self.weight = size, weight

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the prior."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return the mean with the observed values."""
        r_0 = self.denoiser(x_t, t, **condition).mean
        a = self.frame.anomaly(r_0)
        composed = a + self.weight * fitting_change(self.departure, a, self.size)
        change = self.frame.residual(composed) - self.frame.residual(a)
        return DiracPosterior(r_0 + change)


def fitting_change(
    departure: Departure, a: Float[Tensor, "batch field lat lon"], size: Tensor
) -> Float[Tensor, "batch field lat lon"]:
    """Return the smallest change of `a`, in units of `size`, that fits the observations."""
    d, tangent, adjoint = linearize(lambda x: departure(a + size * x), torch.zeros_like(a))
    x, _ = conjugate_gradients(lambda v: adjoint(tangent(v)), adjoint(d), ITERATIONS, TOLERANCE)
    return size * x
