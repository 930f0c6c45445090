from datetime import timedelta

import pytest

from configs import load
from configs.rehearsal import rehearsal_of


@pytest.mark.parametrize("reduced", [True, False])
def test_the_settings_are_valid_and_the_periods_follow_one_another(reduced: bool) -> None:
    base = load("era5")
    plan = rehearsal_of(base, reduced)
    given = [f"{key}={value!r}".replace("None", "null") for key, value in plan.settings.items()]
    config = load("era5", given)
    training, validation = config.train.period, config.train.validation
    assert training is not None and validation is not None
    assert plan.times[0] == training.start and training.end < validation.start
    assert validation.end < config.start - config.first_guess.lead
    last = config.start + (config.cycles - 1) * config.step + config.verification.forecast_lead
    assert last == plan.times[-1]
    gaps = {b - a for a, b in zip(plan.times, plan.times[1:], strict=False)}
    assert gaps == {timedelta(hours=6)} and 24 <= len(plan.times) <= 72
    assert (config.train.denoiser.hidden < base.train.denoiser.hidden) == reduced


def test_only_archives_are_rehearsed() -> None:
    with pytest.raises(ValueError, match=r"reference\.kind: 'nature'; a rehearsal needs 'zarr'"):
        rehearsal_of(load("embedded"), True)
