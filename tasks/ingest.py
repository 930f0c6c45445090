"""Ingest: the observations of a cycle, drawn from the reference, validated and screened."""

import pandas as pd
import torch

from models.observations.networks import draw_network
from models.observations.table import screen, validate_table
from tasks import archive
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["OBSERVATIONS", "draw", "ingest", "missing_sources"]

OBSERVATIONS = "observations.parquet"


def ingest(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the table of observations with `used` and the reason why not."""
    watch = Stopwatch()
    table = draw(runtime, time, watch)
    with watch.part("write"):
        archive.write_table(join(attempt.address, OBSERVATIONS), table)
    used = int(table["used"].sum())
    return StageResult(watch.seconds, {"observations": len(table), "used": used})


def draw(runtime: Runtime, time: pd.Timestamp, watch: Stopwatch) -> pd.DataFrame:
    """Return the observations of a cycle's window, validated and screened."""
    window, seed = runtime.experiment.window, runtime.experiment.config.seed
    with watch.part("reference"):
        truth = torch.stack([runtime.truth(own) for own in window.times(time)])
    with watch.part("draw"):
        std = runtime.statistics.std
        table = draw_network(runtime.network, runtime.spec, std, truth, time, seed, window)
        return screen(validate_table(table), runtime.spec, window.limits(time))


def missing_sources(runtime: Runtime, time: pd.Timestamp) -> tuple[str, ...]:
    """Return the sources of which not all observations of a cycle can be had.

    All are drawn from the reference, so it is all of them if it does not reach the window's end.
    """
    window = runtime.experiment.window
    if all(runtime.reference_reaches(own) for own in window.times(time)):
        return ()
    return runtime.experiment.config.observations.sources
