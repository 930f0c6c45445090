"""The background at the observations' own times (first guess at appropriate time).

An observation made at t_o is compared with the background of that time, while the analysis and its
increment are valid at the cycle time t:

    equivalents(x) = H(x) + [H(x_b(t_o)) − H(x_b(t))],

so that the departure of the background is y − H(x_b(t_o)), and the increment is taken to move with
the flow. For an ensemble each member has its own background; with an ensemble Kalman filter this
is its four-dimensional form.

References:
    | Fisher & Andersson (2001), Developments in 4D-Var and Kalman filtering, ECMWF Technical
    | Memorandum 347
    | Lawless (2010), A note on the analysis error associated with 3D-FGAT, doi 10.1002/qj.671
    | Hunt et al. (2004), Four-dimensional ensemble Kalman filtering,
    | doi 10.3402/tellusa.v56i4.14424
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.observations.mixed import ObservationOperator

__all__ = ["WindowBackground"]


@dataclass(frozen=True)
class WindowBackground:
    """The background at the cycle time and, where observations need them, at others.

    Attributes:
        cycle_time: The time of the analysis, one of the times of the states.
        states: One state for each member, at each time [SI].
    """

    cycle_time: pd.Timestamp
    states: Mapping[pd.Timestamp, Float[Tensor, "member field lat lon"]]

    @property
    def x_b(self) -> Float[Tensor, "member field lat lon"]:
        """The background at the cycle time [SI]."""
        return self.states[self.cycle_time]

    def offset(
        self, operator: ObservationOperator, times: pd.Series
    ) -> Float[Tensor, "member obs"] | None:
        """Return H(x_b(t_o)) − H(x_b(t)) [SI], with the state nearest in time to t_o.

        Args:
            operator: H.
            times: The time of each observation, UTC.

        Returns:
            The offset, or None where the only state is that of the cycle time.
        """
        if len(self.states) == 1:
            return None
        known = sorted(self.states)
        own = pd.DatetimeIndex(times).as_unit("ns")
        nearest = torch.from_numpy(
            pd.DatetimeIndex(known).as_unit("ns").get_indexer(own, method="nearest")
        )
        at_cycle_time = operator(self.x_b)
        offset = torch.zeros_like(at_cycle_time)
        for k, time in enumerate(known):
            if time != self.cycle_time:
                rows = (nearest == k).to(offset.device)
                offset = torch.where(rows, operator(self.states[time]) - at_cycle_time, offset)
        return offset
