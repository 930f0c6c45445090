"""earth2studio's tables of observations as this package's.

The columns are the same but for three things. A variable may name its level (`t500`, `u10m`), or
the pressure beside it says where it is (`t`). Texts and the quality mark may be missing in a row.
There is no error: without a column of that name it is a part of the climatological deviation of
the variable on the nearest level.

References:
    | NVIDIA, earth2studio 0.19, earth2studio/lexicon/base.py (`E2STUDIO_SCHEMA`)
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.foreign.channels import AT_SURFACE, ON_LEVELS, channel
from models.observations.observables import deviations, observables
from models.state import StateSpec

__all__ = ["own_table"]

NEEDED = ("time", "lat", "lon", "variable", "observation")
TEXTS = ("type", "station", "source")
HECTOPASCAL = 100.0


def own_table(
    obs: pd.DataFrame, spec: StateSpec, std: Float[Tensor, "field"], error: float
) -> pd.DataFrame:
    """Return a table with this package's names, levels and errors; not yet validated.

    Args:
        obs: A table with earth2studio's columns.
        spec: The state that is observed.
        std: Climatological standard deviation of each field [SI].
        error: Observation error where the table has none, in these deviations.

    Raises:
        ValueError: A column is missing.
    """
    lacking = [name for name in NEEDED if name not in obs]
    if lacking:
        raise ValueError(f"observations: column {lacking[0]!r} is missing")
    table = obs.reset_index(drop=True)
    places = {name: place(str(name), spec) for name in table["variable"].unique()}
    level = table["variable"].map({name: found[1] for name, found in places.items()})
    if "level" not in table:
        table = table.assign(level=level.astype(np.float64))
    table = table.assign(
        variable=table["variable"].map({name: found[0] for name, found in places.items()})
    )
    for name in TEXTS:
        if name in table:
            texts = table[name].astype(object)
            table = table.assign(**{name: texts.where(texts.notna(), "").astype(str)})
    if "quality" in table:
        table = table.assign(quality=table["quality"].fillna(0).astype(np.int64))
    return table if "error" in table else table.assign(error=errors(table, spec, std, error))


def place(name: str, spec: StateSpec) -> tuple[str, float]:
    """Return the state's variable and level of a name; other names stay what they are."""
    try:
        wanted = channel(name)
    except ValueError:
        quantity = ON_LEVELS.get(name) or AT_SURFACE.get(name)
        own = [v.name for v in spec.variables if quantity and v.name in quantity.names]
        return (own or [name])[0], np.nan
    own = [variable.name for variable in spec.variables if wanted.is_of(variable)]
    return (own or [name])[0], np.nan if wanted.level is None else wanted.level


def errors(
    table: pd.DataFrame, spec: StateSpec, std: Float[Tensor, "field"], error: float
) -> NDArray[np.float64]:
    """Return the default error of each row [SI]."""
    deviation, found = deviations(spec, std.double()).numpy(), np.full(len(table), np.nan)
    level = table["level"].to_numpy(np.float64)
    if "pres" in table:
        pressure = table["pres"].to_numpy(np.float64) / HECTOPASCAL
        level = np.where(np.isnan(level), pressure, level)
    for name in table["variable"].unique():
        own = [(i, f.level) for i, f in enumerate(observables(spec)) if f.variable == name]
        if not own:
            continue
        rows = np.flatnonzero(table["variable"] == name)
        index = np.array([i for i, _ in own])
        levels = np.array([np.nan if each is None else each for _, each in own])
        distance = np.abs(level[rows, None] - levels[None])
        nearest = np.where(np.isfinite(distance), distance, np.inf).argmin(1)
        found[rows] = error * deviation[index[nearest]]
    return found
