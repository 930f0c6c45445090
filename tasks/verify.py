"""Verify: scores of background, analysis, free run and forecasts, against the reference."""

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from models.forecast import latest, with_history
from tasks import archive
from tasks.assimilate import FEEDBACK
from tasks.forecast import read_history
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["SCORES", "TRUTH", "verify"]

SCORES, TRUTH = "scores.parquet", "truth"
NOW = pd.Timedelta(0)

States = Float[Tensor, "member field lat lon"]


def verify(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the long table of scores of a cycle."""
    watch = Stopwatch()
    with watch.part("read"):
        forecast = attempt.source(time, "forecast")
        analysis = attempt.source(time, "analysis")
        states = {
            name: archive.read_fields(join(forecast, name)) for name in ("background", "free")
        }
        states["analysis"] = archive.read_fields(join(analysis, "analysis"))
        feedback = archive.read_table(join(analysis, FEEDBACK))
    tables = [score(runtime, x, time, NOW, name, watch) for name, x in states.items()]
    tables += forecasts(runtime, states["analysis"], time, watch, read_history(runtime, forecast))
    from models.verification.scoring import score_observations

    with watch.part("score"):
        scores = pd.concat([*tables, score_observations(feedback, time)], ignore_index=True)
    with watch.part("write"):
        archive.write_table(join(attempt.address, SCORES), scores)
        truth = runtime.truth(time)[None]
        archive.write_fields(join(attempt.address, TRUTH), runtime.spec, truth, time)
    return StageResult(watch.seconds, summary_of(scores))


def score(
    runtime: Runtime,
    x: States,
    time: pd.Timestamp,
    lead: pd.Timedelta,
    source: str,
    watch: Stopwatch,
) -> pd.DataFrame:
    """Return the scores of states valid `lead` after the cycle time."""
    with watch.part("reference"):
        truth = runtime.truth(time + lead)
    with watch.part("score"):
        from models.verification.scoring import score_state

        return score_state(
            x, truth, runtime.spec, runtime.statistics, time + lead, time, lead, source
        )


def forecasts(
    runtime: Runtime,
    x_a: States,
    time: pd.Timestamp,
    watch: Stopwatch,
    history: States | None = None,
) -> list[pd.DataFrame]:
    """Return the scores of the forecast from the analysis, as far as the reference reaches."""
    options = runtime.experiment.config.verification
    if (time - runtime.experiment.start) % pd.Timedelta(options.forecast_every):
        return []
    tables, step = [], pd.Timedelta(options.forecast_step)
    x = with_history(None if history is None else history[: len(x_a)], x_a)
    for count in range(1, options.forecast_lead // options.forecast_step + 1):
        lead = count * step
        if not runtime.reference_reaches(time + lead):
            break
        with watch.part("model"):
            x = runtime.forecast_model.step(x, time + lead - step, step)
        x_f = latest(x, runtime.spec.n_fields)
        tables.append(score(runtime, x_f, time, lead, "forecast", watch))
    return tables


def summary_of(scores: pd.DataFrame) -> dict[str, object]:
    """Return the errors at the cycle time, for the run's JSON and table."""
    rows = scores[scores["lead_time"] == NOW]
    squares = rows[rows["metric"] == "mse_climatology"]
    by_variable = squares.groupby(["source", "variable"])["value"].mean()
    measure = rows[rows["metric"] == "mse_background_24h"].set_index("source")["value"]
    sources = ("analysis", "background", "free")
    errors = {
        source: {str(name): float(value) for name, value in by_variable[source].items()}
        for source in sources
    }
    return {"mse": errors, "wmse": {source: float(measure[source]) for source in sources}}
