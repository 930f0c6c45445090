"""L3DVar: variational assimilation in the latent space, without a diffusion model.

    J(v) = ½ |v|² + ½ |d(L v)|²,    r = L v,    L Lᵀ = B,    d(r) = R^{-½} (y − H a(r)),

minimized by Gauss–Newton with conjugate gradients until the gradient is `tolerance` times the
first one. Preset `published` has the diagonal B of latent forecast differences, as Fan et al.;
preset `full` the full latent covariance C of background errors, as LO-SDA's anchor has.

References:
    | Fan et al. (2025), Physically consistent global atmospheric data assimilation with machine
    | learning in latent space, arXiv 2502.02884
    | Melinc & Zaplotnik (2024), 3D-Var data assimilation using a variational autoencoder,
    | doi 10.1002/qj.4708
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from models.covariance import FLAT, DiagonalCovariance
from models.guidance.latent_optimization import InnerSolver, Root, gauss_newton
from models.guidance.trace import Trace
from models.methods.latent import LatentMethod, LatentProblem

__all__ = ["L3DVAR", "PRESETS", "L3DVarSettings"]

CONVERGED = InnerSolver(outer=1, inner=60, tolerance=0.01)


@dataclass(frozen=True)
class L3DVarSettings:
    """What can be chosen.

    Attributes:
        diagonal: Whether B is diagonal.
        solver: How J is minimized; `anchor_scale` is the factor on B^½.
        representativeness: Error of the decoder, in units of the 24 h background error, that is
            added to the observation error.
        corrected: Whether the known part b of the model's error is taken off the background.
        adaptive: Whether the size of B follows the innovations.
    """

    diagonal: bool = False
    solver: InnerSolver = field(default_factory=lambda: CONVERGED)
    representativeness: float = 0.0
    corrected: bool = False
    adaptive: bool = True


PRESETS = {
    "published": L3DVarSettings(diagonal=True, adaptive=False),
    "full": L3DVarSettings(),
}


class L3DVAR(LatentMethod[L3DVarSettings]):
    """The method, for one configuration of components and settings."""

    def solve(
        self, problem: LatentProblem, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "batch channel lat lon"], Trace]:
        """Minimize J from v = 0."""
        settings, trace = self.settings, Trace()
        full = self.denoiser.covariance
        covariance = DiagonalCovariance(full.variance()) if settings.diagonal else full
        root = Root.of(covariance, FLAT, settings.solver.anchor_scale)
        r_b = torch.zeros_like(problem.frame.z_b)
        v, first, last = gauss_newton(problem.departure, root, r_b, settings.solver)
        trace.add(FLAT, v, first, last)
        return root.apply(v), trace
