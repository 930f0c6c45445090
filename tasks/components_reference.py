"""The truth of an experiment from its configuration: a nature run, or data on disk."""

import math
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from configs.data import NatureReference as NatureOptions
from configs.data import NetcdfReference as NetcdfOptions
from configs.data import Reference as ReferenceOptions
from models.state import StateSpec
from tasks.experiment import Experiment
from tasks.forecast_card import card_of
from tasks.reference import Reference
from tasks.reference_gridded import GriddedReference, NetcdfReference, ZarrReference
from tasks.reference_nature import NatureReference
from tasks.registry import LoadedComponent
from tasks.source_digest import code_digest
from tasks.store import is_remote, join

__all__ = [
    "cache_address",
    "check_history",
    "check_slots",
    "hours_of",
    "nature_reference",
    "on_grid_of",
    "opened",
]

NATURE_HOURS = 6
STREAMS = "/streams/"  # in the address of a stream (`tasks.streams`), after that of the whole


def cache_address(root: str) -> str:
    """Return where the nature run of the experiment at `root` is kept.

    LOSDA_CACHE says so; else it is the user's cache, or for a remote experiment its own folder,
    which the streams of a reprocess share.

    Workers on several machines must share it: a chaotic run is not the same on another processor.
    """
    if "LOSDA_CACHE" in os.environ:
        return os.environ["LOSDA_CACHE"]
    if is_remote(root):
        return join(root.rsplit(STREAMS, 1)[0], "reference")
    return str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "losda")


def nature_reference(
    world: LoadedComponent, segment: str, offsets: Iterable[pd.Timedelta], root: str
) -> NatureReference:
    """Return the nature run that starts at a state of the component `world`.

    Args:
        world: The component, verified.
        segment: Name of the state.
        offsets: Times of the observations within the window; there is a state at each.
        root: Address of the experiment.

    Raises:
        ValueError: The component has no such state.
    """
    from models.world.nature import nature_model

    segments = world.card.configuration.get("segments", {})
    if not isinstance(segments, dict) or segment not in segments:
        allowed = ", ".join(segments) if isinstance(segments, dict) else "none"
        raise ValueError(f"reference.segment: {segment!r}; allowed: {allowed}")
    hours = math.gcd(NATURE_HOURS, *(round(o / pd.Timedelta(hours=1)) for o in offsets))
    name = f"{code_digest()[:12]}-{world.digest[:12]}-{segment}"
    name += "" if hours == NATURE_HOURS else f"-{hours}h"
    return NatureReference(
        nature_model(),
        world.tensors[segment],
        pd.Timestamp(str(segments[segment])),
        join(cache_address(root), "nature", name),
        step=pd.Timedelta(hours=hours),
        shorter=lambda seconds: nature_model(time_step=seconds),
    )


def opened(options: ReferenceOptions) -> GriddedReference:
    """Return the data of a configuration, on their own grid.

    Raises:
        ValueError: The configuration has no data, or they have another grid than it says.
    """
    if isinstance(options, NatureOptions):
        raise ValueError("reference.kind: 'nature'; allowed here: 'netcdf', 'zarr'")  # noqa: TRY004
    kind = NetcdfReference if isinstance(options, NetcdfOptions) else ZarrReference
    where = options.address, options.variables, options.region, options.coarsen
    found: GriddedReference = kind(*where)
    if options.grid is not None and found.spec.grid.shape != options.grid:
        raise ValueError(
            f"{options.address}: {found.spec.grid.shape} rows and columns; "
            f"reference.grid: {options.grid}"
        )
    return found


def on_grid_of(statistics: LoadedComponent, found: GriddedReference) -> GriddedReference:
    """Return data on the grid of trained statistics."""
    card = statistics.card.architecture.get("spec")
    spec = StateSpec.from_json(card) if isinstance(card, dict) else found.spec
    if spec.shape != found.spec.shape:  # `Components.statistics` says so
        return found
    return found.on(spec.grid, f"statistics {statistics.digest[:12]}")


def check_history(
    forecast_model: LoadedComponent, reference: Reference, first: pd.Timestamp, step: pd.Timedelta
) -> None:
    """Refuse a reference without the states that a model with memory starts from.

    Raises:
        ValueError: The state before the first is missing.
    """
    history = card_of(forecast_model).history
    if history is None:
        return
    try:
        reference.check(first - history, first - history, step)
    except ValueError as error:
        before = f"the forecast model also needs the state {hours_of(history)} before it starts"
        raise ValueError(f"{before}: {error}") from None


def check_slots(reference: Reference, experiment: Experiment) -> None:
    """Refuse a reference without states at the times of the observations.

    Raises:
        ValueError: One is missing.
    """
    for offset in experiment.window.offsets:
        if not offset:
            continue
        first, last = experiment.start + offset, experiment.cycle_times()[-1] + offset
        try:
            reference.check(first, last, experiment.step)
        except ValueError as error:
            slots = experiment.config.observations.slots
            needed = f"the reference must have states {hours_of(offset)} from the cycle times"
            raise ValueError(f"observations.slots: {slots}; {needed}: {error}") from None


def hours_of(lead: pd.Timedelta) -> str:
    """Return a lead time for a message."""
    return f"{lead / pd.Timedelta(hours=1):g} h"
