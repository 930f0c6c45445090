"""A prognostic model written to earth2studio's protocol (0.19), without earth2studio."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Coordinates = OrderedDict[str, NDArray[Any]]


class Turn(nn.Module):
    """All fields go eastward by one column in a step; with memory, by what they did before."""

    def __init__(
        self,
        variable: list[str],
        domain_coords: Coordinates,
        history: int = 1,
        hours: int = 6,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.step_, self.history, self.noise = np.timedelta64(hours, "h"), history, noise
        self.variable, self.domain = np.array(variable), domain_coords

    def input_coords(self) -> Coordinates:
        """Return the coordinates of the initial state."""
        leads = np.array([-self.step_ * k for k in reversed(range(self.history))])
        return self._coords(leads)

    def output_coords(self, input_coords: Coordinates) -> Coordinates:
        """Return the coordinates one step later."""
        return self._coords(input_coords["lead_time"][-1:] + self.step_)

    def _coords(self, leads: NDArray[Any]) -> Coordinates:
        head = {"batch": np.empty(0), "lead_time": leads, "variable": self.variable}
        return OrderedDict(head | self.domain)

    def __call__(self, x: torch.Tensor, coords: Coordinates) -> tuple[torch.Tensor, Coordinates]:
        """Return the state one step later."""
        now = x[..., -1:, :, :, :]
        out = now.roll(1, -1) if self.history == 1 else 2 * now - x[..., :1, :, :, :]
        out = out + self.noise * torch.randn_like(out)
        out_coords = coords.copy()
        out_coords["lead_time"] = coords["lead_time"][-1:] + self.step_
        return out, out_coords

    def create_iterator(
        self, x: torch.Tensor, coords: Coordinates
    ) -> Iterator[tuple[torch.Tensor, Coordinates]]:
        """Yield the initial state, then those of the forecast."""
        first = coords.copy()
        first["lead_time"] = coords["lead_time"][-1:]
        yield x[..., -1:, :, :, :], first
        while True:
            out, out_coords = self(x, coords)
            yield out, out_coords
            x = torch.cat([x[..., 1:, :, :, :], out], -4)
            coords = coords.copy()
            leads = [coords["lead_time"][1:], out_coords["lead_time"]]
            coords["lead_time"] = np.concatenate(leads)
