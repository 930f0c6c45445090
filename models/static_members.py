"""Static members beside those of the ensemble: a hybrid covariance for an ensemble filter.

With the members' perturbations X (m of them) and K draws S from a static covariance B, centered and
with a size a, the filter is that of the covariance

    P = X Xᵀ / (m − 1) + a² S Sᵀ / (K − 1) = Z Zᵀ / (N − 1),    N = m + K,

where Z holds the columns √((N − 1)/(m − 1)) X and a √((N − 1)/(K − 1)) S. The static members are
drawn again at each cycle and are not forecast: they give the increments directions that the
members do not span and errors that the forecasts do not show. The mean gets the increment of the
Kalman filter with P, and the members' perturbations become (I + P Hᵀ R⁻¹ H)^-½ X.

References:
    | Kretschmer, Hunt & Ott (2015), Data assimilation using a climatologically augmented local
    | ensemble transform Kalman filter, doi 10.3402/tellusa.v67.26617
    | Hamill & Snyder (2000), A hybrid ensemble Kalman filter–3D variational analysis scheme,
    | doi 10.1175/1520-0493(2000)128<2905:AHEKFV>2.0.CO;2
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from models.inflation import centered

__all__ = ["Draws", "StaticMembers", "joint", "own"]

Draws = Callable[[Sequence[torch.Generator]], Tensor]


@dataclass(frozen=True)
class StaticMembers:
    """What can be chosen; by default there are none.

    Attributes:
        count: Number K of static members.
        size: Size a of their perturbations [1].
    """

    count: int = 0
    size: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        if self.count < 0 or self.count == 1:
            raise ValueError(f"static members {self.count}: allowed is 0, or 2 and more")
        if not self.size > 0:
            raise ValueError(f"size of static members {self.size}: allowed is a positive number")

    def perturbations(
        self, draws: Draws, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "static field lat lon"]:
        """Return a S: as many draws as it takes, one for each generator at a time [SI]."""
        times = math.ceil(self.count / len(generators))
        drawn = torch.cat([draws(generators) for _ in range(times)])[: self.count]
        return self.size * centered(drawn)[1]


def joint(
    members: Float[Tensor, "member *rest"], static: Float[Tensor, "static *rest"]
) -> Float[Tensor, "joint *rest"]:
    """Return the columns of Z; the members' own where there are no static ones."""
    if not len(static):
        return members
    degrees = len(members) + len(static) - 1
    parts = [math.sqrt(degrees / (len(part) - 1)) * part for part in (members, static)]
    return torch.cat(parts)


def own(change: Float[Tensor, "member *rest"], total: int) -> Float[Tensor, "member *rest"]:
    """Return the change of the members' perturbations.

    Args:
        change: That of the members' columns of Z.
        total: Number N of columns.
    """
    # the columns of X add to 0, and so do their changes, but for rounding
    return math.sqrt((len(change) - 1) / (total - 1)) * centered(change)[1]
