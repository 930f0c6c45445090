"""The ensemble transform of every column, from the observations around it.

With the m members' perturbations X_b, those of their equivalents Y, the innovation d = y − ȳ and
the localized precision R̃⁻¹ of the observations, the analysis is x̄_b + X_b (w̄ 1ᵀ + W),

    A = Yᵀ R̃⁻¹ Y = V Λ Vᵀ,    P̃ = [(m − 1) I + A]⁻¹ = V (m − 1 + Λ)⁻¹ Vᵀ,
    w̄ = P̃ Yᵀ R̃⁻¹ d,          W = [(m − 1) P̃]^½.

The symmetric square root keeps the mean and is the nearest to the identity, so that the weights
vary smoothly from column to column.

The sum over observations is made in two steps. R̃⁻¹ is a product of a factor of horizontal distance
and one of everything else, so that for each target the observations at one horizontal position sum
to one matrix Yᵀ R̃⁻¹ (Y, d), and those of all columns are one product with the horizontal tapers
(columns, positions). The eigenvectors take most of the time. Columns with few observations take
those of Y Yᵀ instead, U Λ Uᵀ in the space of the observations, with V = Yᵀ U Λ^-½.

References:
    | Hunt, Kostelich & Szunyogh (2007), Efficient data assimilation for spatiotemporal chaos: a
    | local ensemble transform Kalman filter, section 2.3, doi 10.1016/j.physd.2006.11.008
    | Ott et al. (2004), A local ensemble Kalman filter for atmospheric data assimilation,
    | doi 10.1111/j.1600-0870.2004.00076.x
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.localization import (
    LocalizationTarget,
    ObservationLocalization,
    great_circle_distance,
)
from models.observations.positions import (
    ObservationPositions,
    Profiles,
    group_profiles,
    unit_vectors,
)

__all__ = [
    "LocalObservations",
    "LocalSums",
    "ensemble_transform",
    "observation_transform",
    "pieces",
]

#: Up to this many observations for each member the space of the observations is the cheaper one.
FEW = 0.8


@dataclass(frozen=True)
class LocalSums:
    """The observations of one target, without the horizontal weight.

    Attributes:
        taper: Horizontal weight of the positions in each column [1].
        sums: Yᵀ R̃⁻¹ (Y, d) of each position [1].
        rows: R̃^-½ (Y, d) of each observation [1].
        profile: The position of each observation, in the order of the tapers.
    """

    taper: Float[Tensor, "column profile"]
    sums: Float[Tensor, "profile member member_and_1"]
    rows: Float[Tensor, "obs member_and_1"]
    profile: Int[Tensor, "obs"]

    @property
    def members(self) -> int:
        """Number of members."""
        return self.sums.shape[1]

    def transforms(self, chunk: int) -> Iterator[tuple[Int[Tensor, "part"], Tensor]]:
        """Yield the columns that observations reach, some at a time, and their transforms."""
        profiles = torch.bincount(self.profile, minlength=self.taper.shape[1])
        count = ((self.taper > 0).float() @ profiles.float()).long()
        few = count <= FEW * self.members
        for part in pieces((~few).nonzero()[:, 0], chunk):
            yield part, self.of_many(part)
        order = count.argsort(stable=True)
        for part in pieces(order[(few & (count > 0))[order]], chunk):
            yield part, self.of_few(part, int(count[part[-1]]))

    def of_many(self, part: Int[Tensor, "part"]) -> Float[Tensor, "part member member"]:
        """Return the transforms of some columns in the space of the members."""
        taper = self.taper[part]
        near = (taper > 0).any(0)
        total = taper[:, near] @ self.sums[near].flatten(1)
        total = total.reshape(len(part), *self.sums.shape[1:])
        return ensemble_transform(total[..., :-1], total[..., -1])

    def of_few(self, part: Int[Tensor, "part"], most: int) -> Float[Tensor, "part member member"]:
        """Return the transforms of some columns in the space of at most `most` observations."""
        weight, near = self.taper[part][:, self.profile].topk(most, dim=1)
        rows = weight.sqrt()[..., None] * self.rows[near]
        return observation_transform(rows[..., :-1], rows[..., -1])


class LocalObservations:
    """Equivalents and innovations, by horizontal position."""

    def __init__(
        self,
        departures: Float[Tensor, "member_and_1 obs"],
        positions: ObservationPositions,
        columns: Float[Tensor, "column 3"],
        localization: ObservationLocalization,
    ) -> None:
        """Gather the observations of each position.

        Args:
            departures: Perturbations of the members' equivalents and, last, the innovation, in
                units of the observation error [1].
            positions: Where the observations are.
            columns: Unit vectors of the columns.
            localization: How far and on what observations act.
        """
        self.positions, self.localization = positions, localization
        self.profiles: Profiles = group_profiles(positions)
        self.departures = departures.T[self.profiles.index.to(departures.device)]
        centers = unit_vectors(self.profiles.latitude, self.profiles.longitude)
        places = (columns.to(departures.device), centers.to(departures.device))
        self.distance = great_circle_distance(*places)
        self.tapers: dict[float, Tensor] = {}

    def taper(self, half_width: float) -> Float[Tensor, "column profile"]:
        """Return the horizontal weights of the positions, kept for the next target [1]."""
        if half_width not in self.tapers:
            weight = self.localization.taper(self.distance, half_width)
            self.tapers[half_width] = weight.to(self.departures)
        return self.tapers[half_width]

    def sums(self, target: LocalizationTarget) -> LocalSums:
        """Sum the observations that can reach a target."""
        weight = target.weights(self.positions, self.localization)[self.profiles.index]
        weight = (weight * self.profiles.present).to(self.departures)
        seen = (weight > 0).any(1)
        weight, rows = weight[seen], self.departures[seen]
        profile, slot = weight.nonzero(as_tuple=True)
        return LocalSums(
            taper=self.taper(target.half_width)[:, seen],
            sums=(rows[..., :-1] * weight[..., None]).mT @ rows,
            rows=rows[profile, slot] * weight[profile, slot, None].sqrt(),
            profile=profile,
        )


def ensemble_transform(
    gram: Float[Tensor, "column member member"], moment: Float[Tensor, "column member"]
) -> Float[Tensor, "column member member"]:
    """Return w̄ 1ᵀ + W − I, by which X_b is multiplied from the right.

    Args:
        gram: A = Yᵀ R̃⁻¹ Y [1].
        moment: Yᵀ R̃⁻¹ d [1].
    """
    degrees = gram.shape[-1] - 1
    values, vectors = torch.linalg.eigh(gram)
    values = values.clamp(min=0)
    precision = degrees + values
    # √(k / (k + λ)) − 1 without the difference of nearly equal numbers
    root = -values / precision / (1 + (degrees / precision).sqrt())
    mean = vectors @ ((vectors.mT @ moment[..., None]) / precision[..., None])
    change: Tensor = (vectors * root[:, None]) @ vectors.mT
    # W 1 = 1; in single precision very good observations leave a part of λ = 0 in this direction
    change += mean - change.mean(-1, keepdim=True)
    return change


def observation_transform(
    y: Float[Tensor, "column obs member"], d: Float[Tensor, "column obs"]
) -> Float[Tensor, "column member member"]:
    """Return the same transform by the eigenvectors of Y Yᵀ, for fewer observations than members.

    Args:
        y: R̃^-½ Y [1].
        d: R̃^-½ d [1].
    """
    degrees = y.shape[-1] - 1
    values, vectors = torch.linalg.eigh(y @ y.mT)
    precision = degrees + values.clamp(min=0)
    root = -1 / precision / (1 + (degrees / precision).sqrt())
    along = vectors.mT @ y
    mean = along.mT @ ((vectors.mT @ d[..., None]) / precision[..., None])
    transform: Tensor = along.mT @ (along * root[..., None]) + mean
    return transform


def pieces(index: Int[Tensor, "column"], chunk: int) -> Iterator[Int[Tensor, "part"]]:
    """Return some of the columns at a time."""
    return (index[start : start + chunk] for start in range(0, len(index), chunk))
