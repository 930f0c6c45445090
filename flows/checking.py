"""What a run needs, checked one by one without running: one line each."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from configs import Config
from configs.data import NatureReference
from configs.methods import Latent
from flows.errors import one_line
from models.device import MethodOnDevice, name_of
from tasks.components import Components
from tasks.components_reference import cache_address
from tasks.experiment import Experiment
from tasks.observing import files_of
from tasks.sizes import Sizes
from tasks.store import is_remote

__all__ = ["check_all"]

LEAST_DISK = 1e9
DEVICES = (16, 24, 80)
"""Memory of common accelerators [GB]."""
Finding = dict[str, Any]


def check_all(config: Config, show: bool = True) -> list[Finding]:
    """Check everything, also after a failure, and return what was found."""
    findings = []
    for name, check in checks(config):
        try:
            finding = {"check": name, "ok": True, "detail": check()}
        except (ValueError, OSError, ImportError) as error:
            finding = {"check": name, "ok": False, "detail": one_line(error)}
        findings.append(finding)
        if show:
            mark = "ok    " if finding["ok"] else "FAILED"
            sys.stdout.write(f"{mark}  {name:<14}{finding['detail']}\n")
    return findings


def checks(config: Config) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the checks; the later ones use what the earlier ones loaded."""
    parts = Components(config)
    experiment = Experiment(root=".", config=config)
    yield "configuration", lambda: f"{config.name}, {config.method.kind}, {config.cycles} cycles"
    for name in parts.needed():
        yield name, lambda name=name: parts.load(name).digest  # type: ignore[misc]
    yield "reference", lambda: _reference(parts, experiment)
    yield "network", lambda: _network(parts)
    yield "method", lambda: _method(parts)
    yield from sizes(config, parts)
    yield "disk", _disk
    yield "prefect", _prefect


def _reference(parts: Components, experiment: Experiment) -> str:
    reference = parts.checked_reference(experiment)
    fields, lat, lon = reference.spec.shape
    return f"{fields} fields on {lat} x {lon} points from {experiment.first_guess_time}"


def _network(parts: Components) -> str:
    slots = parts.config.observations.slots
    if (files := files_of(parts.config)) is not None:
        parts.observing(parts.reference(".").spec)
        return f"files at {', '.join(files.address)}"
    return f"{parts.network(parts.reference('.').spec).kind}, {slots} times in each window"


def _method(parts: Components) -> str:
    reference = parts.reference(".")
    statistics = parts.statistics(reference.spec)
    parts.forecast_model(statistics, reference.spec)
    method = parts.method(statistics, reference.spec)
    if isinstance(method, MethodOnDevice):
        return f"{type(method.method).__name__} on {name_of(method.device)}"
    return f"{type(method).__name__} on the processor"


def sizes(config: Config, parts: Components) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield how large everything is, where the reference is data."""
    if isinstance(config.reference, NatureReference):
        return
    found: list[Sizes] = []

    def size() -> Sizes:
        if not found:
            found.append(_sizes(config, parts))
        return found[0]

    yield "parameters", lambda: _parameters(size())
    yield "memory", lambda: _training_memory(config, size())
    if isinstance(config.method, Latent):
        yield "members", lambda: _members(config, *_shape(config, parts))
    yield "disk needed", lambda: _disk_needed(config, size())
    yield "hours", lambda: _hours(config, size())


def _sizes(config: Config, parts: Components) -> Sizes:
    from tasks.sizes import sizes_of

    return sizes_of(config, *_shape(config, parts))


def _shape(config: Config, parts: Components) -> tuple[int, tuple[int, int]]:
    """Return the fields of a state, and its latitudes and longitudes."""
    options = config.reference
    if isinstance(options, NatureReference):
        raise TypeError("a nature run has the sizes of the embedded world")
    grid = options.grid or parts.gridded().spec.grid.shape
    return sum(len(v.levels or (0,)) for v in options.variables), grid


def _parameters(size: Sizes) -> str:
    each = ", ".join(f"{part.name} {part.parameters / 1e6:.1f}" for part in size.parts)
    return f"{size.parameters / 1e6:.0f} million: {each}"


def _training_memory(config: Config, size: Sizes) -> str:
    most = max(size.parts, key=lambda part: part.training_memory)
    computing = config.train.computing
    how = computing.precision + (", recomputed" if computing.recompute else "")
    return f"training {size.training_memory / 1e9:.1f} GB ({most.name}, batch {most.batch}, {how})"


def _members(config: Config, fields: int, grid: tuple[int, int]) -> str:
    from tasks.analysis_memory import memory_of_members, usable

    memory, members = memory_of_members(config, fields, grid), getattr(config.method, "members", 1)
    peak = memory.peak(members, config.chunk) / 1e9
    most = ", ".join(f"{gb} GB {memory.largest_ensemble(usable(gb * 1e9))}" for gb in DEVICES)
    return (
        f"{members}, chunk {config.chunk or members}: {peak:.1f} GB; each {memory.each / 1e9:.2f} GB, and "
        f"{memory.at_once / 1e9:.2f} GB at once; most at once on a device of {most}"
    )


def _disk_needed(config: Config, size: Sizes) -> str:
    parts = {
        f"{config.cycles} cycles": size.experiment,
        "training": size.workshop,
        "registry": size.registry,
    }
    free = shutil.disk_usage(".").free
    text = ", ".join(f"{name} {need / 1e9:.1f} GB" for name, need in parts.items())
    if sum(parts.values()) > free:
        raise ValueError(f"{text}; free here: {free / 1e9:.0f} GB")
    return f"{text}; {free / 1e9:.0f} GB are free here"


def _hours(config: Config, size: Sizes) -> str:
    from tasks.sizes import throughput

    rate, device = throughput()
    training, analysis = size.training_operations / rate / 3600, size.analysis / rate
    every = f"{config.cycles} analyses {config.cycles * analysis / 3600:,.3g} h"
    return (
        f"estimated for this machine, {rate / 1e9:,.0f} GFLOP/s measured ({device}): training "
        f"{training:,.3g} h, an analysis {analysis:,.3g} s, {every}; without reading and forecasts"
    )


def _disk() -> str:
    for address in (".", cache_address(".")):
        if is_remote(address):
            continue
        folder = Path(address)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if free < LEAST_DISK:
            raise ValueError(f"{folder}: {free / 1e9:.1f} GB free; needed: {LEAST_DISK / 1e9:.0f}")
    return f"{shutil.disk_usage('.').free / 1e9:.0f} GB free"


def _prefect() -> str:
    import prefect
    import prefect.server.api.server

    return f"{prefect.__version__}, server imports"
