"""Columns of a state at the places of observations: what operators on model levels start from.

Horizontally every field is interpolated along its level, the height of the ground with it. On sigma
levels the pressure is p_k = σ_k p_s of the interpolated surface pressure; between levels

    v(p) = v_1 + Σ_k (v_{k+1} - v_k) clip((ln p - ln p_k) / (ln p_{k+1} - ln p_k), 0, 1),

linear in ln p, constant beyond the outermost levels, and differentiable almost everywhere, also
with respect to p_s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from models.observations.stencils import horizontal_stencil
from models.observations.terrain import Terrain
from models.state import StateSpec
from models.variables import Variable

__all__ = ["Column", "Places", "interpolate", "layer_edges", "named", "places_of"]

HECTOPASCAL = 100.0
NAMES = {
    "u": "eastward_wind",
    "v": "northward_wind",
    "t": "air_temperature",
    "q": "specific_humidity",
}
SURFACE_PRESSURE = "surface_air_pressure"


def named(spec: StateSpec) -> dict[str, Variable]:
    """Return the variables that operators need, as far as the state has them, by their name here."""
    found = {
        name: variable
        for name, standard in NAMES.items()
        for variable in spec.variables
        if variable.standard_name == standard and variable.levels is not None
    }
    for variable in spec.variables:
        if variable.standard_name == SURFACE_PRESSURE and variable.levels is None:
            found["sp"] = variable
    return found


def layer_edges(levels: NDArray[np.float64], sigma: bool) -> NDArray[np.float64]:
    """Return the edges of the layers around ascending levels.

    Sigma levels that are in the middle of layers from 0 to 1 have these; other levels have edges
    in the middle of ln p, none above the topmost, and the lowest level is the ground.
    """
    edges = [0.0]
    for level in levels:
        edges.append(2.0 * level - edges[-1])
    found = np.asarray(edges)
    if sigma and abs(found[-1] - 1.0) < 1e-6 and (np.diff(found) > 0).all():
        return found
    middle = np.sqrt(levels[1:] * levels[:-1])
    return np.concatenate([[0.0], middle, [1.0 if sigma else levels[-1]]])


@dataclass(frozen=True)
class Places:
    """Where the columns of some observations are.

    Attributes:
        index: Positions in a flattened field.
        weight: Weights of scalars [1].
        wind: Weights of components of the wind, which turn across a pole [1].
        fields: First field of each variable, and the one behind its last, by name.
        order: Positions of the levels of a variable from the top down.
        level: Levels from the top down: sigma [1] or pressure [Pa].
        edge: Edges of their layers, likewise.
        sigma: Whether the levels are sigma levels.
        pressure: Of each observation [Pa].
        elevation: Of each station [m]; where it is missing that of the ground.
        ground: Height of the model's ground [m].
        land: Land fraction [1].
    """

    index: Int[Tensor, "obs corner"]
    weight: Float[Tensor, "obs corner"]
    wind: Float[Tensor, "obs corner"]
    fields: Mapping[str, tuple[int, int]]
    order: Int[Tensor, "level"]
    level: Float[Tensor, "level"]
    edge: Float[Tensor, "edge"]
    sigma: bool
    pressure: Float[Tensor, "obs"]
    elevation: Float[Tensor, "obs"]
    ground: Float[Tensor, "obs"]
    land: Float[Tensor, "obs"]

    def to(self, device: torch.device | str) -> "Places":
        """Return them on another device."""
        return replace(
            self,
            **{n: v.to(device) for n, v in vars(self).items() if isinstance(v, Tensor)},  # type: ignore[arg-type]
        )


def places_of(table: pd.DataFrame, spec: StateSpec, terrain: Terrain | None) -> Places:
    """Return where the columns of a table's rows are.

    Args:
        table: Observations on the state's grid.
        spec: The state.
        terrain: Its ground; at sea level if it is not known.
    """
    horizontal, known = horizontal_stencil(table, spec.grid), named(spec)
    variable = next(v for v in known.values() if v.levels is not None)
    levels = np.asarray(variable.levels, np.float64)
    order, sigma = np.argsort(levels), spec.vertical == "sigma"
    scale = 1.0 if sigma else HECTOPASCAL
    own = levels[order] * scale
    sign = np.where(horizontal.mirrored, -1.0, 1.0)
    zero = np.zeros(spec.grid.shape)
    height, land = (zero, zero) if terrain is None else (terrain.height, terrain.land)
    ground, fraction = (
        (horizontal.weight * field.reshape(-1)[horizontal.index]).sum(1)
        for field in (height, land)
    )
    elevation = table["elev"].to_numpy(np.float64)
    slices = {name: spec.slices[v.name] for name, v in known.items()}
    return Places(
        torch.from_numpy(horizontal.index),
        torch.from_numpy(horizontal.weight),
        torch.from_numpy(horizontal.weight * sign),
        {name: (part.start, part.stop) for name, part in slices.items()},
        torch.from_numpy(order),
        torch.from_numpy(own),
        torch.from_numpy(layer_edges(own, sigma)),
        sigma,
        torch.from_numpy(table["pres"].to_numpy(np.float64).copy()),
        torch.from_numpy(np.where(np.isnan(elevation), ground, elevation)),
        torch.from_numpy(ground),
        torch.from_numpy(fraction.clip(0, 1)),
    )


class Column:
    """The columns of states at the places of observations."""

    def __init__(self, x: Float[Tensor, "batch field lat lon"], places: Places) -> None:
        """Take states [SI]; nothing is interpolated before it is asked for."""
        self._x, self.places = x, places

    def _like(self, values: Tensor) -> Tensor:
        return values.to(self._x.dtype)

    def profile(self, name: str) -> Float[Tensor, "batch level obs"]:
        """Return a variable on all levels, from the top down [SI]."""
        weight = self.places.wind if name in ("u", "v") else self.places.weight
        first, last = self.places.fields[name]
        return self._gather(first, last, weight).index_select(1, self.places.order)

    def lowest(self, name: str) -> Float[Tensor, "batch obs"]:
        """Return a variable on the lowest level [SI]."""
        weight = self.places.wind if name in ("u", "v") else self.places.weight
        field = self.places.fields[name][0] + int(self.places.order[-1])
        return self._gather(field, field + 1, weight)[:, 0]

    @property
    def surface_pressure(self) -> Float[Tensor, "batch obs"]:
        """p_s [Pa]."""
        first, last = self.places.fields["sp"]
        return self._gather(first, last, self.places.weight)[:, 0]

    def _gather(
        self, first: int, last: int, weight: Float[Tensor, "obs corner"]
    ) -> Float[Tensor, "batch level obs"]:
        part = self._x[:, first:last].flatten(2)
        values = part.index_select(2, self.places.index.flatten())
        values = values.reshape(*part.shape[:2], *self.places.index.shape)
        return (values * self._like(weight)).sum(-1)

    @property
    def depth(self) -> Float[Tensor, "batch obs"]:
        """Ln (p / p_s) of the observations, or ln (p / Pa) on pressure levels [1]."""
        own = self._like(self.places.pressure.log())
        return own - self.surface_pressure.log() if self.places.sigma else own[None]

    @property
    def nodes(self) -> Float[Tensor, "level"]:
        """The same of the levels [1]."""
        return self._like(self.places.level.log())

    @property
    def pressure_edges(self) -> Float[Tensor, "batch edge obs"]:
        """Pressures at the edges of the layers [Pa]."""
        edges = self._like(self.places.edge)[None, :, None]
        return edges * self.surface_pressure[:, None] if self.places.sigma else edges

    def of_place(self, name: str) -> Float[Tensor, "obs"]:
        """Return the elevation, the ground or the land of the places."""
        return self._like(getattr(self.places, name))


def interpolate(
    values: Float[Tensor, "batch level obs"],
    depth: Float[Tensor, "batch obs"],
    nodes: Float[Tensor, "level"],
) -> Float[Tensor, "batch obs"]:
    """Interpolate between levels, linear in ln p, constant beyond the outermost.

    Args:
        values: On the levels, from the top down.
        depth: ln p of the observations, up to a constant.
        nodes: That of the levels.
    """
    share = (depth[:, None] - nodes[:-1, None]) / (nodes[1:] - nodes[:-1])[:, None]
    return values[:, 0] + (values.diff(dim=1) * share.clamp(0, 1)).sum(1)
