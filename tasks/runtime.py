"""What a process keeps warm for an experiment: components, reference, models, method.

It is built once per process and experiment; building it checks everything that can be wrong with
the input, and writes nothing.
"""

import threading
from dataclasses import dataclass, field
from functools import cache

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.forecast import ForecastModel
from models.methods.base import AssimilationMethod
from models.normalization import Statistics
from models.observations.networks import Network
from models.state import StateSpec
from tasks import components
from tasks.experiment import Experiment
from tasks.observing import Observing
from tasks.plan import Plan
from tasks.read_ahead import ReadAhead
from tasks.reference import Reference
from tasks.timing import working

__all__ = ["Runtime", "open_runtime"]

AT_HAND = 400


@dataclass(frozen=True)
class Runtime:
    """Everything that the stages of one experiment need, warm.

    Attributes:
        experiment: Address and configuration.
        plan: What its stages depend on, and what is done.
        spec: Layout of the states.
        statistics: Climatology and standard deviations.
        reference: The truth.
        forecast_model: The model of background, free run and forecasts.
        method: The assimilation method.
        network: Where observations are drawn.
        observing: How real observations are treated; None where they are drawn.
        ahead: States of the reference that were read ahead.
    """

    experiment: Experiment
    plan: Plan
    spec: StateSpec
    statistics: Statistics
    reference: Reference
    forecast_model: ForecastModel
    method: AssimilationMethod
    network: Network
    observing: Observing | None = None
    ahead: dict[pd.Timestamp, Tensor] = field(default_factory=dict)

    def truth(self, time: pd.Timestamp) -> Float[Tensor, "field lat lon"]:
        """Return the reference's state at a time [SI]."""
        ahead = self.ahead.get(time)
        return self.reference.state(time) if ahead is None else ahead

    def read_ahead(self, stop: threading.Event) -> None:
        """Integrate a nature run before the cycles ask for its states, until `stop`.

        Whoever asks the reference for a state waits for the block that is being integrated, so the
        states that are done are kept at hand; the pause lets the others have their turn.
        """
        if isinstance(self.reference, ReadAhead):  # it reads its own next states
            return
        torch.set_flush_denormal(True)
        times = self.reference_times()
        for number, time in enumerate(times):
            if stop.wait(0.001):
                break
            with working():
                self.ahead[time] = self.reference.state(time)
            if number >= AT_HAND:
                self.ahead.pop(times[number - AT_HAND], None)

    def reference_times(self) -> list[pd.Timestamp]:
        """Return the times of which the cycles may ask the reference for a state, in order."""
        experiment, cycles = self.experiment, self.experiment.cycle_times()
        last = cycles[-1] + pd.Timedelta(experiment.config.verification.forecast_lead)
        steps = pd.date_range(experiment.first_guess_time, last, freq=experiment.step)
        observed = (time for cycle in cycles for time in experiment.window.times(cycle))
        return sorted({*steps, *observed})

    def reference_reaches(self, time: pd.Timestamp) -> bool:
        """Return whether the reference has a state at a time."""
        times = self.reference.times
        return times is None or time in times


_lock = threading.Lock()


def open_runtime(experiment: Experiment) -> Runtime:
    """Return the process's runtime of an experiment.

    Raises:
        ValueError: A component is missing or altered, or does not fit the others; or the reference
        is wrong.
    """
    with _lock, working():
        torch.set_num_threads(1)
        return _build(experiment)


@cache
def _build(experiment: Experiment) -> Runtime:
    config = experiment.config
    parts = components.Components(config)
    reference = parts.checked_reference(experiment)
    statistics = parts.statistics(reference.spec)
    observing = parts.observing(reference.spec)
    return Runtime(
        experiment=experiment,
        plan=Plan.of(experiment, parts.digests),
        spec=reference.spec,
        statistics=statistics,
        reference=reference,
        forecast_model=parts.forecast_model(statistics, reference.spec),
        method=parts.method(statistics, reference.spec),
        network=parts.network(reference.spec),
        observing=observing,
    )
