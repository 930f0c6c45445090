"""The forecast model seam: state at one time → state a lead time later, batched over members.

A model with memory has an attribute `history`: how long before its states it needs others. It
carries both, one after the other along the fields (`with_history`, `latest`, `before`).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "Around",
    "ForecastModel",
    "Persistence",
    "ValidTime",
    "before",
    "each_time",
    "history_of",
    "latest",
    "trajectory",
    "with_history",
]

ValidTime = pd.Timestamp | Sequence[pd.Timestamp]


@runtime_checkable
class ForecastModel(Protocol):
    """Anything that carries states forward in time."""

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time`.

        Args:
            x: States valid at `valid_time`, in SI units.
            valid_time: Time of the states, UTC; one for all, or one for each.
            lead: How far to go, a multiple of the model's own step.

        Returns:
            The states at `valid_time + lead`, in SI units.

        Raises:
            ValueError: The lead is not a multiple of the model's step.
        """
        ...


class Persistence:
    """The baseline forecast: nothing changes."""

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states unchanged."""
        return x


class Around:
    """A forecast model around another, with its memory; a subclass says how it steps."""

    def __init__(self, model: ForecastModel) -> None:
        """Wrap a model."""
        self.model = model

    @property
    def history(self) -> pd.Timedelta | None:
        """How long before its states the model needs others."""
        return history_of(self.model)


def each_time(valid_time: ValidTime, count: int) -> list[pd.Timestamp]:
    """Return one time for each of `count` states.

    Raises:
        ValueError: The number of times is not the number of states.
    """
    if isinstance(valid_time, pd.Timestamp):
        return [valid_time] * count
    if len(valid_time) != count:
        raise ValueError(f"{len(valid_time)} times for {count} states, allowed are 1 or {count}")
    return list(valid_time)


def trajectory(
    model: ForecastModel,
    x: Float[Tensor, "batch field lat lon"],
    valid_time: pd.Timestamp,
    times: Iterable[pd.Timestamp],
) -> dict[pd.Timestamp, Float[Tensor, "batch field lat lon"]]:
    """Return the states at some times of one forecast, in order.

    Args:
        model: The forecast model.
        x: States valid at `valid_time` [SI].
        valid_time: Time of the states, UTC.
        times: When states are wanted; not before `valid_time`.

    Raises:
        ValueError: A time is before the states', or the model has no step to it.
    """
    found: dict[pd.Timestamp, Tensor] = {}
    for time in sorted(times):
        if time < valid_time:
            raise ValueError(f"no forecast goes back from {valid_time} to {time}")
        if time > valid_time:
            x = model.step(x, valid_time, time - valid_time)
        found[time], valid_time = x, time
    return found


def history_of(model: ForecastModel) -> pd.Timedelta | None:
    """Return how long before its states a model needs others; None for one without memory."""
    history: pd.Timedelta | None = getattr(model, "history", None)
    return history


def with_history(
    x_before: Float[Tensor, "batch field lat lon"] | None, x: Float[Tensor, "batch field lat lon"]
) -> Tensor:
    """Return what a model steps: states, after those before them if it has memory."""
    return x if x_before is None else torch.cat([x_before, x], 1)


def latest(x: Tensor, fields: int) -> Float[Tensor, "batch field lat lon"]:
    """Return the states themselves of what a model steps."""
    return x[:, -fields:]


def before(x: Tensor, fields: int) -> Float[Tensor, "batch field lat lon"]:
    """Return the states before of what a model with memory steps."""
    return x[:, :fields]
