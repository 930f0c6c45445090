"""The fields that the report draws: which ones, and their maps and spectra.

All states of a cycle are the means over their members. Nothing here draws.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.verification.spectra import wavenumbers, zonal_spectrum
from tasks.report_maps import FieldMaps
from tasks.report_material import Material, present_levels

Array = NDArray[np.float64]
PREFERRED = (("t", 0.51), ("u", 0.2), ("sp", np.nan))
BACKGROUND_ERROR = "background error (background − truth)"
INCREMENT = "increment (analysis − background)"
ANALYSIS_ERROR = "analysis error (analysis − truth)"


class Chosen(NamedTuple):
    """One field; the level is NaN where the variable has none."""

    variable: str
    level: float


def choose_fields(layout: xr.Dataset, count: int = 3) -> list[Chosen]:
    """Choose the preferred fields where the state has them, else a field of each variable."""
    if all(name in layout for name, _ in PREFERRED):
        return [Chosen(name, nearest_level(layout[name], level)) for name, level in PREFERRED]
    names = [str(name) for name in layout.data_vars if "latitude" in layout[name].dims]
    return [Chosen(name, nearest_level(layout[name], None)) for name in names[:count]]


def nearest_level(array: xr.DataArray, wanted: float | None) -> float:
    """Return the level next to the wanted one (the middle one by default), NaN without levels."""
    levels = present_levels(array)
    if not len(levels):
        return float("nan")
    if wanted is None:
        return float(levels[len(levels) // 2])
    return float(levels[np.abs(levels - wanted).argmin()])


def grid_of(layout: xr.Dataset) -> LatLonGrid:
    """Return the horizontal grid of the states."""
    return LatLonGrid.from_dataset(layout)


def values(ds: xr.Dataset, field: Chosen, time: pd.Timestamp | None = None) -> Array:
    """Return (lat, lon) of a field, the mean over members [SI]."""
    array = ds[field.variable]
    if time is not None and "time" in array.dims:
        array = array.sel(time=time)
    array = array.squeeze("time") if "time" in array.dims else array
    if not np.isnan(field.level) and "level" in array.dims:
        array = array.sel(level=field.level, method="nearest")
    array = array.mean("member") if "member" in array.dims else array
    return array.transpose("latitude", "longitude").to_numpy().astype(np.float64)


def has_state(material: Material, time: pd.Timestamp) -> bool:
    """Tell whether background and analysis of a time are published."""
    names = ("analysis", "background")
    return all(
        name in material.states and time in material.states[name].indexes["time"] for name in names
    )


def maps_of(material: Material, field: Chosen, time: pd.Timestamp) -> FieldMaps:
    """Return the maps of a field in one cycle, in the unit for people."""
    factor, unit = material.unit(field.variable)
    analysis = factor * values(material.states["analysis"], field, time)
    background = factor * values(material.states["background"], field, time)
    maps = {INCREMENT: analysis - background}
    true_state = material.true_state(time)
    if true_state is not None:
        truth = factor * values(true_state, field, time)
        maps = {BACKGROUND_ERROR: background - truth} | maps | {ANALYSIS_ERROR: analysis - truth}
    seen = departures_at(material.feedback(time), field, factor)
    return FieldMaps(material.field_title(*field), unit, maps, seen)


def departures_at(feedback: pd.DataFrame | None, field: Chosen, factor: float) -> pd.DataFrame:
    """Return places and O-B of a field's used observations; without any, all observed places."""
    if feedback is None:
        return pd.DataFrame(columns=["lon", "lat", "value"], dtype=float)
    used = feedback[feedback["used"].astype(bool)]
    own = used[used["variable"] == field.variable]
    if not np.isnan(field.level):
        own = own[np.isclose(own["level"], field.level, rtol=1e-3)]
    if not len(own):
        return used[["lon", "lat"]].drop_duplicates().assign(value=np.nan)
    departure = own.get("o_minus_b", np.nan)
    return own[["lon", "lat"]].assign(value=departure * factor)


def spectra_of(
    material: Material, field: Chosen, times: Sequence[pd.Timestamp]
) -> tuple[Array, Mapping[str, Array]]:
    """Return wavenumbers and the mean power of states and errors over some cycles."""
    grid, (factor, _) = grid_of(material.layout), material.unit(field.variable)
    series: dict[str, list[Array]] = {}
    for time in times:
        states = {name: values(ds, field, time) for name, ds in material.states.items()}
        true_state = material.true_state(time)
        if true_state is not None:
            truth = values(true_state, field, time)
            errors = {f"{name} error": state - truth for name, state in states.items()}
            states = {"truth": truth} | states | errors
        for name, state in states.items():
            series.setdefault(name, []).append(factor * state)
    stacked = {name: torch.from_numpy(np.stack(states)) for name, states in series.items()}
    power = {name: zonal_spectrum(x, grid).mean(0).numpy() for name, x in stacked.items()}
    return wavenumbers(grid).numpy().astype(np.float64), power


def spread_evenly(times: Sequence[pd.Timestamp], count: int) -> list[pd.Timestamp]:
    """Return at most `count` of the times, evenly spread, the last one among them."""
    if len(times) <= count:
        return list(times)
    index = np.unique(np.linspace(0, len(times) - 1, count).round().astype(int))
    return [times[i] for i in index]


def ranks_of(material: Material, field: Chosen, times: Sequence[pd.Timestamp]) -> Array | None:
    """Return how often the truth has each rank among the members, over points and cycles."""
    ds = material.states.get("analysis")
    if ds is None or material.truth is None or ds.sizes.get("member", 1) < 2:
        return None
    counts = np.zeros(ds.sizes["member"] + 1)
    for time in times:
        members = ds.assign_coords(member=np.arange(ds.sizes["member"]))
        each = [values(members.sel(member=[m]), field, time) for m in members["member"].to_numpy()]
        rank = (np.stack(each) < values(material.truth(time), field, time)).sum(0)
        area = np.broadcast_to(grid_of(ds).area_fractions[:, None], rank.shape)
        counts += np.bincount(rank.ravel(), weights=area.ravel(), minlength=len(counts))
    return np.asarray(counts / counts.sum())
