"""Forecast: the background and the free run of a cycle, from the states of the cycle before.

The first of both is the first guess: the model run over `first_guess.lead` from the reference.
Member m of an ensemble starts m steps later (a lagged ensemble; Hoffman and Kalnay 1983, doi
10.1111/j.1600-0870.1983.tb00189.x); where the lead has fewer steps than there are members, they
start again from the beginning, and their perturbed observations tell them apart.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tasks import archive
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["forecast"]

States = Float[Tensor, "member field lat lon"]


def forecast(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the background (all members) and the free run (one member) valid at `time`."""
    watch = Stopwatch()
    if time == runtime.experiment.start:
        x_b = first_guess(runtime, watch)
        x_free = x_b[:1]
    else:
        x_b, x_free = next_states(runtime, time, watch)
    with watch.part("write"):
        for name, x in (("background", x_b), ("free", x_free)):
            archive.write_fields(join(attempt.address, name), runtime.spec, x, time)
    return StageResult(watch.seconds, {"members": len(x_b)})


def first_guess(runtime: Runtime, watch: Stopwatch) -> States:
    """Return the states at the first cycle time that never saw an observation."""
    experiment, members = runtime.experiment, []
    lead = pd.Timedelta(experiment.config.first_guess.lead)
    for member in range(experiment.members):
        later = (member * experiment.step) % lead
        begin = experiment.first_guess_time + later
        with watch.part("reference"):
            x = runtime.truth(begin)
        with watch.part("model"):
            members.append(runtime.forecast_model.step(x[None], begin, lead - later))
    return torch.cat(members)


def next_states(
    runtime: Runtime, time: pd.Timestamp, watch: Stopwatch
) -> tuple[States, Float[Tensor, "1 field lat lon"]]:
    """Return background and free run, one step after the cycle before; both in one batch."""
    before = time - runtime.experiment.step
    with watch.part("read"):
        analysis = runtime.plan.address(before, "analysis")
        x_a = archive.read_fields(join(analysis, "analysis"))
        free = runtime.plan.address(before, "forecast")
        x_free = archive.read_fields(join(free, "free"))
    with watch.part("model"):
        x = runtime.forecast_model.step(torch.cat([x_a, x_free]), before, runtime.experiment.step)
    return x[:-1], x[-1:]
