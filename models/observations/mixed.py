"""The operator of any table: from the fields themselves, or from columns of model levels.

A row that names a level of the state, or a variable that the state has at the surface or on pressure
levels, is interpolated as it is (`models.observations.operator`). Every other one is made from the
columns of the state (`models.observations.equivalents`): real observations on sigma levels, with
their pressure or, at a station, their elevation. What the state cannot be compared with has a reason.

For what is no state, such as standard deviations and positions, each row has a linear stencil: the
derivative of the operator at a standard atmosphere, as far as it matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.observations.columns import Column, Places, places_of
from models.observations.comparable import from_columns
from models.observations.equivalents import EQUIVALENTS
from models.observations.linear_stencil import linear_stencil
from models.observations.operator import InterpolationOperator
from models.observations.terrain import terrain_of
from models.state import StateSpec

__all__ = ["MixedOperator", "ObservationOperator", "build_operator"]


class ObservationOperator(Protocol):
    """H: a function from states to observation space, differentiable in both modes."""

    @property
    def index(self) -> Int[Tensor, "obs stencil"]:
        """Positions in the flattened state that the linear stencil has."""

    @property
    def weight(self) -> Float[Tensor, "obs stencil"]:
        """Its weights."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (field, lat, lon) of a state."""

    def __call__(self, x: Float[Tensor, "batch field lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return H(x)."""

    def absolute(self) -> InterpolationOperator:
        """Return the linear operator that interpolates standard deviations."""

    def to(self, device: torch.device | str) -> "ObservationOperator":
        """Return the operator on another device."""


@dataclass(frozen=True)
class ColumnPart:
    """The operator of some observations of one variable."""

    variable: str
    places: Places

    def __call__(self, x: Float[Tensor, "batch field lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return H(x)."""
        return EQUIVALENTS[self.variable][0](Column(x, self.places))


@dataclass(frozen=True)
class MixedOperator:
    """H of a table with rows of several kinds.

    Attributes:
        plain: The operator of the rows that are interpolated as they are.
        parts: Those of the others, by variable.
        order: Position of each row in the concatenation of all.
        linear: The linear stencil of all rows.
    """

    plain: InterpolationOperator
    parts: Sequence[ColumnPart]
    order: Int[Tensor, "obs"]
    linear: InterpolationOperator

    @property
    def index(self) -> Int[Tensor, "obs stencil"]:
        """Positions in the flattened state that the linear stencil has."""
        return self.linear.index

    @property
    def weight(self) -> Float[Tensor, "obs stencil"]:
        """Its weights."""
        return self.linear.weight

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (field, lat, lon) of a state."""
        return self.linear.shape

    def __call__(self, x: Float[Tensor, "batch field lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return H(x)."""
        values = torch.cat([self.plain(x), *(part(x) for part in self.parts)], 1)
        return values.index_select(1, self.order)

    def absolute(self) -> InterpolationOperator:
        """Return the linear operator that interpolates standard deviations."""
        return self.linear.absolute()

    def to(self, device: torch.device | str) -> "MixedOperator":
        """Return the operator on another device."""
        parts = [replace(part, places=part.places.to(device)) for part in self.parts]
        return MixedOperator(
            self.plain.to(device), parts, self.order.to(device), self.linear.to(device)
        )


def build_operator(table: pd.DataFrame, spec: StateSpec) -> ObservationOperator:
    """Build H for all rows of a table of observations.

    Raises:
        ValueError: The state cannot be compared with a row; the message has the first reason and
            the number of such rows.
    """
    columns = from_columns(table, spec)
    if not columns.any():
        return InterpolationOperator.from_table(table, spec)
    plain = InterpolationOperator.from_table(table[~columns], spec)
    variable, terrain = table["variable"].to_numpy(object), terrain_of(spec)
    rows, parts = [np.flatnonzero(~columns)], []
    linear = [(plain.absolute().index, plain.absolute().weight)]
    for name in sorted(set(variable[columns])):
        own = np.flatnonzero(columns & (variable == name))
        places = places_of(table.iloc[own], spec, terrain)
        rows.append(own)
        parts.append(ColumnPart(name, places))
        linear.append(linear_stencil(name, places, spec))
    order = torch.from_numpy(np.argsort(np.concatenate(rows), kind="stable"))
    index, weight = _joined(linear)
    whole = InterpolationOperator(index[order], weight[order], spec.shape)
    return MixedOperator(plain, parts, order, whole)


def _joined(
    stencils: Sequence[tuple[Tensor, Tensor]],
) -> tuple[Int[Tensor, "obs stencil"], Float[Tensor, "obs stencil"]]:
    """Put stencils below each other, padded with weight 0."""
    width = max(index.shape[1] for index, _ in stencils)
    indices, weights = [], []
    for index, weight in stencils:
        missing = width - index.shape[1]
        indices.append(torch.cat([index, index[:, :1].expand(-1, missing)], 1))
        weights.append(torch.nn.functional.pad(weight.float(), (0, missing)))
    return torch.cat(indices), torch.cat(weights)
