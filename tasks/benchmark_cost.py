"""Seconds and peak memory of one analysis of each method, by stage, measured in turn in one run.

In each round every method analyzes the same first guess once, so that a slow moment of the machine
meets all of them; the medians over the rounds count. Before that each makes two: the first loads what
stays in memory, such as eigenvectors; the memory is by how much the second raises the resident set
(what is allocated on the device, where there is one).

DIRECTORY/cost.json    what was measured, on what, with which code
"""

import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs.benchmark import Benchmark
from models.methods.base import Analysis
from models.randomness import torch_generator
from tasks.benchmark_plan import case_config
from tasks.benchmark_run import observe
from tasks.experiment import Experiment
from tasks.forecast import first_guess
from tasks.runtime import open_runtime
from tasks.source_digest import code_digest
from tasks.stage_clock import StageClock, TimedObservations, timed_components
from tasks.store import write_bytes
from tasks.timing import Stopwatch

__all__ = ["COST", "measure_cost", "read_cost"]

COST = "cost.json"
STAGES = ("denoiser", "encoder", "decoder", "operator")


@dataclass(frozen=True)
class Analyzer:
    """A method with a background and its observations.

    Attributes:
        method: Label of the method.
        analyze: Makes the analysis with a clock for its stages.
        observations: Number of observations.
        members: Members of the ensemble.
    """

    method: str
    analyze: Callable[[StageClock], Analysis]
    observations: int
    members: int


def measure_cost(
    benchmark: Benchmark, directory: str, report: Callable[[str], None] | None = None
) -> None:
    """Measure all methods and write `cost.json`, unless the same was measured before.

    Args:
        benchmark: The benchmark, with `cost`.
        directory: Where the results are.
        report: Called with a line after each round.
    """
    cost = benchmark.cost
    if cost is None or read_cost(benchmark, directory) is not None:
        return
    torch.set_flush_denormal(True)
    analyzers = [
        analyzer(benchmark, name, directory) for name in cost.methods or benchmark.methods
    ]
    memory = {each.method: peak_memory(each) for each in analyzers}
    rounds: dict[str, list[dict[str, float]]] = {each.method: [] for each in analyzers}
    for number in range(cost.rounds):
        for each in analyzers:
            rounds[each.method].append(stage_seconds(each))
        if report is not None:
            report(f"cost {number + 1}/{cost.rounds}")
    rows = [
        {"method": each.method, "members": each.members, "observations": each.observations}
        | {name: statistics.median(r[name] for r in rounds[each.method]) for name in SECONDS}
        | {"peak_memory": memory[each.method]}
        for each in analyzers
    ]
    document = key(benchmark) | {"machine": machine(), "rows": rows}
    write_bytes(str(Path(directory) / COST), json.dumps(document, indent=1).encode())


SECONDS = ("seconds", *STAGES, "solver")


def read_cost(benchmark: Benchmark, directory: str) -> dict[str, Any] | None:
    """Return what was measured with this benchmark and code, if it was."""
    path = Path(directory) / COST
    if benchmark.cost is None or not path.exists():
        return None
    document: dict[str, Any] = json.loads(path.read_text())
    same = all(document.get(name) == value for name, value in key(benchmark).items())
    return document if same else None


def key(benchmark: Benchmark) -> dict[str, Any]:
    """Return what the cost depends on."""
    names = {"name", "groups", "cycled", "uncycled", "reference"}
    settings = benchmark.model_dump(mode="json", exclude=names)
    return {"code": code_digest(), "settings": json.loads(json.dumps(settings))}


def analyzer(benchmark: Benchmark, method: str, directory: str) -> Analyzer:
    """Prepare a method with the first guess of the benchmark's cycles."""
    from configs import load

    assert benchmark.cost is not None
    base = load(benchmark.base, benchmark.settings)
    config = case_config(benchmark, base, method, benchmark.cost.network, 0)
    runtime = open_runtime(Experiment(root=str(Path(directory) / "cost"), config=config))
    time_ = runtime.experiment.start
    background = first_guess(runtime, Stopwatch())
    observations, x_b = observe(runtime, time_, background), background.x_b

    def analyze(clock: StageClock) -> Analysis:
        generators = [torch_generator(0, time_, "analysis", k) for k in range(len(x_b))]
        timed = TimedObservations(**vars(observations), clock=clock)
        with timed_components(clock):
            return runtime.method(x_b, time_, timed, generators)

    return Analyzer(method, analyze, len(observations.y), len(x_b))


def stage_seconds(each: Analyzer) -> dict[str, float]:
    """Return the seconds of one analysis and of its stages; what is none of them is the solver's."""
    clock, began = StageClock(), time.perf_counter()
    each.analyze(clock)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    whole = time.perf_counter() - began
    stages = {name: clock.seconds.get(name, 0.0) for name in STAGES}
    return {"seconds": whole, **stages, "solver": whole - sum(stages.values())}


def peak_memory(each: Analyzer) -> float:
    """Return the bytes by which one analysis raises the memory; NaN where that is not known."""
    each.analyze(StageClock())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        each.analyze(StageClock())
        return float(torch.cuda.max_memory_allocated() - before)
    if platform.system() != "Linux":
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident set so far
    before = resident("VmRSS")
    each.analyze(StageClock())
    return float(resident("VmHWM") - before)


def resident(name: str) -> int:
    """Return a line of this process's status [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def machine() -> str:
    """Return what the analyses ran on, in words."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{threads} thread{'s' if threads > 1 else ''} of {name}"
