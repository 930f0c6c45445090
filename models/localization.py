"""Localization of observations: the farther an observation, the larger its error (R-localization).

In the analysis of the variable v at a column and level, an observation of the variable w with the
error covariance R has the precision

    ρ(s / h_v) ρ(|ζ − ζ_o| / h_ζ) f_wv R⁻¹,

where s is the great-circle distance, ζ = ln σ or ln p the vertical coordinate, ρ the function of
Gaspari and Cohn, and f_wv a damping between variables. A taper below a smallest weight is taken as
0, so that far observations cost nothing. Fields with the same three factors share their
analysis weights: they are one target. Variables at the surface share those of the lowest level.

References:
    | Hunt, Kostelich & Szunyogh (2007), Efficient data assimilation for spatiotemporal chaos: a
    | local ensemble transform Kalman filter, section 3.2, doi 10.1016/j.physd.2006.11.008
    | Greybush et al. (2011), Balance and ensemble Kalman filter localization techniques,
    | doi 10.1175/2010MWR3328.1
    | Gaspari & Cohn (1999), Construction of correlation functions, doi 10.1002/qj.49712555417
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from models.covariance import gaspari_cohn
from models.observations.positions import ObservationPositions, level_coordinates
from models.state import StateSpec
from models.world.constants import EARTH

__all__ = [
    "LocalizationTarget",
    "ObservationLocalization",
    "great_circle_distance",
    "localization_targets",
]

KILOMETER = 1000.0


@dataclass(frozen=True)
class ObservationLocalization:
    """How far and on what observations act; the support of a taper is twice its half-width.

    Attributes:
        half_width: Half-width of the horizontal taper [km]; infinite for none.
        half_widths: Half-widths of single analyzed variables that differ from it [km].
        vertical: Half-width of the vertical taper in ln σ or ln p [1]; infinite for none.
        damping: Factor on the weights, by observed and then analyzed variable [1]; 1 if not named.
        smallest: Tapers below this are taken as 0 [1].
    """

    half_width: float = 1250.0
    half_widths: Mapping[str, float] = field(default_factory=dict)
    vertical: float = 0.7
    damping: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    smallest: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        widths = {"half_width": self.half_width, "vertical": self.vertical, **self.half_widths}
        for name, width in widths.items():
            if not width > 0:
                raise ValueError(f"localization of {name}: {width}, allowed is a positive number")
        for observed, factors in self.damping.items():
            for analyzed, factor in factors.items():
                if not 0 <= factor <= 1:
                    pair = f"{observed} on {analyzed}"
                    raise ValueError(f"damping of {pair}: {factor}, allowed is 0 to 1")
        if not 0 <= self.smallest < 1:
            raise ValueError(f"smallest weight {self.smallest}: allowed is 0 to less than 1")

    def require_known(self, names: Sequence[str]) -> None:
        """Refuse variables that the state does not have."""
        pairs = [*self.damping.values(), self.half_widths, self.damping]
        unknown = [name for mapping in pairs for name in mapping if name not in names]
        if unknown:
            raise ValueError(f"localization of {unknown[0]!r}: allowed are {', '.join(names)}")

    def taper(
        self, distance: Float[Tensor, "*place"], half_width: float
    ) -> Float[Tensor, "*place"]:
        """Return the weight at a distance in the unit of the half-width [1]."""
        weight = gaspari_cohn(distance, half_width)
        return torch.where(weight < self.smallest, 0.0, weight)


@dataclass(frozen=True)
class LocalizationTarget:
    """Fields that have the same localization, and so the same analysis weights.

    Attributes:
        fields: Positions of the fields in the state.
        half_width: Half-width of the horizontal taper [km].
        level: Vertical coordinate ζ [1].
        damping: Factor on the weight of observations of each field [1].
    """

    fields: tuple[int, ...]
    half_width: float
    level: float
    damping: tuple[float, ...]

    def weights(
        self, positions: ObservationPositions, localization: ObservationLocalization
    ) -> Float[Tensor, "obs"]:
        """Return the factors of the weights that do not depend on horizontal distance [1]."""
        distance = positions.level - self.level
        vertical = localization.taper(distance, localization.vertical)
        return vertical * torch.tensor(self.damping, dtype=distance.dtype)[positions.field]


def localization_targets(
    spec: StateSpec, localization: ObservationLocalization, counts: Sequence[bool]
) -> tuple[LocalizationTarget, ...]:
    """Group the fields by their localization.

    Args:
        spec: The state.
        localization: How far and on what observations act.
        counts: Fields to analyze; the others are in no target.

    Raises:
        ValueError: The localization names a variable that the state does not have.
    """
    localization.require_known([variable.name for variable in spec.variables])
    coordinate = level_coordinates(spec).tolist()
    pairs = zip(coordinate, spec.fields, strict=True)
    lowest = max((c for c, f in pairs if f.level is not None), default=0.0)
    everywhere = math.isinf(localization.vertical)
    groups: dict[tuple[float, float, tuple[float, ...]], list[int]] = {}
    for number, (variable, own) in enumerate(spec.fields):
        level = lowest if own is None else coordinate[number]
        half_width = localization.half_widths.get(variable, localization.half_width)
        damping = tuple(
            localization.damping.get(observed.variable, {}).get(variable, 1.0)
            for observed in spec.fields
        )
        if counts[number]:
            key = (half_width, 0.0 if everywhere else level, damping)
            groups.setdefault(key, []).append(number)
    return tuple(LocalizationTarget(tuple(group), *key) for key, group in groups.items())


def great_circle_distance(
    a: Float[Tensor, "point 3"], b: Float[Tensor, "other 3"]
) -> Float[Tensor, "point other"]:
    """Return the distances between unit vectors along the Earth's surface [km]."""
    chord = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return 2 * EARTH.radius / KILOMETER * torch.asin((chord / 2).clamp(max=1))
