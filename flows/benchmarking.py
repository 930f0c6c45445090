"""The Prefect flow of a benchmark: one task for each case, its work in a process of its own."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NONE

from tasks.benchmark_case import Case
from tasks.benchmark_run import run_case

__all__ = ["benchmark_flow", "pools"]

pools: list[ProcessPoolExecutor] = []
"""The pool of the flow that is running; a pool cannot be a parameter of a task."""


@flow(name="benchmark", validate_parameters=False)
def benchmark_flow(chosen: Sequence[Case], directory: str, fragile: bool = False) -> None:
    """Run the cases."""
    futures = [
        case_task.submit(case, str(Path(directory) / "cases" / case.name), fragile)
        for case in chosen
    ]
    for future in futures:
        future.result()


@task(name="case", task_run_name="{case.name}", cache_policy=NONE, persist_result=False)
def case_task(case: Case, directory: str, fragile: bool) -> None:
    """Run one case in a worker process, or in this one if there are none."""
    if pools:
        pools[0].submit(work, case, directory, fragile).result()
    else:
        work(case, directory, fragile)


def work(case: Case, directory: str, fragile: bool) -> None:
    """Run a case in this process, with one thread."""
    import torch

    torch.set_num_threads(1)
    began, parent = time.monotonic(), os.getppid()

    def report(done: int) -> None:
        if os.getppid() != parent:  # the benchmark was killed, and this process survived it
            os._exit(1)
        spent = time.monotonic() - began
        sys.stderr.write(f"{case.name} {done}/{case.steps} {spent:.0f} s\n")
        sys.stderr.flush()

    try:
        run_case(case, directory, report)
    except FloatingPointError as error:
        if not fragile:
            raise
        sys.stderr.write(f"{case.name}: {error}\n")
