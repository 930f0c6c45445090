"""The flow `benchmark`: one Prefect task for each case, as many at a time as there are workers.

Each worker is a process of its own with one thread, so that cases side by side do not share
anything but the processor. A case goes on where it was stopped, so the same command does too.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NONE
from prefect.task_runners import ThreadPoolTaskRunner

from configs.benchmark import Benchmark
from flows import server
from tasks.benchmark_case import Case, run_case
from tasks.benchmark_plan import cases

__all__ = ["run_benchmark"]

_pool: list[ProcessPoolExecutor] = []


def run_benchmark(
    benchmark: Benchmark, directory: str, workers: int = 2, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Run all cases of a benchmark and write its table and page.

    Args:
        benchmark: What to compare.
        directory: Where the cases and the results are.
        workers: Processes side by side.
        only: Labels of methods; all if empty.

    Returns:
        The summary, as `benchmark.json` has it.

    Raises:
        ValueError: The configuration is wrong, or the directory holds another benchmark.
    """
    chosen = [case for case in cases(benchmark) if not only or case.method in only]
    if not chosen:
        raise ValueError(f"--only {','.join(only)}: allowed: {', '.join(benchmark.methods)}")
    os.environ["OMP_NUM_THREADS"] = "1"
    api = server.start()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        _pool.append(pool)
        try:
            api.wait()
            runner = ThreadPoolTaskRunner(max_workers=workers)  # type: ignore[no-untyped-call]
            benchmark_flow.with_options(task_runner=runner)(chosen, directory)
        finally:
            _pool.clear()
    from tasks.benchmark_report import write_results

    return write_results(benchmark, directory)


@flow(name="benchmark", validate_parameters=False)
def benchmark_flow(chosen: Sequence[Case], directory: str) -> None:
    """Run the cases."""
    futures = [
        case_task.submit(case, str(Path(directory) / "cases" / case.name)) for case in chosen
    ]
    for future in futures:
        future.result()


@task(name="case", task_run_name="{case.name}", cache_policy=NONE, persist_result=False)
def case_task(case: Case, directory: str) -> None:
    """Run one case in a worker process."""
    _pool[0].submit(work, case, directory).result()


def work(case: Case, directory: str) -> None:
    """Run a case in this process, with one thread."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()

    def report(done: int) -> None:
        spent = time.monotonic() - began
        sys.stderr.write(f"{case.name} {done}/{case.steps} {spent:.0f} s\n")
        sys.stderr.flush()

    run_case(case, directory, report)
