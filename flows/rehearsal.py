"""`losda rehearse`: the true commands on a synthetic archive of a configuration's shape.

The archive is written to object storage: a server that is started here, or any address that is
given. Then each command runs as a process of its own, as a user would run it: check, train,
registry list, run, status, report. Nothing of the configuration is left out; only the periods, the
lengths of the trainings and, unless asked otherwise, the sizes of the networks are smaller.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from configs import Config, load
from configs.rehearsal import Rehearsal, rehearsal_of

__all__ = ["print_rehearsal", "rehearse_config"]

MAIN = "from flows.cli import app; app()"
TRIES = 3
Document = dict[str, Any]
Show = Callable[[str], None]


class RehearsalError(ArithmeticError):
    """A command of the rehearsal failed."""


def rehearse_config(
    name: str,
    out: str,
    at: str | None,
    full: bool,
    overrides: Sequence[str],
    show: Show,
) -> Document:
    """Rehearse a configuration and return what was done, in seconds and results.

    Args:
        name: Name of a preset, or path of a YAML file.
        out: Local folder for the training and, without `at`, the server's data.
        at: Address of object storage, or of a folder; by default a server is started.
        full: Whether the networks have their full size.
        overrides: Settings, as key=value, over those of the rehearsal.
        show: Shows a line of progress.

    Raises:
        ValueError: The configuration has no Zarr archive.
        RehearsalError: A command failed.
    """
    config = load(name, overrides)
    plan = rehearsal_of(config, not full)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with _storage(folder, at, show) as (address, environment):
        os.environ.update(environment)
        addresses = {
            "reference.address": f"{address}/archive.zarr",
            "registry": f"{address}/registry",
        }
        commands = Commands(name, plan.settings | addresses, overrides, folder)
        return _steps(commands, config, plan, address, show)


def _steps(
    commands: "Commands", config: Config, plan: Rehearsal, address: str, show: Show
) -> Document:
    began = time.perf_counter()
    seconds: dict[str, float] = {}

    def timed(step: str, function: Callable[[], Any]) -> Any:  # noqa: ANN401  (a JSON document)
        start = time.perf_counter()
        found = function()
        seconds[step] = round(time.perf_counter() - start, 1)
        show(f"{step}: {seconds[step]:.1f} s")
        return found

    size = timed("archive", lambda: _archive(config, plan, f"{address}/archive.zarr", show))
    sizes = timed("check", lambda: commands.run("check", commands.name, expect=(0, 2)))
    train = ("train", commands.name, "--out", str(commands.log.parent / "training"))
    trained = timed("train", lambda: commands.run(*train, "--registry", f"{address}/registry"))
    listed = timed(
        "registry",
        lambda: commands.run(
            "registry", "list", "--registry", f"{address}/registry", settings=False
        ),
    )
    experiment = f"{address}/experiment"
    ran = timed("run", lambda: commands.run("run", commands.name, "--out", experiment))
    status = timed("status", lambda: commands.run("status", experiment, settings=False))
    report = timed("report", lambda: commands.run("report", experiment, settings=False))
    seconds["total"] = round(time.perf_counter() - began, 1)
    return {
        "configuration": commands.name,
        "address": address,
        "archive": {"times": len(plan.times), "bytes": size},
        "checks": {row["check"]: row["detail"] for row in sizes["checks"]},
        "components": trained["components"],
        "registry": [f"{entry['component']} {entry['digest'][:12]}" for entry in listed],
        "cycles": ran["cycles"],
        "mean": ran["mean"],
        "status": status.get("cycles", status),
        "report": report["report"],
        "seconds": seconds,
    }


def _archive(config: Config, plan: Rehearsal, address: str, show: Show) -> int:
    """Write the synthetic archive."""
    from tasks.components import Components
    from tasks.store import exists
    from tasks.synthetic_archive import regular_grid, synthetic_states, write_archive

    options = config.reference
    assert options.kind != "nature"  # `rehearsal_of` has refused it
    times = pd.DatetimeIndex(plan.times)
    if exists(f"{address}/.zmetadata"):  # written last
        return 0
    grid = regular_grid(*(options.grid or (128, 256)))
    nature = Components(load("embedded")).reference(".")
    blocks = synthetic_states(nature, list(times), options.variables, grid)
    return write_archive(
        address,
        blocks,
        times,
        options.variables,
        grid,
        lambda done: show(f"archive: {done}/{len(times)} times"),
    )


class Commands:
    """Runs commands of losda, each a process of its own."""

    def __init__(
        self, name: str, settings: Mapping[str, object], overrides: Sequence[str], folder: Path
    ) -> None:
        """Set the settings of all of them, and where their standard error goes."""
        self.name, self.log = name, folder / "rehearsal.log"
        own = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        self.settings = [part for text in (*own, *overrides) for part in ("--set", text)]

    def run(
        self, *arguments: str, settings: bool = True, expect: tuple[int, ...] = (0,)
    ) -> Document:
        """Run a command and return its JSON document.

        What failed (exit code 1) and not for its input is tried again: it goes on where it was.

        Raises:
            RehearsalError: It ended with another code than was expected.
        """
        command = [*arguments, *(self.settings if settings else []), "--json"]
        for _ in range(TRIES):
            with self.log.open("a") as log:
                done = subprocess.run(
                    [sys.executable, "-c", MAIN, *command],
                    check=False,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            if done.returncode != 1:
                break
        if done.returncode not in expect:
            lines = self.log.read_text().strip().splitlines()
            last = lines[-1] if lines else "nothing was said"
            raise RehearsalError(f"losda {' '.join(arguments)}: exit {done.returncode}: {last}")
        document: Document = json.loads(done.stdout)
        return document


@contextmanager
def _storage(folder: Path, at: str | None, show: Show) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the address to write below, and what the environment needs for it."""
    if at is not None:
        yield at.rstrip("/"), {}
        return
    from tasks.seaweedfs import BUCKET, s3_server

    # The server ends with its block, also after SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with s3_server(folder / "s3") as server:
        show(f"S3 server at {server.endpoint}")
        yield f"s3://{BUCKET}/rehearsal", server.environment


def print_rehearsal(document: Document) -> None:
    """Print what was done, for people."""
    from flows.tables import print_rows

    rows = [
        {"step": step, "seconds": f"{value:.1f}"} for step, value in document["seconds"].items()
    ]
    print_rows(rows, f"rehearsal of {document['configuration']} at {document['address']}")
