"""The seam of the assimilation methods: (background, observations, generators) → analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.observations.batch import Observations

__all__ = ["Analysis", "AssimilationMethod"]


@dataclass(frozen=True)
class Analysis:
    """What a method returns.

    Attributes:
        x_a: Analysis, one state for each member, in SI units.
        trace: Cost function at each step of the method.
        seconds: Seconds spent in each part.
        expected_error: Root-mean-square background error expected from the innovations, each field
            in units of its 24 h background error; NaN if not estimated.
        background_error: Expected background error at the observations, in their units, if known.
    """

    x_a: Float[Tensor, "member field lat lon"]
    trace: tuple[dict[str, float], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    expected_error: float = float("nan")
    background_error: Float[Tensor, "obs"] | None = None


@runtime_checkable
class AssimilationMethod(Protocol):
    """Anything that makes an analysis of a background and observations."""

    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis.

        Args:
            x_b: Background, one state for each member, in SI units.
            valid_time: Time of the background, UTC.
            observations: What is assimilated.
            generators: One random generator for each member.
        """
        ...
