"""Between a state and another model's channels: by name, exactly, or not at all.

Fields are reordered, rows and columns turned round where the other model counts them from the
other end, and units changed where the change is known exactly. Nothing is interpolated, and
nothing is filled: a model must have all fields of the state, and the state all of the model's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from models.foreign.channels import Channel, channel
from models.state import StateSpec
from models.units import linear_change
from models.variables import Variable, same_level, same_units

__all__ = ["StateMap", "grid_match"]

TOLERANCE = 1e-3
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class StateMap:
    """The way between states and channels.

    Attributes:
        fields: For each channel the state's field.
        rows: For each of the model's rows the state's.
        columns: For each of the model's columns the state's.
        scale: Channel = scale · field + offset.
        offset: As above, in the channel's unit.
    """

    fields: Int[Tensor, "channel"]
    rows: Int[Tensor, "lat"]
    columns: Int[Tensor, "lon"]
    scale: Float[Tensor, "channel"]
    offset: Float[Tensor, "channel"]

    @classmethod
    def between(
        cls,
        spec: StateSpec,
        names: Sequence[str],
        latitude: Sequence[float],
        longitude: Sequence[float],
        units: Mapping[str, str] | None = None,
    ) -> "StateMap":
        """Match a state with a model's channels and grid.

        Args:
            spec: The state.
            names: The model's channels in their order.
            latitude: The model's rows [degrees_north].
            longitude: The model's columns [degrees_east].
            units: Units of channels, or of quantities on levels, that are not the usual ones.

        Raises:
            ValueError: A channel, a unit or the grid does not fit, in one line.
        """
        channels = [channel(name) for name in names]
        fields = field_match(spec, channels)
        own = dict(units or {})
        changes = [unit_change(c, variable_of(spec, c), own) for c in channels]
        rows, columns = grid_match(spec, latitude, longitude)
        scale, offset = torch.tensor(changes, dtype=torch.float64).float().T
        return cls(torch.tensor(fields), rows, columns, scale.clone(), offset.clone())

    def to_channels(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch channel row column"]:
        """Return the channels of states."""
        turned = x[:, self.fields][:, :, self.rows][..., self.columns]
        return self._apply(turned, self.scale, self.offset)

    def to_states(
        self, channels: Float[Tensor, "batch channel row column"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Undo `to_channels`."""
        x = self._apply(channels, 1 / self.scale, -self.offset / self.scale)
        back = [torch.argsort(order) for order in (self.fields, self.rows, self.columns)]
        return x[:, back[0]][:, :, back[1]][..., back[2]]

    def _apply(self, values: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        """Change units, and touch nothing where all are the same."""
        if (self.scale == 1).all() and (self.offset == 0).all():
            return values
        return values * scale[:, None, None] + offset[:, None, None]


def field_match(spec: StateSpec, channels: Sequence[Channel]) -> list[int]:
    """Return the state's field of each channel; each field must be one channel's."""
    found = [field_of(spec, c) for c in channels]
    lacking = [c.name for c, field in zip(channels, found, strict=True) if field is None]
    if lacking:
        state = ", ".join(spec.field_names)
        raise ValueError(
            f"the state lacks {len(lacking)} of the forecast model's {len(channels)} channels, "
            f"the first {lacking[0]!r}; the state has {state}"
        )
    fields = [field for field in found if field is not None]
    left = sorted(set(range(spec.n_fields)) - set(fields))
    if left:
        names = ", ".join(c.name for c in channels)
        raise ValueError(
            f"the forecast model lacks {len(left)} of the state's {spec.n_fields} fields, the "
            f"first {spec.field_names[left[0]]!r}; the model has {names}"
        )
    return fields


def variable_of(spec: StateSpec, wanted: Channel) -> Variable:
    """Return the state's variable of a channel that is in the state."""
    return next(variable for variable in spec.variables if wanted.is_of(variable))


def field_of(spec: StateSpec, wanted: Channel) -> int | None:
    """Return the state's field of a channel, or None.

    Raises:
        ValueError: The state's variable of that name is another quantity, or on other levels.
    """
    for variable in spec.variables:
        if not wanted.is_of(variable):
            continue
        if variable.standard_name != wanted.quantity.standard_name:
            raise ValueError(
                f"variable {variable.name!r} is {variable.standard_name}; the forecast model's "
                f"channel {wanted.name!r} is {wanted.quantity.standard_name}"
            )
        if wanted.vertical not in (None, spec.vertical):
            raise ValueError(
                f"variable {variable.name!r} is on {spec.vertical} levels; the forecast model's "
                f"channel {wanted.name!r} is on a {wanted.vertical} level"
            )
        for level in variable.levels or (None,):
            if level == wanted.level or (
                level is not None and wanted.level is not None and same_level(level, wanted.level)
            ):
                return spec.index(variable.name, level)
    return None


def unit_change(wanted: Channel, variable: Variable, units: Mapping[str, str]) -> list[float]:
    """Return scale and offset from the state's unit to the channel's."""
    letter = wanted.quantity.names[0]
    unit = units.get(wanted.name, units.get(letter, wanted.quantity.units))
    if same_units(variable.units, unit):
        return [1.0, 0.0]
    try:
        return list(linear_change(variable.units, unit))
    except ValueError:
        raise ValueError(
            f"variable {variable.name!r} has {variable.units!r}; the forecast model's channel "
            f"{wanted.name!r} has {unit!r}, and no change between them is known"
        ) from None


def grid_match(
    spec: StateSpec, latitude: Sequence[float], longitude: Sequence[float]
) -> tuple[Int[Tensor, "lat"], Int[Tensor, "lon"]]:
    """Return for each of a model's rows and columns the state's.

    Raises:
        ValueError: The points are others.
    """
    own = (np.asarray(spec.grid.latitude), np.asarray(spec.grid.longitude) % 360)
    others = (np.asarray(latitude, np.float64), np.asarray(longitude, np.float64) % 360)
    found = []
    for name, mine, model in zip(("latitude", "longitude"), own, others, strict=True):
        distance = np.abs(model[:, None] - mine[None])
        if name == "longitude":
            distance = np.minimum(distance, 360 - distance)
        nearest = distance.argmin(1)
        same = len(mine) == len(model) == len(set(nearest.tolist()))
        if not same or distance.min(1).max() > TOLERANCE:
            raise ValueError(
                f"{name} of the state is {ends(mine)}; the forecast model has {ends(model)}"
            )
        found.append(torch.from_numpy(nearest))
    return found[0], found[1]


def ends(axis: Numbers) -> str:
    """Describe an axis in a message."""
    return f"{axis[0]:g} to {axis[-1]:g} ({len(axis)} values)"
