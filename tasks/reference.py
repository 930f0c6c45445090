"""The reference: the states that stand for the truth of an experiment.

A nature run or a reanalysis behind one protocol. A reference never hands out a state that is not
usable: missing times, values that are not finite, and values that no atmosphere has (a wrong unit
under the right name, an unmasked fill value) are refused with one line that says what, where, the
value and what is allowed.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.plausibility import plausible_range
from models.state import Field, StateSpec

__all__ = ["Reference", "allowed_range", "check_values", "required_times"]

GAS_CONSTANT = 287.0
COLDEST, WARMEST = 190.0, 320.0
SEA_LEVEL_PRESSURE, SEA_LEVEL_MARGIN = 1013.25, 8_000.0


@runtime_checkable
class Reference(Protocol):
    """States that stand for the truth."""

    spec: StateSpec

    @property
    def times(self) -> pd.DatetimeIndex | None:
        """The times that there are, UTC; None if there is no end."""
        ...

    def state(self, valid_time: pd.Timestamp) -> Float[Tensor, "field lat lon"]:
        """Return the state at a time [SI]."""
        ...

    def states(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "time field lat lon"]:
        """Return the states at some times [SI]."""
        ...

    def check(self, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> None:
        """Refuse the reference if a state from `start` to `end` is missing or not usable.

        Raises:
            ValueError: One line that says what is wrong, where, and what is allowed.
        """
        ...


def required_times(start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> pd.DatetimeIndex:
    """Return the times from `start` to `end`, both included."""
    if step <= pd.Timedelta(0) or end < start:
        raise ValueError(f"{start} to {end} every {step}: start, end and step must be in order")
    return pd.date_range(start, end, freq=step)


def allowed_range(standard_name: str, level: float | None) -> tuple[float, float]:
    """Return the smallest and largest possible value [SI].

    The geopotential of a pressure level lies between those of the coldest and the warmest
    isothermal atmosphere, R T ln(p_0 / p), with a margin for the pressure at sea level: a height
    in meters is found at once.

    Args:
        standard_name: CF standard name.
        level: Pressure [hPa], or None at the surface.
    """
    if standard_name != "geopotential" or level is None:
        return plausible_range(standard_name)
    depth = GAS_CONSTANT * math.log(SEA_LEVEL_PRESSURE / level)
    low, high = sorted((COLDEST * depth, WARMEST * depth))
    return low - SEA_LEVEL_MARGIN, high + SEA_LEVEL_MARGIN


def check_values(
    values: NDArray[np.float32],
    times: pd.DatetimeIndex,
    spec: StateSpec,
    fields: Sequence[Field],
    where: str,
) -> None:
    """Refuse values that are not finite or that no atmosphere has.

    Args:
        values: Values [SI], of shape (time, field, lat, lon).
        times: Time of each state.
        spec: Layout of the states.
        fields: The fields of the values.
        where: File or store the values come from.
    """
    for i, field in enumerate(fields):
        variable = spec.variable(field.variable)
        limits = allowed_range(variable.standard_name, field.level)
        part = values[:, i]
        bad = ~(np.isfinite(part) & (part >= limits[0]) & (part <= limits[1]))
        if bad.any():
            time, row, column = (int(axis[0]) for axis in np.nonzero(bad))
            place = f"{times[time]}, latitude {spec.grid.latitude[row]:g}, "
            place += f"longitude {spec.grid.longitude[column]:g}"
            low, high = (f"{limit:g}" for limit in limits)
            allowed = "finite values" if limits[1] == math.inf else f"{low} to {high}"
            raise ValueError(
                f"{where}: variable {field.name!r}: {int(bad.sum())} of {bad.size} values are "
                f"wrong, the first {part[time, row, column]:g} at {place}; "
                f"allowed: {allowed} [{variable.units}]"
            )
