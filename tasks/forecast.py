"""Forecast: the background and the free run of a cycle, from the states of the cycle before.

Where the observations of a window have several times, the background is written at each of them
(see `models.observations.background`); the forecast then goes on past the cycle time.

The first of both is the first guess: the model run over `first_guess.lead` from the reference.
Every background can be such a forecast, over `background.lead`; only the free run then goes on.
Member m of an ensemble starts m steps later (a lagged ensemble; Hoffman and Kalnay 1983, doi
10.1111/j.1600-0870.1983.tb00189.x). Where the lead has fewer steps than there are members, the
others are such a member plus half the difference of two more, so that no two are the same.

For a model with memory a cycle also writes the states before its own, of which the next forecast
takes those of the members and of the free run.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.forecast import before, history_of, latest, trajectory, with_history
from models.observations.background import WindowBackground
from tasks import archive
from tasks.experiment import cycle_name
from tasks.ledger import Attempt, StageResult
from tasks.runtime import Runtime
from tasks.store import join
from tasks.timing import Stopwatch

__all__ = ["first_guess", "forecast", "read_background", "read_history", "run_model"]

HISTORY = "history"
States = Float[Tensor, "member field lat lon"]
Trajectory = dict[pd.Timestamp, Tensor]


def forecast(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the background (all members) and the free run (one member) valid at `time`."""
    watch, fields = Stopwatch(), runtime.spec.n_fields
    if time == runtime.experiment.start:
        members = first_states(runtime, watch)
        both = {time: torch.cat([members[time], members[time][:1]])}
    else:
        both = next_states(runtime, time, attempt, watch)
        members = {valid_time: x[:-1] for valid_time, x in both.items()}
    with watch.part("write"):
        for valid_time, x in members.items():
            address = join(attempt.address, file_name(valid_time, time))
            archive.write_fields(address, runtime.spec, latest(x, fields), valid_time)
        x_free = latest(both[time][-1:], fields)
        archive.write_fields(join(attempt.address, "free"), runtime.spec, x_free, time)
        if history := history_of(runtime.forecast_model):
            x_before = before(both[time], fields)
            archive.write_fields(
                join(attempt.address, HISTORY), runtime.spec, x_before, time - history
            )
    return StageResult(watch.seconds, {"members": len(members[time])})


def read_background(runtime: Runtime, time: pd.Timestamp, address: str) -> WindowBackground:
    """Return the background of a cycle that was committed at an address."""
    times = runtime.experiment.background_times(time)
    files = {valid_time: join(address, file_name(valid_time, time)) for valid_time in times}
    return WindowBackground(time, {t: archive.read_fields(file) for t, file in files.items()})


def file_name(valid_time: pd.Timestamp, time: pd.Timestamp) -> str:
    """Return the name of a cycle's background at its own or at another time."""
    return "background" if valid_time == time else f"background-{cycle_name(valid_time)}"


def read_history(runtime: Runtime, address: str) -> States | None:
    """Return the states before those of a cycle that was committed at an address.

    Returns:
        Those of the members, then that of the free run; None for a model without memory.
    """
    if history_of(runtime.forecast_model) is None:
        return None
    return archive.read_fields(join(address, HISTORY))


def run_model(
    runtime: Runtime, x: States, begin: pd.Timestamp, time: pd.Timestamp
) -> WindowBackground:
    """Return the forecast from `begin` at a cycle time, and at the times of its observations."""
    return WindowBackground(time, carry(runtime, x, begin, time))


def carry(runtime: Runtime, x: Tensor, begin: pd.Timestamp, time: pd.Timestamp) -> Trajectory:
    """Return the same of what the model steps, which with memory is more than states."""
    times = runtime.experiment.background_times(time)
    return trajectory(runtime.forecast_model, x, begin, times)


def first_guess(runtime: Runtime, watch: Stopwatch) -> WindowBackground:
    """Return the states at the first cycle time that never saw an observation."""
    found, fields = first_states(runtime, watch), runtime.spec.n_fields
    states = {time: latest(x, fields) for time, x in found.items()}
    return WindowBackground(runtime.experiment.start, states)


def first_states(runtime: Runtime, watch: Stopwatch) -> Trajectory:
    """Return the same, and before the states those that a model with memory needs."""
    options = runtime.experiment.config
    lead = getattr(options.background, "lead", options.first_guess.lead)
    return from_reference(runtime, runtime.experiment.start, pd.Timedelta(lead), watch)


def from_reference(
    runtime: Runtime, time: pd.Timestamp, lead: pd.Timedelta, watch: Stopwatch
) -> Trajectory:
    """Return forecasts for a cycle time over `lead` from the reference, lagged for the members."""
    experiment, members = runtime.experiment, []
    history = history_of(runtime.forecast_model)
    for member in range(min(experiment.members, lead // experiment.step)):
        begin = time - lead + member * experiment.step
        with watch.part("reference"):
            x_before = None if history is None else runtime.truth(begin - history)[None]
            x = with_history(x_before, runtime.truth(begin)[None])
        with watch.part("model"):
            members.append(carry(runtime, x, begin, time))
    lagged = {t: torch.cat([member[t] for member in members]) for t in members[0]}
    return {t: more_members(x, experiment.members) for t, x in lagged.items()}


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
) -> Trajectory:
    """Return the states one step after the cycle before: the members, and last the free run."""
    begin = time - runtime.experiment.step
    lead = getattr(runtime.experiment.config.background, "lead", None)
    with watch.part("read"):
        committed = attempt.source(begin, "forecast")
        x_free = archive.read_fields(join(committed, "free"))
        x_before = read_history(runtime, committed)
    if lead is not None:
        with watch.part("model"):
            last = None if x_before is None else x_before[-1:]
            free = carry(runtime, with_history(last, x_free), begin, time)
        members = from_reference(runtime, time, pd.Timedelta(lead), watch)
        return {t: torch.cat([x, free[t]]) for t, x in members.items()}
    with watch.part("read"):
        x_a = archive.read_fields(join(attempt.source(begin, "analysis"), "analysis"))
        x = with_history(x_before, torch.cat([x_a, x_free]))
    with watch.part("model"):
        return carry(runtime, x, begin, time)
