r"""Latent optimization: a denoiser whose mean fits the observations (LO-SDA).

Where the denoiser gives r_0 = E[r | r_t], the guided denoiser returns the minimum of

    J(r) = ½ (r − r_0)ᵀ Σ_t⁻¹ (r − r_0) + ½ |d(r)|²,    d(r) = R^{-½} (y − H decode(r)),

with the covariance of the denoised state Σ_t = C σ_t² (C + σ_t²)⁻¹ in the anchor. In the control
variable v, r = r_0 + Σ_t^½ v, it reads ½ |v|² + ½ |d|², solved by Gauss–Newton with conjugate
gradients (`fast`) or by steepest descent (`paper`).

References:
    | Sun et al. (2025), LO-SDA: latent optimization for score-based atmospheric data assimilation,
    | arXiv 2510.22562
    | Song et al. (2024), Solving inverse problems with latent diffusion models via hard data
    | consistency, arXiv 2307.08123
    | Lorenc (2003), Modelling of error covariances by 4D-Var data assimilation, doi 10.1256/qj.02.131
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule
from jaxtyping import Float
from torch import Tensor

from models.covariance import LatentCovariance

__all__ = ["InnerSolver", "LatentOptimization", "conjugate_gradients"]

Departure = Callable[[Tensor], Tensor]
Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class InnerSolver:
    """How J is minimized.

    Attributes:
        kind: `gauss_newton` or `steepest_descent`.
        outer: Linearizations of the decoder and the operator (Gauss–Newton), or descent steps.
        inner: Iterations of conjugate gradients for each linearization.
        anchor_scale: Factor on Σ_t^½.
    """

    kind: str = "gauss_newton"
    outer: int = 1
    inner: int = 8
    anchor_scale: float = 1.0


@dataclass
class Trace:
    """The cost function at each reverse step, for the record."""

    rows: list[dict[str, float]] = field(default_factory=list)

    def add(self, sigma: float, v: Tensor, before: Tensor, after: Tensor) -> None:
        """Append one step; the costs are means over the batch."""
        row = {"step": len(self.rows), "sigma": sigma, "J_o_before": half_square(before)}
        self.rows.append(row | {"J_b": half_square(v), "J_o": half_square(after)})


class LatentOptimization(Denoiser):  # type: ignore[misc]
    """A denoiser guided by latent optimization."""

    def __init__(
        self,
        denoiser: Denoiser,
        departure: Departure,
        covariance: LatentCovariance,
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
        """
        super().__init__()
        self.denoiser, self.departure, self.covariance = denoiser, departure, covariance
        self.solver, self.anchor, self.trace = solver, anchor, Trace()
        self.shift: Tensor | None = None

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
        root: Operator = lambda v: self.solver.anchor_scale * self.covariance.root(v, sigma)
        minimize = {"gauss_newton": gauss_newton, "steepest_descent": steepest_descent}
        v, first, last = minimize[self.solver.kind](self.departure, root, r_0, self.solver)
        self.trace.add(sigma, v, first, last)
        return r_0 + root(v)


def half_square(d: Tensor) -> float:
    """Return ½|d|², the mean over the batch."""
    return 0.5 * float((d**2).flatten(1).sum(1).mean())


def linearize(departure: Departure, r: Tensor) -> tuple[Tensor, Operator, Operator]:
    """Return d(r), the tangent G of −d and its adjoint."""
    d, vjp = torch.func.vjp(departure, r)[:2]
    tangent: Operator = lambda u: -torch.func.jvp(departure, (r,), (u,))[1]
    adjoint: Operator = lambda w: -vjp(w)[0]
    return d, tangent, adjoint


def gauss_newton(
    departure: Departure, root: Operator, r_0: Tensor, solver: InnerSolver
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimize ½|v|² + ½|d(r_0 + Σ^½ v)|²; return v and the departures before and after."""
    v = torch.zeros_like(r_0)
    first = last = departure(r_0)
    for _ in range(solver.outer):
        d, tangent, adjoint = linearize(departure, r_0 + root(v))

        def hessian(u: Tensor, g: Operator = tangent, h: Operator = adjoint) -> Tensor:
            return u + root(h(g(root(u))))

        increment = conjugate_gradients(hessian, root(adjoint(d)) - v, solver.inner)
        last = d - tangent(root(increment))
        v = v + increment
    return v, first, last


def steepest_descent(
    departure: Departure, root: Operator, r_0: Tensor, solver: InnerSolver
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimize the same cost by gradient steps of the length that is exact for a quadratic."""
    v = torch.zeros_like(r_0)
    first = last = departure(r_0)
    for _ in range(solver.outer):
        last, tangent, adjoint = linearize(departure, r_0 + root(v))
        descent = root(adjoint(last)) - v
        change = tangent(root(descent))
        length = dot(descent, descent) / (dot(descent, descent) + dot(change, change)).clamp(1e-30)
        v = v + length.view(-1, *[1] * (v.dim() - 1)) * descent
        last = last - length[:, None] * change
    return v, first, last


def dot(a: Tensor, b: Tensor) -> Float[Tensor, "batch"]:
    """Return the scalar product of each sample."""
    return (a * b).flatten(1).sum(1)


def conjugate_gradients(operator: Operator, b: Tensor, iterations: int) -> Tensor:
    """Solve A x = b for each sample of the batch (Hestenes & Stiefel 1952, doi 10.6028/jres.049.044).

    Args:
        operator: v ↦ A v, symmetric and positive definite.
        b: Right-hand side, with shape (batch, *).
        iterations: Number of iterations from x = 0.

    Returns:
        The approximate solution, with the shape of `b`.
    """

    def expand(value: Tensor) -> Tensor:
        return value.view(-1, *[1] * (b.dim() - 1))

    x, residual, direction = torch.zeros_like(b), b, b
    square = dot(residual, residual)
    for _ in range(iterations):
        image = operator(direction)
        length = expand(square / dot(direction, image).clamp(min=1e-30))
        x, residual = x + length * direction, residual - length * image
        new = dot(residual, residual)
        direction = residual + expand(new / square.clamp(min=1e-30)) * direction
        square = new
    return x
