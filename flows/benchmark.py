"""The flow `benchmark`: one Prefect task for each case, as many at a time as there are workers.

Each worker is a process of its own with one thread, so that cases side by side do not share
anything but the processor. A case goes on where it was stopped, so the same command does too.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from configs.benchmark import Benchmark
from flows import server

if TYPE_CHECKING:
    from tasks.benchmark_case import Case

__all__ = ["case_runner", "run_benchmark"]

SPAWN = multiprocessing.get_context("spawn")


def run_benchmark(
    benchmark: Benchmark, directory: str, workers: int = 2, only: Sequence[str] = ()
) -> dict[str, Any]:
    """Run all cases of a benchmark and write its table and page.

    Args:
        benchmark: What to compare.
        directory: Where the cases and the results are.
        workers: Processes side by side; 0 runs the cases in this one.
        only: Labels of methods; all if empty.

    Returns:
        The summary, as `benchmark.json` has it.

    Raises:
        ValueError: The configuration is wrong, or the directory holds another benchmark.
    """
    from tasks.benchmark_plan import cases
    from tasks.benchmark_published import restore

    planned = cases(benchmark)
    chosen = [case for case in planned if not only or case.method in only]
    if not chosen:
        raise ValueError(f"--only {','.join(only)}: allowed: {', '.join(benchmark.methods)}")
    restore(planned, directory)
    with case_runner(directory, workers) as run:
        run(chosen)
    if not only:
        measure(benchmark, directory)
    from tasks.benchmark_report import write_results

    return write_results(benchmark, directory)


def measure(benchmark: Benchmark, directory: str) -> None:
    """Measure the cost of the methods, alone and in a process of its own."""
    if benchmark.cost is not None:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            pool.submit(cost_work, benchmark, directory).result()


def cost_work(benchmark: Benchmark, directory: str) -> None:
    """Measure with one thread."""
    import torch

    from tasks.benchmark_cost import measure_cost

    torch.set_num_threads(1)
    measure_cost(benchmark, directory, lambda line: print(line, file=sys.stderr, flush=True))


@contextmanager
def case_runner(
    directory: str, workers: int, fragile: bool = False
) -> Iterator[Callable[[Sequence["Case"]], None]]:
    """Give a function that runs cases side by side; all its calls share one Prefect API.

    Args:
        directory: Where the cases are.
        workers: Processes side by side; 0 runs the cases in this one.
        fragile: Whether a case may blow up; it then has no end.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    api = server.start()
    try:
        with ProcessPoolExecutor(workers, mp_context=SPAWN) if workers else nullcontext() as pool:
            yield lambda chosen: _run_flow(api, chosen, directory, workers, pool, fragile)
    finally:
        api.stop()


def _run_flow(
    api: server.PrefectApi,
    chosen: Sequence["Case"],
    directory: str,
    workers: int,
    pool: ProcessPoolExecutor | None,
    fragile: bool,
) -> None:
    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.benchmarking import benchmark_flow, pools

    runner: Any = ThreadPoolTaskRunner(max_workers=max(1, workers))
    pools.extend([] if pool is None else [pool])
    try:
        api.wait()
        benchmark_flow.with_options(task_runner=runner)(chosen, directory, fragile)
    finally:
        pools.clear()
