"""Keeping an ensemble's spread: inflation of the prior, and relaxation of the posterior to it.

Localized filters of few members, with a model that is wrong, underestimate their error. With X the
perturbations of the members about their mean, before (X_b) and after (X_a) the analysis:

- multiplicative: X_b ← c X_b, with a chosen c, and a factor from the innovations d = y − H x̄_b of
  the same cycle, c² = (⟨d²/R⟩ − 1) / ⟨s²/R⟩, where s is the spread of the equivalents, bounded;
- additive: x_b ← x_b + a (e − ē), one draw e of the model error for each member;
- relaxation to prior perturbations: X_a ← (1 − α) X_a + α X_b;
- relaxation to prior spread: X_a ← X_a (1 + α (σ_b − σ_a) / σ_a), σ the spread at each point.

Nothing is kept from one cycle to the next.

References:
    | Anderson & Anderson (1999), A Monte Carlo implementation of the nonlinear filtering problem,
    | doi 10.1175/1520-0493(1999)127<2741:AMCIOT>2.0.CO;2
    | Wang & Bishop (2003), A comparison of breeding and ensemble transform Kalman filter ensemble
    | forecast schemes, doi 10.1175/1520-0469(2003)060<1140:ACOBAE>2.0.CO;2
    | Zhang, Snyder & Sun (2004), Impacts of initial estimate and observation availability on
    | convective-scale data assimilation, doi 10.1175/1520-0493(2004)132<1238:IOIEAO>2.0.CO;2
    | Whitaker & Hamill (2012), Evaluating methods to account for system errors in ensemble data
    | assimilation, doi 10.1175/MWR-D-11-00276.1
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Inflation", "centered"]


@dataclass(frozen=True)
class Inflation:
    """What is done for the spread; by default nothing.

    Attributes:
        factor: Factor c on the prior perturbations [1]; 1 for none.
        adaptive: Smallest and largest additional factor from the innovations [1]; None for none.
        additive: Size a of the draws of the model error [1]; 0 for none.
        to_perturbations: Weight α of the relaxation to prior perturbations [1]; 0 for none.
        to_spread: Weight α of the relaxation to prior spread [1]; 0 for none.
    """

    factor: float = 1.0
    adaptive: tuple[float, float] | None = None
    additive: float = 0.0
    to_perturbations: float = 0.0
    to_spread: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        if not self.factor > 0:
            raise ValueError(f"inflation factor {self.factor}: allowed is a positive number")
        if self.adaptive is not None and not 0 < self.adaptive[0] <= self.adaptive[1]:
            raise ValueError(f"bounds {self.adaptive}: allowed are two rising positive numbers")
        if not self.additive >= 0:
            raise ValueError(f"additive inflation {self.additive}: allowed is 0 and more")
        if not 0 <= self.to_perturbations <= 1:
            text = "relaxation to perturbations"
            raise ValueError(f"{text} {self.to_perturbations}: allowed is 0 to 1")
        if not self.to_spread >= 0:
            raise ValueError(f"relaxation to spread {self.to_spread}: allowed is 0 and more")

    def prior_factor(
        self,
        innovation: Float[Tensor, "obs"],
        perturbation: Float[Tensor, "member obs"],
        error: Float[Tensor, "obs"],
    ) -> float:
        """Return the factor on the prior perturbations, chosen and adaptive [1].

        Args:
            innovation: Observations minus the mean equivalents [SI].
            perturbation: Equivalents of the members minus their mean [SI].
            error: Observation-error standard deviations [SI].
        """
        if self.adaptive is None or not len(innovation):
            return self.factor
        lower, upper = self.adaptive
        excess = (innovation / error).square().mean() - 1
        expected = (perturbation / error).var(0).mean()
        ratio = excess / expected.clamp(min=torch.finfo(expected.dtype).tiny)
        return self.factor * float(ratio.clamp(lower**2, upper**2).sqrt())

    def relax(
        self,
        posterior: Float[Tensor, "member field lat lon"],
        prior: Float[Tensor, "member field lat lon"],
    ) -> Float[Tensor, "member field lat lon"]:
        """Return the relaxed perturbations; exactly the prior's where nothing was analyzed.

        Args:
            posterior: Analysis perturbations X_a [SI].
            prior: Perturbations X_b that were analyzed [SI].
        """
        if self.to_perturbations:
            posterior = prior + (1 - self.to_perturbations) * (posterior - prior)
        if self.to_spread:
            before, after = prior.std(0), posterior.std(0)
            ratio = torch.where(after > 0, (before - after) / after, 0.0)
            posterior = posterior + self.to_spread * ratio * posterior
        return posterior


def centered(
    x: Float[Tensor, "member *rest"],
) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "member *rest"]]:
    """Return the mean over members and the perturbations about it.

    A second pass takes off what single precision left in the perturbations of large values, such
    as some 10 Pa in 10⁵ Pa.
    """
    mean = x.mean(0)
    perturbation = x - mean
    rest = perturbation.mean(0)
    return mean + rest, perturbation - rest
