"""Ingest: the observations of a cycle, drawn from the reference, validated and screened."""

import pandas as pd

from models.observations.networks import draw_network
from models.observations.table import screen, validate_table
from tasks import archive
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["OBSERVATIONS", "ingest"]

OBSERVATIONS = "observations.parquet"


def ingest(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the table of observations with `used` and the reason why not."""
    watch, seed = Stopwatch(), runtime.experiment.config.seed
    with watch.part("reference"):
        truth = runtime.truth(time)
    with watch.part("draw"):
        table = draw_network(
            runtime.network, runtime.spec, runtime.statistics.std, truth, time, seed
        )
        table = screen(validate_table(table), runtime.spec)
    with watch.part("write"):
        archive.write_table(join(attempt.address, OBSERVATIONS), table)
    used = int(table["used"].sum())
    return StageResult(watch.seconds, {"observations": len(table), "used": used})
