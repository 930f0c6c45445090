"""Three things that happen once: the S3 server hangs, a worker stands still, the server misses 20 hours.

s3 hangs     SIGSTOP of the S3 server, 60 s long, then SIGCONT
zombie       SIGSTOP of the gpu worker and its run at work, until the server says that the run
             crashed; another worker does the work; SIGCONT, and what was thought dead goes on
20 hours     the server is killed and kept from starting, the experiment's clock is moved 20 h
             ahead: three cycles are due at once when the server comes back
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from configs import Config, load_text
from configs.operations import MappedClock
from tasks import store
from tasks.driver import save_settings, settings_of
from tasks.experiment import Experiment
from tasks.ledger_lease import living
from tests.running_services import Process, RunningServices
from tests.service_kills import SERVICES, runs_below, send, workers

__all__ = ["hang_s3", "jump", "move_clock", "set_operations", "stand_still"]

PATIENCE = 900.0


def hang_s3(services: RunningServices, seconds: float) -> str:
    """Let the S3 server stand still; connections to it neither end nor answer."""
    stopped = [n for command, n in services.children().items() if SERVICES["s3"] in command]
    send(signal.SIGSTOP, stopped)
    time.sleep(seconds)
    send(signal.SIGCONT, stopped)
    return f"the S3 server hung for {seconds:.0f} s"


def stand_still(services: RunningServices, root: str, generator: random.Random) -> str:
    """Let a gpu worker and its run stand still until the server says that the run crashed."""
    run = _wait(lambda: _at_work(services, root), 0.05)
    stopped = [run.parent, *(process.number for process in services.below(run.parent))]
    send(signal.SIGSTOP, stopped)
    began, spare = time.monotonic(), _second_worker(services, run.parent)
    try:
        state = _wait(lambda: _final_state(services, run.run), 1.0)
        dead_after = time.monotonic() - began
        time.sleep(generator.uniform(0, 20))  # before, while or after the other one does it
        send(signal.SIGCONT, stopped)
        _wait(lambda: run.number not in {process.number for process in services.below()}, 1.0)
        back = time.monotonic() - began
    finally:
        send(signal.SIGCONT, stopped)
        spare.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            spare.wait(30)
        send(signal.SIGKILL, [process.number for process in services.below(spare.pid)])
        spare.kill()
        spare.wait()
    return (
        f"a worker at work stood still; its run was {state['type'].lower()} after "
        f"{dead_after:.0f} s ({state['message']}); it came back and ended after {back:.0f} s"
    )


def jump(services: RunningServices, root: str, hours: float, seconds: float) -> str:
    """Kill the server, keep it from starting for some seconds, and move the clock meanwhile."""
    send(signal.SIGSTOP, [services.process.pid])  # who would start it again
    dead = [n for command, n in services.children().items() if SERVICES["server"] in command]
    send(signal.SIGKILL, dead)
    move_clock(root, timedelta(hours=hours))
    time.sleep(seconds)
    send(signal.SIGCONT, [services.process.pid])
    return f"the server was down for {seconds:.0f} s while the clock went {hours:g} h ahead"


def move_clock(root: str, ahead: timedelta) -> None:
    """Move the clock of an experiment; a drive that is under way keeps that of its start."""
    clock = _config(root).operations.clock
    assert isinstance(clock, MappedClock)
    set_operations(root, clock=clock.model_copy(update={"at": clock.at - ahead / clock.rate}))


def set_operations(root: str, **settings: object) -> None:
    """Change operational settings of an experiment."""
    config = _config(root)
    operations = config.operations.model_copy(update=settings)
    changed = config.model_copy(update={"operations": operations})
    save_settings(Experiment(root=root, config=changed))


def _config(root: str) -> Config:
    text = settings_of(root)
    assert text is not None
    return load_text(text, root)


def _at_work(services: RunningServices, root: str) -> Process | None:
    """Return the run of a gpu worker that is at a stage right now."""
    gpus = workers(services, "gpu")
    runs = {run.number: run for run in runs_below(services) if run.parent in gpus}
    if not runs:
        return None
    attempts = store.join(root, "attempts")
    cycles = store.names(attempts)
    for stage in store.names(store.join(attempts, cycles[-1])) if cycles else ():
        lease = living(store.join(attempts, cycles[-1], stage))
        if lease and lease.process in runs:
            return runs[lease.process]
    return None


def _second_worker(services: RunningServices, first: int) -> "subprocess.Popen[bytes]":
    """Start another worker of the same pool."""
    there = next(process for process in services.below() if process.number == first)
    command = there.command.replace("--name gpu-0", "--name gpu-spare").split(" ")
    with (services.folder / "logs" / "worker-gpu-spare.log").open("ab") as log:
        return subprocess.Popen(command, env=there.environment, stdout=log, stderr=log)


def _final_state(services: RunningServices, run: str) -> dict[str, Any] | None:
    with suppress(OSError):
        state = services.ask(f"/flow_runs/{run}")["state"]
        if state["type"] in ("CRASHED", "FAILED", "CANCELLED", "COMPLETED"):
            return dict(state)
    return None


def _wait(condition: Callable[[], Any], every: float) -> Any:  # noqa: ANN401
    ended = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > ended:
            raise TimeoutError("nothing happened")
        time.sleep(every)
    return found
