"""One case of a benchmark: a method on a network with a seed, gone on with where it was stopped.

    DIRECTORY/case.json                  what is run; another configuration is refused
    DIRECTORY/scores-NUMBER.parquet      rows of the steps up to NUMBER
    DIRECTORY/state-NUMBER.safetensors   analysis and free run after step NUMBER (cycled cases)

A case has the truth, observations, background check, forecast model and seeds of `losda run` with
the same configuration, but neither ledger nor archive: hundreds of cycles in one go.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save
from torch import Tensor

from configs import Config
from models.observations.background import WindowBackground
from models.observations.batch import Observations, to_observations
from models.randomness import torch_generator
from models.verification.compact import compact_scores
from tasks.assimilate import check_background
from tasks.experiment import Experiment
from tasks.forecast import first_guess, run_model
from tasks.ingest import draw
from tasks.runtime import Runtime, open_runtime
from tasks.source_digest import code_digest
from tasks.store import write_bytes
from tasks.timing import Stopwatch

__all__ = ["Case", "case_rows", "observe", "run_case"]

KEEP_EVERY = 20
States = Float[Tensor, "member field lat lon"]
Row = dict[str, object]


class Case(BaseModel):
    """What is run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cycled", "uncycled"]
    """Whether the method cycles, or analyzes forecasts from the truth."""
    method: str
    """Label of the method."""
    network: str
    """Label of the network."""
    seed: int
    """Seed of networks and errors."""
    lead: timedelta = timedelta(0)
    """Length of the forecast of an uncycled background."""
    every: timedelta
    """Time between the analyses."""
    steps: int
    """Number of analyses."""
    config: Config
    """The configuration, with the method and the network."""

    @property
    def name(self) -> str:
        """Name of the case, and of its directory."""
        hours = f"-{self.lead // timedelta(hours=1)}h" if self.lead else ""
        return f"{self.kind}{hours}-{self.method}-{self.network}-{self.seed}"


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


def claim(case: Case, folder: Path) -> int:
    """Bind a directory to a case and return how many analyses are done.

    Raises:
        ValueError: The directory holds another case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, content = folder / "case.json", case.model_dump(mode="json", exclude={"steps"})
    here = json.loads(json.dumps({"code": code_digest(), **content}))
    if not path.exists():
        write_bytes(str(path), json.dumps(here, indent=1).encode())
    elif (there := json.loads(path.read_text())) != here:
        keys = [key for key in here if there.get(key) != here[key]]
        raise ValueError(f"{path}: made with another {keys[0]}; use another --out")
    kept = (int(p.stem.split("-")[1]) for p in folder.glob("state-*.safetensors"))
    return max((number for number in kept if number <= case.steps), default=0)


def keep(folder: Path, number: int, rows: pd.DataFrame, state: dict[str, Tensor]) -> None:
    """Write the rows of the last steps, then the state from which the case goes on."""
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False)
    write_bytes(str(folder / f"scores-{number:05d}.parquet"), buffer.getvalue(), durable=False)
    write_bytes(str(folder / f"state-{number:05d}.safetensors"), save(state), durable=False)
    for old in folder.glob("state-*.safetensors"):
        if old.stem != f"state-{number:05d}":
            old.unlink()


def case_rows(case: Case, directory: str) -> pd.DataFrame:
    """Return the rows of a case so far, with the columns that say which case it is."""
    files = sorted(Path(directory).glob("scores-*.parquet"))
    if not files:
        return pd.DataFrame()
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    lead = case.lead // timedelta(hours=1)
    names = {"kind": case.kind, "lead_hours": lead, "method": case.method}
    return table.assign(**names, network=case.network, seed=case.seed)


Steps = Iterator[tuple[int, list[Row], dict[str, Tensor]]]


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
