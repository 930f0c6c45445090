import pytest

from configs import load
from tasks.experiment import Experiment
from tasks.plan import CYCLE_STAGES, Plan, setting

BASE = "observations.network.kind=columns"


def fingerprints(*overrides: str) -> dict[str, str]:
    experiment = Experiment(root="/nowhere", config=load("embedded", [BASE, *overrides]))
    plan = Plan.of(experiment, {})
    return {stage: plan.fingerprint(stage, {}) for stage in CYCLE_STAGES}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("observations.slots=3", {"forecast", "observations", "analysis"}),
        ("observations.at_own_time=false", {"forecast", "observations", "analysis"}),
        ("observations.network.fraction=0.1", {"observations", "analysis"}),
        ("observations.network.variables=[t]", {"observations", "analysis"}),
        ("first_guess.lead=P4D", {"forecast"}),
        ("cycles=3", set()),
    ],
)
def test_a_stage_is_bound_to_the_settings_that_its_result_depends_on(
    override: str, stages: set[str]
) -> None:
    before, after = fingerprints(), fingerprints(override)
    assert {stage for stage in before if before[stage] != after[stage]} == stages


def test_settings_that_an_old_experiment_does_not_have_are_none() -> None:
    identity = {"start": 1, "observations": {"network": {"kind": "columns"}}}
    assert setting(identity, "start") == 1
    assert setting(identity, "observations.network.kind") == "columns"
    assert setting(identity, "observations.slots") is None
    assert setting(identity, "verification.every") is None
