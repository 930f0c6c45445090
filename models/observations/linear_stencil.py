"""The linear stencil of observations made from columns: for what is no state.

Standard deviations at observations and their positions need positions in the state and weights. They
are the derivatives of the operator at the standard atmosphere above the ground of each place.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.observations import conversions as convert
from models.observations.columns import Column, Places
from models.observations.equivalents import EQUIVALENTS
from models.state import StateSpec

__all__ = ["linear_stencil"]


@torch.enable_grad()
def linear_stencil(
    name: str, places: Places, spec: StateSpec
) -> tuple[Int[Tensor, "obs stencil"], Float[Tensor, "obs stencil"]]:
    """Return positions and absolute weights of what an observation depends on.

    The weights are the derivatives at a standard atmosphere, by automatic differentiation of one
    column for each observation.
    """
    count, points = len(places.pressure), spec.grid.shape[0] * spec.grid.shape[1]
    x = standard_columns(places, spec.n_fields).requires_grad_()
    ones = torch.ones(count, 1, dtype=torch.float64)
    own = torch.arange(count)[:, None]
    alone = replace(places, index=own, weight=ones, wind=ones)
    (slope,) = torch.autograd.grad(EQUIVALENTS[name][0](Column(x, alone)).sum(), x)
    weight = slope[0, :, 0].T.abs() * (0.5**0.5 if name == "wind_speed" else 1.0)
    used = int((weight > 0).sum(1).max()) if count else 1
    weight, field = weight.topk(max(used, 1), dim=1)
    index = field[:, :, None] * points + places.index[:, None]
    share = weight[:, :, None] * places.weight[:, None]
    return index.flatten(1), share.flatten(1)


def standard_columns(places: Places, n_fields: int) -> Float[Tensor, "1 field 1 obs"]:
    """Return the standard atmosphere above the ground of each place, with a wind of 14 m/s [SI]."""
    ground = places.ground.numpy()
    bottom, count = convert.height_to_pressure(ground), len(ground)
    pressure = places.level.numpy()[:, None] * (bottom if places.sigma else np.ones(count))
    warm = convert.standard_temperature(convert.pressure_to_height(pressure))
    x = torch.zeros(1, n_fields, 1, count, dtype=torch.float64)
    fillings = {"u": 10.0, "v": 10.0, "q": 1e-3}
    for name, (first, last) in places.fields.items():
        if name == "sp":
            x[0, first, 0] = torch.from_numpy(bottom)
        elif name == "t":
            x[0, first + places.order, 0] = torch.from_numpy(warm)
        else:
            x[0, first:last] = fillings[name]
    return x
