"""A simulated year: cycles on a schedule, with an instant forecast and analysis, and what grows on the way.

    python -m tests.simulated_year --out DIR [--cycles 1460] [--seconds 0.7] [--placed 100] [--due 10]

First `losda drive` makes the cycles itself, each when the experiment's clock says that it is due, and
records them in the server of `losda up`. Then cron lets workers make some of another experiment, one
after the other, and a few of a third, one every 40 s.
Resident memory and processor time of server, workers and drive are compared after the first cycles and
at the end. Prints the figures, for the workers also the seconds from a cycle being due to its forecast's
first step, and ends with exit code 1 if memory or the time of a cycle grew by more than 5 %, or a cycle
is missing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.operations import experiment_of
from tasks import store
from tasks.clock import clock_of
from tasks.ports import free_ports
from tests.chaos import REPOSITORY
from tests.running_services import LOSDA, RunningServices
from tests.small_experiment import make_tiny

ALLOWED = 1.05
WINDOWS = 10
"""Memory and time are compared between two windows, each so small a part of the cycles."""
IDLE = 40.0
"""Seconds between cycles for which workers wait."""
SETTLED = 100
"""So many cycles fill caches."""


@dataclass
class Watch:
    """Memory and processor time of processes, while cycles are made.

    Attributes:
        samples: Done cycles, resident bytes and seconds of the processor, by process.
    """

    samples: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)

    def look(self, done: int, processes: Mapping[str, int]) -> None:
        """Note what processes have and have used."""
        for name, number in processes.items():
            self.samples.setdefault(name, []).append((done, resident(number), used(number)))

    def growth(self, cycles: int) -> dict[str, dict[str, float]]:
        """Return memory and time of a cycle at the end over those after the first cycles."""
        settled = min(SETTLED, cycles // 4)
        return {
            name: {
                "memory": memory(rows, cycles, cycles) / memory(rows, settled, cycles),
                "seconds": seconds(rows, cycles, cycles) / seconds(rows, settled, cycles),
                "MB": round(memory(rows, cycles, cycles) / 1e6, 1),
                "ms a cycle": round(1000 * seconds(rows, cycles, cycles), 1),
            }
            for name, samples in self.samples.items()
            for rows in [np.array(samples, float)]
        }


def window(rows: np.ndarray, begin: int, cycles: int) -> np.ndarray:
    """Return the samples of the window that begins at a number of cycles, or ends at the last."""
    width = cycles // WINDOWS
    begin = min(begin, cycles - width)
    return rows[(rows[:, 0] >= begin) & (rows[:, 0] <= begin + width)]


def memory(rows: np.ndarray, begin: int, cycles: int) -> float:
    """Return the median resident memory in a window [bytes]."""
    return float(np.median(window(rows, begin, cycles)[:, 1]))


def seconds(rows: np.ndarray, begin: int, cycles: int) -> float:
    """Return the processor time of a cycle in a window [s]."""
    found = window(rows, begin, cycles)
    return float(np.polyfit(found[:, 0], found[:, 2], 1)[0])


def resident(process: int) -> int:
    """Return the resident memory of a process [bytes]."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def used(process: int) -> float:
    """Return the processor time that a process has used [s]."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def published(root: str) -> int:
    """Return how many cycles are published."""
    return len(store.names(store.join(root, "published")))


def settings(cycles: int, rate: float) -> list[str]:
    """Return the options of an experiment whose cycles become due at a rate, from now on."""
    at = datetime.now(UTC) + timedelta(seconds=30)
    end = datetime(2001, 1, 3) + (cycles - 1) * timedelta(hours=6)
    chosen = {
        "method.kind": "free",
        "operations.clock.kind": "mapped",
        "operations.clock.at": f"{at:%Y-%m-%dT%H:%M:%S}",
        "operations.clock.rate": f"{rate:.1f}",
        "operations.end": f"{end:%Y-%m-%dT%H:%M}",
    }
    return [text for name, value in chosen.items() for text in ("--set", f"{name}={value}")]


def follow(
    root: str, cycles: int, processes: Callable[[], Mapping[str, int]], wait: float
) -> Watch:
    """Watch processes until so many cycles are published.

    Raises:
        TimeoutError: Nothing was published for ten minutes.
    """
    watch, done, news = Watch(), 0, time.monotonic()
    while done < cycles:
        found = published(root)
        if found > done:
            done, news = found, time.monotonic()
            watch.look(done, processes())
        if time.monotonic() - news > 600:
            raise TimeoutError(f"{done} of {cycles} cycles are published, and no more are")
        time.sleep(wait)
    return watch


def services_of(services: RunningServices) -> dict[str, int]:
    """Return server and workers by name."""
    found = {}
    for command, number in services.children().items():
        words = command.split()
        if "uvicorn" in command:
            found["server"] = number
        elif "worker" in words:
            found[f"worker {words[words.index('--pool') + 1]}"] = number
    return found


def driven(
    services: RunningServices, config: Path, root: Path, cycles: int, each: float
) -> dict[str, Any]:
    """Let a drive make the cycles itself; return what grew, and whether any is missing."""
    command = (*LOSDA, "drive", str(config), "--out", str(root), "--cycles", str(cycles))
    options = settings(cycles, 6 * 3600 / each)
    drive = subprocess.Popen((*command, "--every", "5s", *options), env=services.environment)
    try:
        watch = follow(
            str(root), cycles, lambda: services_of(services) | {"drive": drive.pid}, each
        )
    finally:
        drive.terminate()
        drive.wait(120)
    return summary(watch, str(root), cycles)


def placed(
    services: RunningServices, config: Path, root: Path, cycles: int, each: float
) -> dict[str, Any]:
    """Let cron and workers make the cycles; return what grew, and whether any is missing."""
    options = settings(cycles, 6 * 3600 / each)
    services.losda("deploy", config, "--out", root, *options, "--cron", "* * * * *")
    watch = follow(str(root), cycles, lambda: services_of(services), 1.0)
    services.losda("deploy", root, "--remove")
    return {
        "due to forecast": due_to_forecast(str(root), cycles),
        **summary(watch, str(root), cycles),
    }


def summary(watch: Watch, root: str, cycles: int) -> dict[str, Any]:
    """Return what grew, and which cycles are not there."""
    wanted = {name_of(k) for k in range(cycles)}
    found = set(store.names(store.join(root, "ledger")))
    return {"cycles": cycles, "missing": sorted(wanted - found), **watch.growth(cycles)}


def due_to_forecast(root: str, cycles: int) -> float:
    """Return the median time from a forecast being due to its first step [s].

    It is due when its time has come and the analysis before it is committed.
    """
    experiment = experiment_of(root)
    clock, offset = clock_of(experiment), pd.Timedelta(experiment.config.operations.offset)
    waits = []
    for number in range(1, cycles):
        forecast, analysis = (
            json.loads(store.read_bytes(store.join(root, "ledger", name_of(k), f"{stage}.json")))
            for k, stage in ((number, "forecast"), (number - 1, "analysis"))
        )
        begun, free = (pd.Timestamp(c["created"]).tz_localize(None) for c in (forecast, analysis))
        begun -= pd.Timedelta(seconds=sum(forecast["seconds"].values()))
        due = clock.utc(experiment.start + number * experiment.step + offset)
        waits.append((begun - max(free, due)).total_seconds())
    sys.stderr.write(f"due to forecast [s]: {np.round(waits, 1).tolist()}\n")
    return round(float(np.median(waits)), 2)


def name_of(number: int) -> str:
    """Return the name of a cycle by its number."""
    return str(np.datetime64("2001-01-03T00", "h") + 6 * number).replace("-", "")


def main() -> int:
    """Run what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cycles", type=int, default=1460)
    parser.add_argument("--seconds", type=float, default=0.7, help="between two cycles")
    parser.add_argument("--placed", type=int, default=100, help="cycles of the workers")
    parser.add_argument("--due", type=int, default=10, help="cycles with idle workers")
    given = parser.parse_args()
    out = given.out.absolute()
    out.mkdir(parents=True)
    own = {"PREFECT_HOME": str(out / "home"), "LOSDA_CACHE": str(out / "cache")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOSDA_", "PREFECT_"))}
    environment = kept | own | {"PYTHONPATH": REPOSITORY, "OMP_NUM_THREADS": "1"}
    config = make_tiny(out, max(given.cycles, given.placed, given.due) + 24).config
    port = free_ports(("server",))["server"]
    services = RunningServices(out / "services", environment, port, "sqlite")
    document = {}
    try:
        if given.cycles:
            document["driven"] = driven(
                services, config, out / "driven", given.cycles, given.seconds
            )
        if given.placed:
            document["placed"] = placed(services, config, out / "placed", given.placed, 1e-5)
        if given.due:
            document["due"] = placed(services, config, out / "due", given.due, IDLE)
    finally:
        services.stop()
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    grown = [
        ratio
        for part in document.values()
        if part["cycles"] > SETTLED // 2
        for name, about in part.items()
        if isinstance(about, dict)
        for ratio in (about["memory"], *([about["seconds"]] if name == "drive" else []))
    ]
    return int(
        any(part["missing"] for part in document.values()) or max(grown, default=1.0) > ALLOWED
    )


if __name__ == "__main__":
    sys.exit(main())
