"""Start a run: the Prefect API and the reference come up while the components load."""

import asyncio
import gc
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from configs import Config
from flows import BEGAN, monitoring, progress, server, summary
from tasks.experiment import Experiment

if TYPE_CHECKING:
    from tasks.runtime import Runtime

__all__ = ["choose_compiler", "prepare", "run_experiment", "start_api"]


def run_experiment(experiment: Experiment, report: bool = True) -> dict[str, Any]:
    """Run the cycles that the ledger lacks and return the JSON document.

    Args:
        experiment: What to run.
        report: Whether to write the report.

    Raises:
        ValueError: The input is wrong; nothing was written.
    """
    from tasks.timing import busy_seconds

    api = start_api(experiment)
    try:
        runtime = prepare(experiment)
        runtime.plan.require_fresh(experiment.cycle_times())
    except BaseException:
        api.stop()
        raise
    _run_flow(api, runtime)
    document = summary.document(experiment, runtime.plan)
    if report:
        document["report"] = _write_report(experiment.root)
    wall, busy = time.perf_counter() - BEGAN, busy_seconds(BEGAN)
    return document | {"wall_seconds": wall, "busy_seconds": busy, "overhead": 1 - busy / wall}


def start_api(experiment: Experiment | None = None) -> server.PrefectApi:
    """Begin to start the Prefect API, before torch is loaded for an experiment."""
    choose_compiler(None if experiment is None else experiment.config)
    return server.start()


def choose_compiler(config: Config | None) -> None:
    """Let torch, which is to be loaded yet, run TorchScript if a forecast model is one."""
    if getattr(config and config.forecast_model, "torchscript", False):
        os.environ["PYTORCH_JIT"] = "1"  # off everywhere else: `flows`


def prepare(experiment: Experiment) -> "Runtime":
    """Load and check everything, then bind the directory to the configuration.

    Raises:
        ValueError: The input is wrong; nothing was written.
    """
    from tasks.ledger import open_experiment
    from tasks.runtime import open_runtime
    from tasks.timing import working

    runtime = open_runtime(experiment)
    with working():
        open_experiment(experiment.root, runtime.plan.resolved)
    return runtime


def _run_flow(api: server.PrefectApi, runtime: "Runtime") -> None:
    """Run the flow, with the reference a step ahead of it in a thread."""
    stop = threading.Event()
    ahead = threading.Thread(target=runtime.read_ahead, args=(stop,))
    if runtime.reference.times is None:
        ahead.start()
    shown = progress.show(runtime.experiment.config.cycles)
    try:
        from flows.artifacts import clerk_at_work, tagged
        from flows.cycle import run

        # What is loaded by now stays to the end; not to walk it saves a second at exit.
        gc.freeze()
        api.wait()
        with tagged(runtime.experiment), monitoring.monitored(runtime.plan), clerk_at_work():
            asyncio.run(run(runtime.experiment))
    finally:
        shown.close()
        stop.set()
        if ahead.ident:
            ahead.join()


def _write_report(root: str) -> str:
    from tasks.report import write_report
    from tasks.timing import working

    with working():
        return write_report(root)
