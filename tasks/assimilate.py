"""Assimilate: the analysis of a cycle, and the feedback on every observation.

The feedback has, for each observation, O-B, O-A (of the means over members), the background-error
standard deviation that the check assumed, and whether it was used or why not. What is withheld has
all that too, with `withheld` as the reason: it judges the analysis. Background and
analysis are compared with it at its own time where the forecast stage wrote the background of that
time. The check takes the 24 h background error, enlarged where the cycle's own departures are: by
the ratio of their median size to that of a normal distribution.
"""

import json
from typing import Protocol

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.methods.base import Analysis, AssimilationMethod
from models.normalization import Statistics
from models.observations.background import WindowBackground
from models.observations.batch import Observations, to_observations
from models.observations.quality.control import screen_departures
from models.observations.quality.surroundings import NORMAL_MEDIAN, size_of_departures
from models.observations.quality.withholding import withheld
from models.observations.table import background_check
from models.randomness import torch_generator
from models.state import StateSpec
from tasks import archive
from tasks.experiment import Experiment
from tasks.forecast import read_background
from tasks.ingest import OBSERVATIONS
from tasks.ledger import Attempt, StageResult
from tasks.observing import Observing
from tasks.runtime import Runtime
from tasks.store import join, write_bytes
from tasks.timing import Stopwatch
from tasks.withholding import judged_aside, opened

__all__ = ["FEEDBACK", "TRACE", "Parts", "analyze", "assimilate"]

FEEDBACK, TRACE = "feedback.parquet", "trace.json"

Numbers = NDArray[np.float64]
Rows = NDArray[np.bool_]
States = Float[Tensor, "member field lat lon"]


class Parts(Protocol):
    """What an analysis is made with; a `Runtime` has it all."""

    @property
    def experiment(self) -> Experiment:
        """The configuration."""

    @property
    def spec(self) -> StateSpec:
        """Layout of the states."""

    @property
    def statistics(self) -> Statistics:
        """Climatology and standard deviations."""

    @property
    def method(self) -> AssimilationMethod:
        """The assimilation method."""

    @property
    def observing(self) -> Observing | None:
        """How real observations are treated; None where they are drawn."""


def assimilate(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the analysis, the feedback and the trace of the method."""
    watch = Stopwatch()
    with watch.part("read"):
        background = read_background(runtime, time, attempt.source(time, "forecast"))
        ingested = attempt.source(time, "observations")
        table = archive.read_table(join(ingested, OBSERVATIONS))
    analysis, feedback = analyze(runtime, table, background, watch)
    with watch.part("write"):
        archive.write_fields(join(attempt.address, "analysis"), runtime.spec, analysis.x_a, time)
        archive.write_table(join(attempt.address, FEEDBACK), feedback)
        write_bytes(join(attempt.address, TRACE), trace(analysis))
    used = int(feedback["used"].sum())
    return StageResult(watch.seconds, {"observations": len(feedback), "used": used})


def analyze(
    parts: Parts, table: pd.DataFrame, background: WindowBackground, watch: Stopwatch
) -> tuple[Analysis, pd.DataFrame]:
    """Return the analysis, and the feedback on every observation of a screened table.

    Raises:
        FloatingPointError: The analysis has values that are not finite.
    """
    time = background.cycle_time
    with watch.part("observations"):
        feedback = check_background(parts, table, background)
        observations = to_observations(feedback, parts.spec, background)
    with watch.part("model"):
        x_b = background.x_b
        seed, members = parts.experiment.config.seed, range(len(x_b))
        generators = [torch_generator(seed, time, "analysis", member) for member in members]
        analysis = parts.method(x_b, time, observations, generators)
        if not analysis.x_a.isfinite().all():
            raise FloatingPointError(f"the analysis of {time} has values that are not finite")
    with watch.part("observations"):
        o_minus_a = spread(feedback["used"], departures(observations, analysis.x_a))
        if (rows := withheld(feedback)).any():
            aside = to_observations(feedback.assign(used=rows), parts.spec, background)
            o_minus_a[rows] = departures(aside, analysis.x_a)
        return analysis, feedback.assign(o_minus_a=o_minus_a)


def check_background(
    parts: Parts, table: pd.DataFrame, background: WindowBackground
) -> pd.DataFrame:
    """Add O-B and the background error to the used and withheld rows, reject what is far off."""
    candidates = opened(table)
    observations = to_observations(candidates, parts.spec, background)
    o_minus_b = departures(observations, background.x_b)
    rows = table[candidates["used"]]
    around = rows if parts.observing is not None else None
    used = rows["used"].to_numpy(bool)
    sigma_b = background_errors(observations, o_minus_b, parts.statistics, used, around)
    values = {"o_minus_b": o_minus_b, "background_error": sigma_b}
    table = table.assign(**{n: spread(candidates["used"], v) for n, v in values.items()})

    def judge(own: pd.DataFrame) -> pd.DataFrame:
        return judge_departures(parts, own, background.cycle_time)

    return judged_aside(judge, table)


def judge_departures(parts: Parts, table: pd.DataFrame, time: pd.Timestamp) -> pd.DataFrame:
    """Reject what is far from the background, or else not wanted beside the others."""
    if parts.observing is not None:
        moment, control = parts.observing.moment(time), parts.observing.control
        assumed = table["background_error"].to_numpy(np.float64)
        return screen_departures(table, control, moment, assumed)
    factor = parts.experiment.config.observations.background_check
    return background_check(table, table["o_minus_b"], table["background_error"], factor)


def background_errors(
    observations: Observations,
    o_minus_b: Numbers,
    statistics: Statistics,
    used: Rows,
    table: pd.DataFrame | None = None,
) -> Numbers:
    """Return the background-error standard deviations that the check assumes [SI].

    They are those of a 24 h forecast, or larger if the departures are.

    Args:
        observations: Used and withheld ones.
        o_minus_b: Their departures [SI].
        statistics: The 24 h background error.
        used: Which of them may say how large the errors are.
        table: The same as a table if those around an observation are to say it, not all of them.
    """
    shape = observations.operator.shape
    error = (statistics.std * statistics.error_std)[None, :, None, None]
    error = error.expand(1, *shape).contiguous()
    sigma_b = np.asarray(observations.operator.absolute()(error)[0].double().numpy())
    if not used.any():
        return sigma_b
    sigma_o = observations.error.double().numpy()
    expected = np.hypot(sigma_o, sigma_b)
    if table is None:
        size = np.median((np.abs(o_minus_b) / expected)[used]) / NORMAL_MEDIAN
        return np.asarray(sigma_b * max(1.0, float(size)))
    size = size_of_departures(table, o_minus_b / expected, used)
    return np.asarray(np.sqrt((size * expected) ** 2 - sigma_o**2))


def departures(observations: Observations, x: States) -> Numbers:
    """Return observations minus the mean of the members' equivalents [SI]."""
    equivalents = observations.equivalents(x).double().mean(0)
    return np.asarray((observations.y.double() - equivalents).numpy())


def spread(rows: pd.Series, values: Numbers) -> Numbers:
    """Return a column with its values in some rows and NaN in the others."""
    column = np.full(len(rows), np.nan)
    column[rows.to_numpy(bool)] = values
    return column


def trace(analysis: Analysis) -> bytes:
    """Return what the method says of itself, as JSON; the same for the same analysis."""
    expected = float(analysis.expected_error)
    document = {
        "trace": [dict(row) for row in analysis.trace],
        "expected_error": expected if np.isfinite(expected) else None,
    }
    return json.dumps(document, indent=1).encode()
