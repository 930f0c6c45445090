"""One case of a benchmark run: a method on a network with a seed, gone on with where it was stopped.

A case has the truth, observations, background check, forecast model and seeds of `losda run` with
the same configuration, but neither ledger nor archive: hundreds of cycles in one go. Its files:
`tasks.benchmark_case`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from models.observations.background import WindowBackground
from models.observations.batch import Observations, to_observations
from models.randomness import torch_generator
from models.verification.compact import compact_scores
from tasks.assimilate import check_background
from tasks.benchmark_case import KEEP_EVERY, Case, claim, keep
from tasks.experiment import Experiment
from tasks.forecast import first_guess, run_model
from tasks.ingest import draw
from tasks.runtime import Runtime, open_runtime
from tasks.timing import Stopwatch

__all__ = ["observe", "run_case"]

States = Float[Tensor, "member field lat lon"]
Row = dict[str, object]
Steps = Iterator[tuple[int, list[Row], dict[str, Tensor]]]


def run_case(case: Case, directory: str, report: Callable[[int], None] | None = None) -> None:
    """Run a case to its end.

    Args:
        case: What to run.
        directory: Where its files are.
        report: Called with the number of analyses that are done, now and then.

    Raises:
        ValueError: The directory holds another case, or the configuration is wrong.
    """
    folder = Path(directory)
    done = claim(case, folder)
    if done == case.steps:
        return
    runtime = open_runtime(Experiment(root=str(folder), config=case.config))
    torch.set_flush_denormal(True)
    backgrounds = cycled if case.kind == "cycled" else uncycled
    rows: list[Row] = []
    kept = load_file(folder / f"state-{done:05d}.safetensors") if done else {}
    for number, found, state in backgrounds(case, runtime, kept, done):
        rows += found
        done = number + 1
        if done % KEEP_EVERY == 0 or done == case.steps:
            keep(folder, done, pd.DataFrame(rows), state)
            rows = []
            if report is not None:
                report(done)


def cycled(case: Case, runtime: Runtime, state: dict[str, Tensor], done: int) -> Steps:
    """Yield number, rows and analysis of each cycle."""
    step = runtime.experiment.step
    for number in range(done, case.steps):
        time_ = runtime.experiment.start + number * step
        watch = Stopwatch()
        with watch.part("forecast"):
            if number:
                background = run_model(runtime, state["x_a"], time_ - step, time_)
            else:
                background = first_guess(runtime, Stopwatch())
        x_a, rows = analyze(runtime, time_, background, watch)
        state = {"x_a": x_a.contiguous()}
        yield number, rows, state


def uncycled(case: Case, runtime: Runtime, state: dict[str, Tensor], done: int) -> Steps:
    """Yield number and rows of each analysis of a forecast from the truth."""
    for number in range(done, case.steps):
        time_ = runtime.experiment.start + number * pd.Timedelta(case.every)
        begin, watch = time_ - pd.Timedelta(case.lead), Stopwatch()
        with watch.part("forecast"):
            truth = runtime.truth(begin)[None]
            background = run_model(runtime, truth, begin, time_)
        _, rows = analyze(runtime, time_, background, watch)
        yield number, rows, {"x_a": torch.zeros(1)}


def analyze(
    runtime: Runtime, time_: pd.Timestamp, background: WindowBackground, watch: Stopwatch
) -> tuple[States, list[Row]]:
    """Return the analysis of a background and the scores of both.

    Raises:
        FloatingPointError: The analysis has values that are not finite.
    """
    seed, spec, x_b = runtime.experiment.config.seed, runtime.spec, background.x_b
    observations = observe(runtime, time_, background)
    generators = [torch_generator(seed, time_, "analysis", k) for k in range(len(x_b))]
    began = time.perf_counter()
    analysis = runtime.method(x_b, time_, observations, generators)
    watch.seconds["analysis"] = time.perf_counter() - began
    if not analysis.x_a.isfinite().all():
        raise FloatingPointError(f"the analysis of {time_} has values that are not finite")
    truth = runtime.truth(time_)
    rows = [
        row(time_, source, variable, metric, value)
        for source, x in (("background", x_b), ("analysis", analysis.x_a))
        for (variable, metric), value in compact_scores(x, truth, spec, runtime.statistics).items()
    ]
    rows += [row(time_, part, "all", "seconds", value) for part, value in watch.seconds.items()]
    used = float(len(observations.y))
    return analysis.x_a, [*rows, row(time_, "observations", "all", "used", used)]


def observe(runtime: Runtime, time_: pd.Timestamp, background: WindowBackground) -> Observations:
    """Return the observations of a cycle that passed the check against the background."""
    table = check_background(runtime, draw(runtime, time_, Stopwatch()), background)
    return to_observations(table, runtime.spec, background)


def row(time_: pd.Timestamp, source: str, variable: str, metric: str, value: float) -> Row:
    """Return one row of the long table."""
    names = {"cycle_time": time_, "source": source, "variable": variable, "metric": metric}
    return {**names, "value": value}
