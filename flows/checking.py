"""What a run needs, checked one by one without running: one line each."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from configs import Config
from flows.errors import one_line
from tasks.components import Components, cache_address
from tasks.experiment import Experiment
from tasks.observing import files_of
from tasks.store import is_remote

__all__ = ["check_all"]

LEAST_DISK = 1e9
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
    return type(parts.method(statistics, reference.spec)).__name__


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
