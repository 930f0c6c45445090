"""What of `losda up` can be killed, and the killing: SIGKILL at once, without a word before.

server, s3, database    one service
worker                  a worker with all runs that it started
worker alone            a worker; its runs go on without it
stage                   a run of `cycle` or `verify`, its worker stays
drive                   a run of `drive`
all                     everything, the supervisor included: a power cut, but for the disk's cache
"""

import os
import random
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from tests.running_services import Process, RunningServices

__all__ = ["KINDS", "kill", "runs_below", "send", "victims", "workers"]

KINDS = {
    "server": 20,
    "s3": 15,
    "database": 5,
    "worker": 20,
    "worker alone": 10,
    "stage": 15,
    "drive": 10,
    "all": 5,
}
"""Of a hundred kills so many."""
SERVICES = {"server": "flows.server:create_app", "s3": "weed mini", "database": "postgres -D"}


def victims(kind: str, services: RunningServices, generator: random.Random) -> list[int]:
    """Return the processes that a kill of some kind would end now; none if there is none."""
    if kind == "all":
        return [services.process.pid, *(process.number for process in services.below())]
    if kind in SERVICES:
        return [
            number for command, number in services.children().items() if SERVICES[kind] in command
        ]
    if kind in ("stage", "drive"):
        runs = [run for run in runs_below(services) if (run.flow == "drive") == (kind == "drive")]
        return [generator.choice(runs).number] if runs else []
    there = workers(services)
    if not there:
        return []
    chosen = generator.choice(there)
    below = services.below(chosen) if kind == "worker" else []
    return [chosen, *(process.number for process in below)]


def workers(services: RunningServices, pool: str = "") -> list[int]:
    """Return the workers, of one pool or of all."""
    found = services.children().items()
    return [
        number
        for command, number in found
        if f"worker start --type process --pool {pool}" in command
    ]


def runs_below(services: RunningServices) -> list[Process]:
    """Return the runs of flows."""
    return [process for process in services.below() if process.flow]


def kill(kind: str, services: RunningServices, generator: random.Random) -> int:
    """Kill, and return how many processes; after `all` the services are started again."""
    chosen = victims(kind, services, generator)
    send(signal.SIGKILL, chosen)
    if kind == "all" and chosen:
        services.process.wait()
        while left := [p.number for p in services.left()]:
            send(signal.SIGKILL, left)
            time.sleep(0.2)
        services.start()
    return len(chosen)


def send(number: signal.Signals, processes: Iterable[int]) -> None:
    """Send a signal to processes; some may be gone."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
