r"""SIL3: a three-stage implicit–explicit Runge–Kutta step for ∂S/∂t = f(S) + L S.

With Y_0 = S and stages i = 1, 2, 3,

    (I - Δt d_i L) Y_i = S + Δt Σ_{j<i} (a_ij f(Y_j) + b_ij L Y_j),

and the last stage is the result (the scheme is stiffly accurate). Once a stage is solved,
Δt d_i L Y_i is the difference between Y_i and the right-hand side, so L is applied only to S.

References:
    | Whitaker & Kar (2013), Implicit-explicit Runge-Kutta methods for fast-slow wave problems,
      doi 10.1175/MWR-D-13-00132.1
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.gravity_waves import GravityWaves

__all__ = ["SIL3"]

EXPLICIT = ((1 / 3,), (1 / 6, 1 / 2), (1 / 2, -1 / 2, 1.0))
IMPLICIT = ((1 / 6,), (1 / 3, 0.0), (3 / 8, 0.0, 3 / 8))
DIAGONAL = (1 / 6, 1 / 3, 1 / 4)


class SIL3(nn.Module):
    """One step of fixed length, implicit in the gravity-wave channels."""

    def __init__(self, waves: GravityWaves, time_step: float) -> None:
        """Prepare the three implicit solves for a time step [s]."""
        super().__init__()
        self.waves = waves
        self.time_step = time_step
        self.solvers = nn.ModuleList(waves.solver(time_step * d) for d in DIAGONAL)
        self.implicit = slice(waves.n_levels, 3 * waves.n_levels + 1)

    def forward(
        self,
        state: Float[Tensor, "order part batch channel degree"],
        first_tendency: Float[Tensor, "order part batch channel degree"],
        tendency: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Advance the state by one step.

        Args:
            state: The spectral state.
            first_tendency: f(state), which the caller has at hand.
            tendency: The explicit tendency f.

        Returns:
            The state one time step later.
        """
        explicit = [first_tendency]
        implicit = [self.waves(state[:, :, :, self.implicit])]
        for stage, solver in enumerate(self.solvers):
            right = self._combine(state, explicit, EXPLICIT[stage])
            waves = self._combine(right[:, :, :, self.implicit], implicit, IMPLICIT[stage])
            solved = solver(waves)
            vorticity = right[:, :, :, : self.implicit.start]
            humidity = right[:, :, :, self.implicit.stop :]
            stage_state = torch.cat([vorticity, solved, humidity], 3)
            if stage < len(DIAGONAL) - 1:
                explicit.append(tendency(stage_state))
                implicit.append((solved - waves) / (self.time_step * DIAGONAL[stage]))
        return stage_state

    def _combine(
        self, start: Tensor, terms: list[Tensor], coefficients: tuple[float, ...]
    ) -> Tensor:
        """Return start + Δt Σ coefficient · term."""
        for term, coefficient in zip(terms, coefficients, strict=True):
            if coefficient:
                start = torch.add(start, term, alpha=self.time_step * coefficient)
        return start
