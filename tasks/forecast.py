"""Forecast: the background and the free run of a cycle, from the states of the cycle before.

Where the observations of a window have several times, the background is written at each of them
(see `models.observations.background`); the forecast then goes on past the cycle time.

The first of both is the first guess: the model run over `first_guess.lead` from the reference.
Every background can be such a forecast, over `background.lead`; only the free run then goes on.
Member m of an ensemble starts m steps later (a lagged ensemble; Hoffman and Kalnay 1983, doi
10.1111/j.1600-0870.1983.tb00189.x). Where the lead has fewer steps than there are members, the
others are such a member plus half the difference of two more, so that no two are the same.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.forecast import trajectory
from models.observations.background import WindowBackground
from tasks import archive
from tasks.experiment import cycle_name
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["first_guess", "forecast", "read_background", "run_model"]

States = Float[Tensor, "member field lat lon"]


def forecast(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the background (all members) and the free run (one member) valid at `time`."""
    watch = Stopwatch()
    if time == runtime.experiment.start:
        background = first_guess(runtime, watch)
        x_free = background.x_b[:1]
    else:
        background, x_free = next_states(runtime, time, attempt, watch)
    with watch.part("write"):
        for valid_time, x in background.states.items():
            address = join(attempt.address, file_name(valid_time, time))
            archive.write_fields(address, runtime.spec, x, valid_time)
        archive.write_fields(join(attempt.address, "free"), runtime.spec, x_free, time)
    return StageResult(watch.seconds, {"members": len(background.x_b)})


def read_background(runtime: Runtime, time: pd.Timestamp, address: str) -> WindowBackground:
    """Return the background of a cycle that was committed at an address."""
    times = runtime.experiment.background_times(time)
    files = {valid_time: join(address, file_name(valid_time, time)) for valid_time in times}
    return WindowBackground(time, {t: archive.read_fields(file) for t, file in files.items()})


def file_name(valid_time: pd.Timestamp, time: pd.Timestamp) -> str:
    """Return the name of a cycle's background at its own or at another time."""
    return "background" if valid_time == time else f"background-{cycle_name(valid_time)}"


def run_model(
    runtime: Runtime, x: States, begin: pd.Timestamp, time: pd.Timestamp
) -> WindowBackground:
    """Return the forecast from `begin` at a cycle time, and at the times of its observations."""
    times = runtime.experiment.background_times(time)
    return WindowBackground(time, trajectory(runtime.forecast_model, x, begin, times))


def first_guess(runtime: Runtime, watch: Stopwatch) -> WindowBackground:
    """Return the states at the first cycle time that never saw an observation."""
    options = runtime.experiment.config
    lead = getattr(options.background, "lead", options.first_guess.lead)
    return from_reference(runtime, runtime.experiment.start, pd.Timedelta(lead), watch)


def from_reference(
    runtime: Runtime, time: pd.Timestamp, lead: pd.Timedelta, watch: Stopwatch
) -> WindowBackground:
    """Return forecasts for a cycle time over `lead` from the reference, lagged for the members."""
    experiment, members = runtime.experiment, []
    for member in range(min(experiment.members, lead // experiment.step)):
        begin = time - lead + member * experiment.step
        with watch.part("reference"):
            x = runtime.truth(begin)
        with watch.part("model"):
            members.append(run_model(runtime, x[None], begin, time).states)
    lagged = {t: torch.cat([member[t] for member in members]) for t in members[0]}
    states = {t: more_members(x, experiment.members) for t, x in lagged.items()}
    return WindowBackground(time, states)


def more_members(x: States, count: int) -> States:
    """Return `count` members: those that are there, then sums x_i + ½ (x_j − x_k) of them.

    Args:
        x: Members that are all different.
        count: How many are wanted.
    """
    number = len(x)
    found = [x]
    for member in range(number, count):
        i, lap = member % number, member // number
        j, k = (i + lap) % number, (i + 2 * lap + 1) % number
        found.append(x[i : i + 1] + 0.5 * (x[j : j + 1] - x[k : k + 1]))
    return torch.cat(found)


def next_states(
    runtime: Runtime, time: pd.Timestamp, attempt: Attempt, watch: Stopwatch
) -> tuple[WindowBackground, Float[Tensor, "1 field lat lon"]]:
    """Return background and free run, one step after the cycle before; both in one batch."""
    before = time - runtime.experiment.step
    lead = getattr(runtime.experiment.config.background, "lead", None)
    if lead is not None:
        with watch.part("read"):
            x_free = archive.read_fields(join(attempt.source(before, "forecast"), "free"))
        with watch.part("model"):
            free = run_model(runtime, x_free, before, time).x_b
        return from_reference(runtime, time, pd.Timedelta(lead), watch), free
    with watch.part("read"):
        x_a = archive.read_fields(join(attempt.source(before, "analysis"), "analysis"))
        x_free = archive.read_fields(join(attempt.source(before, "forecast"), "free"))
    with watch.part("model"):
        both = run_model(runtime, torch.cat([x_a, x_free]), before, time)
    background = {valid_time: x[:-1] for valid_time, x in both.states.items()}
    return WindowBackground(time, background), both.x_b[-1:]
