from typing import Any

import pandas as pd
import pytest

from configs import load
from tasks.components import Components
from tasks.components_own_forecast import check_step
from tasks.experiment import Experiment
from tasks.reference_nature import NatureReference
from tasks.runtime import Runtime

HOUR = pd.Timedelta(hours=1)
START = pd.Timestamp("2005-01-06")


def parts(*overrides: str) -> Components:
    return Components(load("embedded", ["observations.network.kind=columns", *overrides]))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("LOSDA_CACHE", str(tmp_path_factory.mktemp("cache")))


def nature(*overrides: str) -> NatureReference:
    reference = parts(*overrides).reference("/nowhere")
    assert isinstance(reference, NatureReference)
    return reference


@pytest.mark.parametrize(
    ("overrides", "hours"),
    [
        ([], 6),
        (["observations.slots=3"], 2),
        (["step=PT12H", "observations.slots=2"], 3),
        (["step=PT12H", "observations.slots=6"], 1),
        (["step=P1D", "observations.slots=2"], 6),
    ],
)
def test_the_nature_run_has_states_at_all_times_of_the_observations(
    overrides: list[str], hours: int
) -> None:
    reference = nature(*overrides)
    assert reference.step == hours * HOUR
    address = nature().address
    assert reference.address == address + ("" if hours == 6 else f"-{hours}h")
    experiment = Experiment(root="/nowhere", config=load("embedded", overrides))
    for time in experiment.window.times(START):
        reference.check(time, time, 6 * HOUR)


def test_background_times_are_those_of_the_observations_and_the_cycle_time() -> None:
    def times(*overrides: str) -> list[float]:
        experiment = Experiment(root="/nowhere", config=load("embedded", overrides))
        return [(time - START) / HOUR for time in experiment.background_times(START)]

    assert times() == [0]
    assert times("observations.slots=3") == [-2, 0, 2]
    assert times("step=PT12H", "observations.slots=2") == [-3, 0, 3]
    assert times("observations.slots=3", "observations.at_own_time=false") == [0]


def test_a_forecast_model_that_does_not_reach_the_slots_is_refused() -> None:
    with pytest.raises(ValueError, match=r"observations\.slots: 3; .* -2 h .* its step is 24 h"):
        check_step(parts("observations.slots=3").config, 24 * HOUR)
    check_step(parts("observations.slots=3", "observations.at_own_time=false").config, 24 * HOUR)
    check_step(parts().config, 24 * HOUR)
    check_step(parts("observations.slots=3").config, HOUR)


@pytest.mark.parametrize("own", [True, False])
def test_states_are_read_ahead_at_all_times_that_cycles_ask_for(own: bool) -> None:
    settings = ["observations.slots=3", f"observations.at_own_time={own}", "cycles=2"]
    experiment = Experiment(root="/nowhere", config=load("embedded", settings))
    nothing: list[Any] = [None] * 7
    hours = [(t - START) / HOUR for t in Runtime(experiment, *nothing).reference_times()]
    assert hours == sorted({*range(-120, 127, 6), -2, 2, 4, 8})
