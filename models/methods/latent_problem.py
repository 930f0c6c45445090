"""The problem that a latent method solves, in the coordinates of the background.

    d(r) = R^{-½} (y − H a(r)),    a(r) = a_b + decode(z_b + b + s e^ℓ r) − decode(z_b):

departures d as a function of the standardized residual r (see `models.latent_frame`). Problems of
one ensemble share the expected error ℓ, and its map if there is one, and know the perturbations of
all its members, so that they can be solved in parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from models.latent_frame import LatentFrame
from models.local_error import of_ensemble
from models.observations.anomalies import AnomalyObservations

__all__ = ["LatentProblem", "of_one_ensemble"]


@dataclass(frozen=True)
class LatentProblem:
    """One batch of analyses in latent coordinates.

    Attributes:
        frame: The coordinates.
        observed: The observations.
        error: Root of the diagonal of R, in the observations' units.
        season: Functions of the valid time.
        perturbations: Deviations of z_b + b of all members of the ensemble from their mean, in
            units of s e^ℓ; None for analyses that do not belong together.
    """

    frame: LatentFrame
    observed: AnomalyObservations
    error: Float[Tensor, "batch obs"]
    season: Float[Tensor, "batch basis"]
    perturbations: Float[Tensor, "member channel latent_lat latent_lon"] | None = None

    @property
    def ensemble(self) -> bool:
        """Whether the batch is of one ensemble, not of independent analyses."""
        return self.perturbations is not None

    def departure(self, r: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return d(r), the observations minus their equivalents over their error."""
        return (self.observed.y - self.observed.observe(self.frame.anomaly(r))) / self.error

    @property
    def condition(self) -> dict[str, Tensor]:
        """The keyword arguments of the prior's denoiser."""
        return {"z_b": self.frame.z_b, "level": self.frame.level, "season": self.season}


def of_one_ensemble(problems: Sequence[LatentProblem]) -> list[LatentProblem]:
    """Return problems as parts of one ensemble: ℓ is the mean over all members, and its map, too."""
    level = torch.cat([problem.frame.level for problem in problems]).mean()
    maps = [p.frame.relief for p in problems if p.frame.relief is not None]
    relief = of_ensemble(torch.cat(maps)) if maps else None
    frames = [
        p.frame.with_level(
            level.expand(members), None if relief is None else relief.expand(members, -1, -1, -1)
        )
        for p in problems
        for members in [len(p.frame.level)]
    ]
    center = torch.cat([frame.center for frame in frames])
    perturbations = (center - center.mean(0)) / frames[0].scale[:1]
    pairs = zip(problems, frames, strict=True)
    return [replace(p, frame=frame, perturbations=perturbations) for p, frame in pairs]
