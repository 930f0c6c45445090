from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.forecast import ForecastModel, history_of, trajectory, with_history
from models.foreign.earth2 import Earth2Forecast, Prognostic
from models.foreign.layouts import LAYOUTS, regular_axes
from models.state import StateSpec
from tests.earth2_models import Turn

HOUR, TIME = pd.Timedelta(hours=1), pd.Timestamp("2005-01-01")
NAMES = list(LAYOUTS["pangu"].channels)


def domain(rows: int = 8, columns: int = 16) -> OrderedDict[str, Any]:
    axes = zip(("lat", "lon"), regular_axes(rows, columns), strict=True)
    return OrderedDict((name, np.array(axis)) for name, axis in axes)


def states(spec: StateSpec, count: int) -> torch.Tensor:
    return torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(0))


def test_a_prognostic_model_is_a_forecast_model(era5_spec: StateSpec) -> None:
    own = Turn(NAMES, domain())
    assert isinstance(own, Prognostic)
    model, x = Earth2Forecast(own, era5_spec), states(era5_spec, 3)
    assert isinstance(model, ForecastModel) and history_of(model) is None
    assert torch.equal(model.step(x, TIME, 18 * HOUR), x.roll(3, -1))
    times = [TIME, TIME + 6 * HOUR, TIME]
    assert torch.equal(model.step(x, times, 6 * HOUR), x.roll(1, -1))


def test_memory_is_carried(era5_spec: StateSpec) -> None:
    model = Earth2Forecast(Turn(NAMES, domain(), history=2), era5_spec)
    assert history_of(model) == 6 * HOUR
    start, rate = states(era5_spec, 2), states(era5_spec, 2).flip(0)
    pair = with_history(start - 6 * rate, start)
    expected = with_history(start + 12 * rate, start + 18 * rate)
    assert torch.allclose(model.step(pair, TIME, 18 * HOUR), expected, atol=1e-4)
    times = [TIME + 6 * HOUR, TIME + 18 * HOUR]
    assert torch.allclose(trajectory(model, pair, TIME, times)[times[1]], expected, atol=1e-4)
    with pytest.raises(ValueError, match="also needs the states 6 h before"):
        model.step(start, TIME, 6 * HOUR)


def test_what_a_model_draws_is_repeated(era5_spec: StateSpec) -> None:
    model, x = Earth2Forecast(Turn(NAMES, domain(), noise=1.0), era5_spec), states(era5_spec, 2)
    before = torch.get_rng_state()
    first = model.step(x, TIME, 6 * HOUR)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.step(x, TIME, 6 * HOUR), first)
    assert not torch.equal(model.step(x, TIME + 6 * HOUR, 6 * HOUR), first)


class Curved(Turn):
    """On a grid whose latitudes are a map."""

    def input_coords(self) -> OrderedDict[str, Any]:
        """Return coordinates with a map of latitudes."""
        coords = super().input_coords()
        coords["lat"] = np.zeros((8, 16))
        return coords


class Newer(Turn):
    """As earth2studio after 0.19 has it."""

    def input_coords(self) -> Any:  # noqa: ANN401
        """Return something else."""
        return (1, 2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Turn(NAMES[:-1], domain()), ["forecast model lacks 1", "'t2m'"]),
        (lambda: Turn([*NAMES, "tcwv"], domain()), ["state lacks 1", "'tcwv'"]),
        (lambda: Turn(NAMES, domain(9, 16)), ["latitude of the state", "(9 values)"]),
        (lambda: Turn(NAMES, domain(), history=3), ["-12 h, -6 h, 0 h", "one or two"]),
        (lambda: Curved(NAMES, domain()), ["axes of their own"]),
        (lambda: Newer(NAMES, domain()), ["tuple", "0.19"]),
    ],
)
def test_models_that_do_not_fit_are_refused(
    era5_spec: StateSpec,
    model: Any,  # noqa: ANN401
    words: list[str],
) -> None:
    with pytest.raises(ValueError) as error:
        Earth2Forecast(model(), era5_spec)
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_leads_that_are_no_multiples_are_refused(era5_spec: StateSpec) -> None:
    model = Earth2Forecast(Turn(NAMES, domain()), era5_spec)
    with pytest.raises(ValueError, match="lead 9 h"):
        model.step(states(era5_spec, 1), TIME, 9 * HOUR)


def test_earth2studio_s_own_model_runs(era5_spec: StateSpec) -> None:
    px = pytest.importorskip("earth2studio.models.px")
    base = pytest.importorskip("earth2studio.models.px.base")
    for history in (1, 2):
        own = px.Persistence(NAMES, domain(), history=history)
        assert isinstance(own, base.PrognosticModel)
        assert isinstance(Turn(NAMES, domain()), base.PrognosticModel)
        model, x = Earth2Forecast(own, era5_spec), states(era5_spec, 3)
        before = None if history == 1 else x.flip(0)
        found = model.step(with_history(before, x), TIME, 12 * HOUR)
        assert torch.equal(found, with_history(None if history == 1 else x, x))
