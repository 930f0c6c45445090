"""Another model as a forecast model: states to channels, one or more of its steps, and back.

Models with steps Δ_1 > Δ_2 > …, each a multiple of the next, reach every multiple of the shortest;
the longest go first, as fewer steps make smaller errors. A model that takes the state Δ before as
well has memory: its states are two after each other along the fields,

    x = [x(t − Δ), x(t)]   →   [x(t + lead − Δ), x(t + lead)],

so that it can go on. Members go through the model one after the other, which bounds the memory.

References:
    | Bi et al. (2023), doi 10.1038/s41586-023-06185-3 (hierarchical temporal aggregation)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.forecast import ValidTime
from models.foreign.layouts import Engine, Layout
from models.foreign.mapping import StateMap

__all__ = ["ForeignForecast", "Normalization", "check_states", "hours", "steps_to"]

ZERO = pd.Timedelta(0)
States = Float[Tensor, "batch field lat lon"]


@dataclass(frozen=True)
class Normalization:
    """What the model is given instead of a channel c: (c − center) / scale."""

    center: Float[Tensor, "channel"]
    scale: Float[Tensor, "channel"]

    def to_model(self, c: Tensor) -> Tensor:
        """Normalize channels."""
        return (c - self.center[:, None, None]) / self.scale[:, None, None]

    def from_model(self, c: Tensor) -> Tensor:
        """Undo `to_model`."""
        return c * self.scale[:, None, None] + self.center[:, None, None]


@dataclass(frozen=True)
class ForeignForecast:
    """Forecasts by models with a published layout; implements the seam `ForecastModel`.

    Attributes:
        layout: What the models take and give.
        mapping: The way between states and channels.
        engines: The model of each step.
        normalization: Of the channels, if there is one.
    """

    layout: Layout
    mapping: StateMap
    engines: Mapping[pd.Timedelta, Engine]
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        """Refuse steps that cannot be put together."""
        steps = self.steps
        for longer, shorter in pairwise(steps):
            if longer % shorter:
                raise ValueError(f"a step of {hours(longer)} is no multiple of {hours(shorter)}")
        if self.layout.states > 1 and len(steps) > 1:
            raise ValueError(f"models with memory have one step, not {len(steps)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (field, lat, lon) of a state."""
        mapping = self.mapping
        return len(mapping.fields), len(mapping.rows), len(mapping.columns)

    @property
    def steps(self) -> list[pd.Timedelta]:
        """The models' steps, longest first."""
        return sorted(self.engines, reverse=True)

    @property
    def native_step(self) -> pd.Timedelta:
        """The shortest step."""
        return self.steps[-1]

    @property
    def history(self) -> pd.Timedelta | None:
        """How long before the states others are needed; None without memory."""
        return self.native_step if self.layout.states > 1 else None

    def step(self, x: States, valid_time: ValidTime, lead: pd.Timedelta) -> States:
        """Return the states `lead` after `valid_time` [SI].

        Args:
            x: States valid at `valid_time` [SI]; with memory, after those before them.
            valid_time: Time of the states, UTC; these models ask for none.
            lead: How far to go, a sum of the models' steps.

        Raises:
            ValueError: The lead is no such sum, or the states do not fit.
            FloatingPointError: The model gave values that are not finite.
        """
        plan = steps_to(lead, self.steps)
        check_states(x, self.shape, self.history)
        return torch.stack([self._member(state, plan) for state in x.cpu()]).to(x.device)

    @torch.no_grad()
    def _member(self, x: Tensor, plan: Sequence[pd.Timedelta]) -> Tensor:
        """Carry one state, or one after the one before it, over some steps."""
        c = self.mapping.to_channels(x.reshape(self.layout.states, -1, *x.shape[1:]))
        if self.normalization is not None:
            c = self.normalization.to_model(c)
        for step in plan:
            engine = self.engines[step]
            outputs = engine(self.layout.inputs(c, list(engine.shapes)))
            new = self.layout.output(outputs, (self.shape[1], self.shape[2]))
            if not new.isfinite().all():
                raise FloatingPointError("the forecast model gave values that are not finite")
            c = torch.cat([c[1:], new[None].to(c)])
        if self.normalization is not None:
            c = self.normalization.from_model(c)
        return self.mapping.to_states(c).flatten(0, 1)


def steps_to(lead: pd.Timedelta, steps: Sequence[pd.Timedelta]) -> list[pd.Timedelta]:
    """Return the steps, longest first, that make up a lead.

    Raises:
        ValueError: There are none.
    """
    plan, left = [], lead
    for step in steps:
        count = max(left // step, 0)
        plan += [step] * count
        left -= count * step
    if left != ZERO:
        own = ", ".join(hours(step) for step in steps)
        raise ValueError(f"lead {hours(lead)}: the forecast model's steps are {own}, or sums")
    return plan


def check_states(x: Tensor, shape: tuple[int, int, int], history: pd.Timedelta | None) -> None:
    """Refuse states of another shape, or without those before them."""
    fields = shape[0] * (1 if history is None else 2)
    if history is not None and x.ndim == 4 and x.shape[1] == shape[0]:
        raise ValueError(f"the forecast model also needs the states {hours(history)} before")
    if x.ndim != 4 or tuple(x.shape[1:]) != (fields, *shape[1:]):
        raise ValueError(f"states have the shape {tuple(x.shape[1:])}, expected {shape}")


def hours(lead: pd.Timedelta) -> str:
    """Return a lead time for a message."""
    return f"{lead / pd.Timedelta(hours=1):g} h"
