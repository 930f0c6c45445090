r"""Latent optimization: a denoiser whose mean fits the observations (LO-SDA).

Where the denoiser gives r_0 = E[r | r_t], the guided denoiser returns the minimum of

    J(r) = ½ (r − r_0)ᵀ Σ_t⁻¹ (r − r_0) + ½ |d(r)|²,    d(r) = R^{-½} (y − H decode(r)),

with the covariance of the denoised state Σ_t = C σ_t² (C + σ_t²)⁻¹ in the anchor. In the control
variable v, r = r_0 + L v with L Lᵀ = Σ_t, it reads ½ |v|² + ½ |d|², solved by Gauss–Newton with conjugate
gradients (`fast`) or by steepest descent (`paper`).

References:
    | Sun et al. (2025), LO-SDA: latent optimization for score-based atmospheric data assimilation,
    | arXiv 2510.22562
    | Song et al. (2024), Solving inverse problems with latent diffusion models via hard data
    | consistency, arXiv 2307.08123
    | Lorenc (2003), Modelling of error covariances by 4D-Var data assimilation, doi 10.1256/qj.02.131
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule
from jaxtyping import Float
from torch import Tensor

from models.guidance.trace import Trace
from models.solvers import conjugate_gradients, dot

__all__ = ["InnerSolver", "LatentOptimization", "Root", "gauss_newton", "linearize"]

Departure = Callable[[Tensor], Tensor]
Operator = Callable[[Tensor], Tensor]


class Covariance(Protocol):
    """What the anchor needs of C: the root L of Σ = C σ² (C + σ²)⁻¹, for a noise level σ."""

    def control(self, r: Tensor) -> Tensor:
        """Return the control variables v of r = 0."""

    def root(self, v: Tensor, sigma: float) -> Tensor:
        """Return L v."""

    def root_adjoint(self, r: Tensor, sigma: float) -> Tensor:
        """Return Lᵀ r."""


@dataclass(frozen=True)
class InnerSolver:
    """How J is minimized.

    Attributes:
        kind: `gauss_newton` or `steepest_descent`.
        outer: Linearizations of the decoder and the operator (Gauss–Newton), or descent steps.
        inner: Largest number of iterations of conjugate gradients for each linearization.
        tolerance: Stop these where the gradient is this small, relative to the first.
        anchor_scale: Factor on Σ_t^½.
    """

    kind: str = "gauss_newton"
    outer: int = 1
    inner: int = 8
    tolerance: float = 0.0
    anchor_scale: float = 1.0


@dataclass(frozen=True)
class Root:
    """A factor L of a covariance Σ = L Lᵀ.

    Attributes:
        apply: v ↦ L v.
        adjoint: r ↦ Lᵀ r.
        control: The control variables v of r = 0.
    """

    apply: Operator
    adjoint: Operator
    control: Operator

    @classmethod
    def of(cls, covariance: Covariance, sigma: float, scale: float = 1.0) -> "Root":
        """Return `scale` times the root of a covariance at the noise level σ."""
        return cls(
            lambda v: scale * covariance.root(v, sigma),
            lambda r: scale * covariance.root_adjoint(r, sigma),
            covariance.control,
        )


class LatentOptimization(Denoiser):  # type: ignore[misc]
    """A denoiser guided by latent optimization."""

    def __init__(
        self,
        denoiser: Denoiser,
        departure: Departure,
        covariance: Covariance,
        solver: InnerSolver,
        anchor: float = 1.0,
    ) -> None:
        """Guide `denoiser`.

        Args:
            denoiser: The prior; called with the keyword arguments of `forward`.
            departure: d(r), the observations minus their equivalents over the error, of shape
                (batch, obs).
            covariance: C of the anchor.
            solver: The inner solver.
            anchor: Weight of r_0 in the first step's anchor, where 0 is the background itself.

        Attributes:
            shift: Added to the first step's anchor, a draw for each member of an ensemble.
            first: Covariance of the first step's anchor, if it is another.
        """
        super().__init__()
        self.denoiser, self.departure, self.covariance = denoiser, departure, covariance
        self.solver, self.anchor, self.trace = solver, anchor, Trace()
        self.shift: Tensor | None = None
        self.first: Covariance | None = None

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the prior."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return the posterior mean given the observations."""
        sigma = float(self.schedule.sigma(t))
        if self.anchor == 0.0 and not self.trace.rows:
            r_0 = torch.zeros_like(x_t)
        else:
            r_0 = self.denoiser(x_t, t, **condition).mean
            if not self.trace.rows:
                r_0 = self.anchor * r_0
        if self.shift is not None and not self.trace.rows:
            r_0 = r_0 + self.shift
        return DiracPosterior(self.optimize(r_0, sigma))

    def optimize(
        self, r_0: Float[Tensor, "batch channel lat lon"], sigma: float
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return the minimum of J around r_0."""
        special = self.first if not self.trace.rows else None
        root = Root.of(special or self.covariance, sigma, self.solver.anchor_scale)
        minimize = {"gauss_newton": gauss_newton, "steepest_descent": steepest_descent}
        v, first, last = minimize[self.solver.kind](self.departure, root, r_0, self.solver)
        self.trace.add(sigma, v, first, last)
        return r_0 + root.apply(v)


def linearize(departure: Departure, r: Tensor) -> tuple[Tensor, Operator, Operator]:
    """Return d(r), the tangent G of −d and its adjoint.

    w ↦ Gᵀ w is linear, so that its own adjoint is the tangent. In this way the nonlinear function is
    passed once for each linearization; forward mode passes it again with each product.
    """
    with torch.enable_grad():
        r = r.detach().requires_grad_()
        d = departure(r)
        w = torch.zeros_like(d, requires_grad=True)
        (g,) = torch.autograd.grad(d, r, w, create_graph=True)

    def tangent(u: Tensor) -> Tensor:
        return -torch.autograd.grad(g, w, u, retain_graph=True)[0]

    def adjoint(v: Tensor) -> Tensor:
        return -torch.autograd.grad(d, r, v, retain_graph=True)[0]

    return d.detach(), tangent, adjoint


def gauss_newton(
    departure: Departure, root: Root, r_0: Tensor, solver: InnerSolver
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimize ½|v|² + ½|d(r_0 + L v)|²; return v and the departures before and after."""
    v = root.control(r_0)
    first = last = departure(r_0)
    for _ in range(solver.outer):
        d, tangent, adjoint = linearize(departure, r_0 + root.apply(v))

        def hessian(u: Tensor, g: Operator = tangent, h: Operator = adjoint) -> Tensor:
            return u + root.adjoint(h(g(root.apply(u))))

        descent = root.adjoint(adjoint(d)) - v
        increment, _ = conjugate_gradients(hessian, descent, solver.inner, solver.tolerance)
        last = d - tangent(root.apply(increment))
        v = v + increment
        del tangent, adjoint, hessian  # what they keep, before the next ones are made
    return v, first, last


def steepest_descent(
    departure: Departure, root: Root, r_0: Tensor, solver: InnerSolver
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimize the same cost by gradient steps of the length that is exact for a quadratic."""
    v = root.control(r_0)
    first = last = departure(r_0)
    for _ in range(solver.outer):
        last, tangent, adjoint = linearize(departure, r_0 + root.apply(v))
        descent = root.adjoint(adjoint(last)) - v
        change = tangent(root.apply(descent))
        length = dot(descent, descent) / (dot(descent, descent) + dot(change, change)).clamp(1e-30)
        v = v + length.view(-1, *[1] * (v.dim() - 1)) * descent
        last = last - length[:, None] * change
        del tangent, adjoint  # what they keep, before the next ones are made
    return v, first, last
