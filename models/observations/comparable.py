"""Which rows a state can be compared with, and how: as they are, or from columns of model levels.

A row that names a level of the state, or a variable that the state has at the surface or on pressure
levels, is interpolated as it is. On sigma levels every other one is made from columns, if the ground
is known: with its pressure aloft, with its elevation at a station. The rest has a reason.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations import conversions as convert
from models.observations.columns import named, places_of
from models.observations.equivalents import EQUIVALENTS, needed
from models.observations.quality.reasons import Reason
from models.observations.stencils import horizontal_stencil, vertical_stencil
from models.observations.terrain import terrain_of
from models.state import StateSpec

__all__ = ["from_columns", "unobservable"]

Texts = NDArray[np.object_]
Rows = NDArray[np.bool_]
SURFACE = ("t2m", "q2m", "u10", "v10", "sp", "msl")
AT_STATION = ("t2m", "sp")
FARTHEST = 500.0
"""Stations may be so far above or below the model's ground [m]."""
DEEPEST, HIGHEST = 1.04, 0.8
"""Pressures up to so many times that of the ground, and down to this part of the top level's."""


def from_columns(table: pd.DataFrame, spec: StateSpec) -> Rows:
    """Tell which rows are made from columns of model levels."""
    sigma = spec.vertical == "sigma"
    if sigma and terrain_of(spec) is None:
        return np.zeros(len(table), bool)
    variable, present = table["variable"].to_numpy(object), named(spec)
    found = np.zeros(len(table), bool)
    for name in EQUIVALENTS:
        parts = needed(name, sigma)
        if parts is not None and all(part in present for part in parts):
            found |= variable == name
    own = np.isin(variable, [v.name for v in spec.variables if v.levels is None])
    at_sea_of_model = table["elev"].isna().to_numpy()
    return np.asarray(found & table["level"].isna().to_numpy() & ~(own & at_sea_of_model))


def unobservable(table: pd.DataFrame, spec: StateSpec) -> Texts:
    """Return for each row why the state cannot be compared with it, or the empty text."""
    columns = from_columns(table, spec)
    reason = np.where(columns, "", vertical_stencil(table, spec).reason)
    horizontal = horizontal_stencil(table, spec.grid).reason
    reason = np.where(horizontal != "", horizontal, reason).astype(object)
    rows = np.flatnonzero(columns & (reason == ""))
    if len(rows):
        reason[rows] = _outside_of_columns(table.iloc[rows], spec)
    return reason


def _outside_of_columns(table: pd.DataFrame, spec: StateSpec) -> Texts:
    places = places_of(table, spec, terrain_of(spec))
    variable, reason = table["variable"].to_numpy(object), np.full(len(table), "", object)
    surface = np.isin(variable, SURFACE)
    pressure, ground = (getattr(places, name).numpy() for name in ("pressure", "ground"))
    bottom = convert.height_to_pressure(ground)
    top = float(places.level[0]) * (bottom if places.sigma else 1.0)
    aloft = ~surface & (variable != "brightness_temperature")
    with np.errstate(invalid="ignore"):
        reason[aloft & (pressure < HIGHEST * top)] = Reason.PRESSURE
        reason[aloft & (pressure > DEEPEST * bottom)] = Reason.BELOW
        reason[~surface & ~(pressure > 0)] = Reason.NO_LEVEL
    far = np.abs(places.elevation.numpy() - ground) > FARTHEST
    reason[np.isin(variable, AT_STATION) & far] = Reason.HEIGHT
    reason[(variable == "msl") & (ground > 2 * FARTHEST)] = Reason.HEIGHT
    return reason
