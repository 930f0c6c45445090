"""A learned forecast model for gridded states, global or regional, with one native step (24 h).

In normalized anomalies a the step is a linear map plus a residual convolutional network f,

    a(t + Δ) = L a(t) + f(a, L a, season of t, place),

where L is the ridge regression of a(t + Δ) on a(t): of the whole state on the whole state where
the state is small, of each point on its 3 × 3 neighborhood (the same everywhere) where it is not.
The network may see patches of points as channels: for the same operations it is wider and sees farther.
Both parts are fitted to minimize the squared error of the forecast from a disturbed state
a + ε, ε ~ N(0, σ²), since a cycle starts from analyses, never from the truth. For the linear part
that is ridge regression with the penalty N σ² (Bishop 1995).

References:
    | Bishop (1995), Training with noise is equivalent to Tikhonov regularization,
    | doi 10.1162/neco.1995.7.1.108
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.forecast import ValidTime, each_time
from models.grid import LatLonGrid
from models.networks import (
    Convolution,
    ResidualBlock,
    Topology,
    downsample,
    pad_edges,
    upsample,
)
from models.normalization import Statistics
from models.state import StateSpec

__all__ = ["Emulator", "EmulatorShape", "sphere_coordinates"]

DENSE_LIMIT = 1024
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class EmulatorShape:
    """Everything that fixes the architecture.

    Attributes:
        fields: Number of fields of a state.
        grid: Latitudes and longitudes of a state.
        wraps: Whether longitude is a circle.
        poles: Whether the grid reaches the poles.
        basis: Functions of time in the climatology.
        hours: Native step [h].
        dense: Whether the linear part maps the whole state, not a neighborhood.
        hidden: Channels of the network.
        blocks: Residual blocks of the network.
        patch: Points per side of the patches that the network sees as channels.
    """

    fields: int
    grid: tuple[int, int]
    wraps: bool
    poles: bool
    basis: int
    hours: int = 24
    dense: bool = True
    hidden: int = 32
    blocks: int = 3
    patch: int = 1

    @classmethod
    def of(
        cls,
        spec: StateSpec,
        statistics: Statistics,
        hours: int = 24,
        hidden: int = 32,
        blocks: int = 3,
        patch: int = 1,
    ) -> "EmulatorShape":
        """Return the architecture for a state."""
        grid, basis = spec.grid, len(statistics.coefficients)
        dense = int(np.prod(spec.shape)) <= DENSE_LIMIT
        edges, size = (grid.wraps, grid.reaches_poles), (hidden, blocks, patch)
        return cls(spec.n_fields, grid.shape, *edges, basis, hours, dense, *size)

    @classmethod
    def from_dict(cls, card: Mapping[str, Any]) -> "EmulatorShape":
        """Undo `to_dict`."""
        return cls(**dict(card) | {"grid": tuple(card["grid"])})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for a checkpoint card."""
        return asdict(self)

    @property
    def topology(self) -> Topology:
        """The topology of the grid."""
        return Topology(self.wraps, self.poles)


class Emulator(nn.Module):
    """A learned forecast model; implements the seam `ForecastModel`."""

    linear: Tensor
    features: Tensor

    def __init__(
        self,
        shape: EmulatorShape,
        statistics: Statistics,
        features: Float[Tensor, "feature lat lon"],
    ) -> None:
        """Create the emulator, at first the forecast of no anomaly.

        Args:
            shape: The architecture.
            statistics: Climatology and scales of the fields.
            features: What tells the places apart [1], such as `sphere_coordinates`.
        """
        super().__init__()
        self.shape, self.statistics = shape, statistics
        size = shape.fields * shape.grid[0] * shape.grid[1]
        local = (shape.fields, shape.fields, 3, 3)
        self.register_buffer("linear", torch.zeros((size, size) if shape.dense else local))
        self.register_buffer("features", features.clone())
        inputs, points = 2 * shape.fields + shape.basis - 1 + len(features), shape.patch**2
        self.head = nn.Conv2d(points * inputs, shape.hidden, 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(shape.hidden, shape.topology) for _ in range(shape.blocks)
        )
        self.tail = Convolution(shape.hidden, points * shape.fields, shape.topology).zeroed()

    @classmethod
    def from_tensors(
        cls, shape: EmulatorShape, tensors: Mapping[str, Tensor], statistics: Statistics
    ) -> "Emulator":
        """Create the emulator from what `tensors` returned and the statistics it belongs to."""
        emulator = cls(shape, statistics, tensors["features"])
        own = {f"statistics.{name}": value for name, value in statistics.state_dict().items()}
        emulator.load_state_dict(dict(tensors) | own)
        return emulator.requires_grad_(False).eval()

    @property
    def native_step(self) -> pd.Timedelta:
        """The step the emulator was trained for."""
        return pd.Timedelta(hours=self.shape.hours)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights for a checkpoint; the statistics are a component of their own."""
        state = self.state_dict()
        own = {name: value for name, value in state.items() if not name.startswith("statistics.")}
        return {name: value.contiguous() for name, value in own.items()}

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time` [SI].

        Args:
            x: States valid at `valid_time` [SI].
            valid_time: Time of the states, UTC; one for all, or one for each.
            lead: How far to go, a multiple of the native step.

        Raises:
            ValueError: The lead is not a multiple of the native step, or the states do not fit.
        """
        steps, rest = divmod(lead, self.native_step)
        if steps < 0 or rest != pd.Timedelta(0):
            allowed = f"multiples of the emulator's step of {self.shape.hours} h"
            raise ValueError(f"lead {lead}: allowed are {allowed}")
        expected = (self.shape.fields, *self.shape.grid)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"states have the shape {tuple(x.shape[1:])}, expected {expected}")
        times = each_time(valid_time, len(x))
        a = self.statistics.normalize(x, times)
        for number in range(steps):
            a = self(a, self.statistics.basis([t + number * self.native_step for t in times]))
        return self.statistics.denormalize(a, [t + lead for t in times])

    def forward(
        self, a: Float[Tensor, "batch field lat lon"], basis: Float[Tensor, "batch basis"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Carry anomalies [1] over one native step.

        Args:
            a: Normalized anomalies.
            basis: The functions of time in the climatology, at the time of the anomalies.
        """
        forecast = self.apply_linear(a)
        season = basis[:, 1:, None, None].expand(-1, -1, *self.shape.grid)
        place = self.features.expand(len(a), -1, -1, -1)
        h = self.head(downsample(torch.cat([a, forecast, season, place], 1), self.shape.patch))
        for block in self.blocks:
            h = block(h)
        return forecast + upsample(self.tail(h), self.shape.grid, self.shape.patch)

    def apply_linear(
        self, a: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Apply the linear part alone."""
        if self.shape.dense:
            return (a.flatten(1) @ self.linear).view_as(a)
        return functional.conv2d(pad_edges(a, 1, self.shape.topology), self.linear)

    @torch.no_grad()
    def fit_linear(self, pairs: Iterable[Pair], noise: float) -> None:
        """Fit the linear part by ridge regression in float64.

        Args:
            pairs: Blocks of anomalies and of the anomalies one native step later [1]. One pass.
            noise: Standard deviation σ of the disturbance [1]; the penalty is N σ².
        """
        size = self.linear[0].numel()
        gram = torch.zeros(size, size, dtype=torch.float64, device=self.linear.device)
        moment = gram.new_zeros(size, self.linear.shape[int(self.shape.dense)])
        count = 0
        for a, target in pairs:
            rows, values = self._rows(a, target)
            gram, moment = gram + rows.T @ rows, moment + rows.T @ values
            count += len(rows)
        if not count:
            raise ValueError("no pairs of states one native step apart; at least 1 is needed")
        penalty = noise**2 * count * torch.eye(size, dtype=gram.dtype, device=gram.device)
        solution = torch.linalg.solve(gram + penalty, moment)
        if not self.shape.dense:
            solution = solution.T.reshape(self.linear.shape)
        self.linear.copy_(solution)

    def _rows(self, a: Tensor, target: Tensor) -> Pair:
        """Return predictors and predictands of the regression, one sample in each row."""
        if self.shape.dense:
            return a.flatten(1).double(), target.flatten(1).double()
        patches = functional.unfold(pad_edges(a, 1, self.shape.topology), 3)
        rows = patches.movedim(1, -1).flatten(0, 1)
        return rows.double(), target.flatten(2).movedim(1, -1).flatten(0, 1).double()


def sphere_coordinates(grid: LatLonGrid) -> Float[Tensor, "3 lat lon"]:
    """Return the position on the unit sphere, each coordinate with mean 0 and deviation 1."""
    latitude, longitude = np.radians(grid.latitude)[:, None], np.radians(grid.longitude)[None]
    xyz = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)]
    xyz.append(np.broadcast_to(np.sin(latitude), grid.shape))
    place = np.stack(xyz)
    place -= place.mean((1, 2), keepdims=True)
    return torch.tensor(place / place.std((1, 2), keepdims=True), dtype=torch.float32)
