"""One analysis as a plain call: xarray background and pandas observations in, xarray analysis out.

    from tasks.notebook import Assimilation
    assimilate = Assimilation("embedded")
    analysis = assimilate(background, observations)

It is the analysis of a cycle with that configuration, bit for bit: the same screening and checks,
the same random draws, the same treatment of the processor (one thread, no denormal numbers). (An
archive holds no negative humidity; the cycle's own background, before it was published, may.)
Neither Prefect nor the reference nor an experiment's directory is needed.

The background is a CF dataset of the configuration's state with one valid time, or, for
observations that are compared at their own times, with several; of one state or of a dimension
`member`. The table has the columns of `models.observations.table`; those that say where a value
comes from may be left out.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from configs import Config, load
from models.methods.base import Analysis, AssimilationMethod
from models.normalization import Statistics
from models.observations.background import WindowBackground
from models.observations.table import screen, validate_table
from models.plausibility import check_plausible
from models.state import StateSpec
from tasks.assimilate import analyze
from tasks.components import Components
from tasks.experiment import Experiment
from tasks.ingest_files import judge_reports
from tasks.timing import Stopwatch
from tasks.withholding import set_aside

__all__ = ["Assimilation", "Result"]

UNKNOWN = {"elev": np.nan, "pres": np.nan, "type": "unknown", "station": "", "source": ""}
UNKNOWN |= {"quality": 0}
Found = TypeVar("Found")
Overrides = Sequence[str]


@dataclass(frozen=True)
class Result:
    """What came of a call.

    Attributes:
        analysis: The analysis, laid out as the archive of an experiment.
        feedback: The observations with O-B, O-A, and whether they were used or why not.
        details: What the method says of itself.
    """

    analysis: xr.Dataset
    feedback: pd.DataFrame
    details: Analysis


class Assimilation:
    """The analyses of one configuration, its components loaded once.

    Attributes:
        experiment: The configuration.
        spec: Layout of the states.
        statistics: Climatology and standard deviations.
        method: The assimilation method.
        observing: How real observations are treated; None where the configuration draws them.
    """

    def __init__(
        self, config: Config | str | Path = "embedded", overrides: Overrides = ()
    ) -> None:
        """Load a configuration's components.

        Args:
            config: A configuration, or the name of a preset, or the path of a YAML file.
            overrides: Settings such as `method.preset=paper`, as with `--set`.

        Raises:
            ValueError: The configuration or a component is wrong.
        """
        loaded = config if isinstance(config, Config) else load(str(config), list(overrides))
        self.experiment = Experiment(root=".", config=loaded)
        parts = Components(loaded)
        self.spec = state_of(parts)
        self.statistics: Statistics = parts.statistics(self.spec)
        self.method: AssimilationMethod = parts.method(self.statistics, self.spec)
        self.observing = parts.observing(self.spec)

    def __call__(
        self,
        background: xr.Dataset,
        observations: pd.DataFrame,
        cycle_time: pd.Timestamp | str | None = None,
    ) -> xr.Dataset:
        """Return the analysis; arguments and errors as for `run`."""
        return self.run(background, observations, cycle_time).analysis

    def run(
        self,
        background: xr.Dataset,
        observations: pd.DataFrame,
        cycle_time: pd.Timestamp | str | None = None,
    ) -> Result:
        """Return the analysis and what became of each observation.

        Args:
            background: States in SI units at one or several times.
            observations: One value a row.
            cycle_time: Time of the analysis, UTC; needed if the background has several.

        Raises:
            ValueError: Background or table do not fit the configuration, in one line.
        """
        states = self.states(background, cycle_time)
        analysis, feedback = self.analysis(states, observations)
        return Result(self.dataset(analysis.x_a, states.cycle_time), feedback, analysis)

    def analysis(
        self, states: WindowBackground, observations: pd.DataFrame
    ) -> tuple[Analysis, pd.DataFrame]:
        """Return the analysis of tensors, and the feedback."""
        table = self.table(observations, states)
        return as_in_a_cycle(lambda: analyze(self, table, states, Stopwatch()))

    def states(
        self, background: xr.Dataset, cycle_time: pd.Timestamp | str | None = None
    ) -> WindowBackground:
        """Return the background as tensors."""
        if "time" not in background.coords:
            raise ValueError("background: no coordinate 'time'; needed: the valid time, UTC")
        count = background.sizes["member"] if "member" in background.dims else 0
        members = [background.isel(member=m) for m in range(count)] or [background]
        try:
            tensors = [self.spec.to_tensor(ds) for ds in members]
            x = torch.stack(tensors, 1)
            check_plausible(x, self.spec)
        except ValueError as error:
            raise ValueError(f"background: {error}") from None
        times = [pd.Timestamp(t) for t in np.atleast_1d(background["time"].values)]
        time = the_time(times, cycle_time)
        return WindowBackground(time, dict(zip(times, x, strict=True)))

    def table(self, observations: pd.DataFrame, states: WindowBackground) -> pd.DataFrame:
        """Return the observations screened for the window of the analysis."""
        lacking = (pair for pair in UNKNOWN.items() if pair[0] not in observations)
        table = validate_table(observations.assign(**dict(lacking)))  # type: ignore[arg-type]
        if self.observing is not None:
            moment = self.observing.moment(states.cycle_time)
            return judge_reports(table, self.observing, moment, self.statistics)
        limits = self.experiment.window.limits(states.cycle_time)
        return set_aside(screen(table, self.spec, limits), self.experiment.config)

    def dataset(self, x: Float[Tensor, "member field lat lon"], time: pd.Timestamp) -> xr.Dataset:
        """Return states of one time as the archive of an experiment holds them."""
        if len(x) == 1:
            return self.spec.to_dataset(x, [time])
        return self.spec.to_dataset(x[None], [time], member_dim=True)


def state_of(parts: Components) -> StateSpec:
    """Return the layout of a configuration's states: the statistics' card says it, or the data."""
    card = parts.load("statistics").card.architecture
    if isinstance(card.get("spec"), dict):
        return StateSpec.from_json(card["spec"])  # type: ignore[arg-type]
    return parts.reference(".").spec


def the_time(times: Sequence[pd.Timestamp], chosen: pd.Timestamp | str | None) -> pd.Timestamp:
    """Return the time of the analysis, which is one of the background's."""
    if chosen is None and len(times) == 1:
        return times[0]
    known = f"the background has {', '.join(time.isoformat() for time in times)}"
    if chosen is None:
        raise ValueError(f"cycle_time: needed with {len(times)} times; {known}")
    time = pd.Timestamp(chosen)
    if time not in times:
        raise ValueError(f"cycle_time: {time.isoformat()}; {known}")
    return time


def as_in_a_cycle(work: Callable[[], Found]) -> Found:
    """Return what the work returns, in a thread that is set as those of a cycle are."""
    threads = torch.get_num_threads()

    def set_and_work() -> Found:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        return work()

    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(set_and_work).result()
    finally:
        torch.set_num_threads(threads)
