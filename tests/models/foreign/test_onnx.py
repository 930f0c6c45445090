from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from models.forecast import ForecastModel, history_of, trajectory, with_history
from models.foreign.channels import channels_of
from models.foreign.forecast import ForeignForecast, Normalization, steps_to
from models.foreign.layouts import LAYOUTS, Channels, regular_axes
from models.foreign.mapping import StateMap
from models.foreign.onnx_engine import OnnxEngine
from models.state import StateSpec
from tests.foreign_models import fengwu, pangu

HOUR, TIME = pd.Timedelta(hours=1), pd.Timestamp("2005-01-01")


def engine(address: str) -> OnnxEngine:
    return OnnxEngine(Path(address).read_bytes(), "model")


def states(spec: StateSpec, count: int) -> torch.Tensor:
    return torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(0))


def two_pangu(spec: StateSpec, folder: Path) -> ForeignForecast:
    """A 6 h model that turns by one column, a 24 h one by four that adds 1 at the surface."""
    engines = {
        6 * HOUR: engine(pangu(folder / "6.onnx", 8, 16, by=1)),
        24 * HOUR: engine(pangu(folder / "24.onnx", 8, 16, by=4, add=1.0)),
    }
    layout = LAYOUTS["pangu"]
    mapping = StateMap.between(spec, layout.channels, *regular_axes(8, 16))
    return ForeignForecast(layout, mapping, engines)


def test_pangu_goes_by_its_longest_steps(era5_spec: StateSpec, tmp_path: Path) -> None:
    model, x = two_pangu(era5_spec, tmp_path), states(era5_spec, 3)
    assert isinstance(model, ForecastModel) and history_of(model) is None
    found = model.step(x, TIME, 54 * HOUR)  # 24 + 24 + 6
    surface = torch.tensor(
        [v.levels is None for v in era5_spec.variables for _ in v.levels or "s"]
    )
    expected = x.roll(9, -1) + 2.0 * surface[:, None, None]
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(model.step(x, TIME, 18 * HOUR), x.roll(3, -1))


def test_members_do_not_touch_each_other(era5_spec: StateSpec, tmp_path: Path) -> None:
    model, x = two_pangu(era5_spec, tmp_path), states(era5_spec, 3)
    together = model.step(x, TIME, 6 * HOUR)
    alone = torch.cat([model.step(own[None], TIME, 6 * HOUR) for own in x])
    assert torch.equal(together, alone)


def linear(spec: StateSpec, folder: Path) -> ForeignForecast:
    layout, generator = LAYOUTS["fengwu"], torch.Generator().manual_seed(1)
    mapping = StateMap.between(spec, layout.channels, *regular_axes(8, 16))
    center, scale = torch.randn(69, generator=generator), torch.rand(69, generator=generator) + 0.5
    engines = {6 * HOUR: engine(fengwu(folder / "model.onnx", 8, 16))}
    return ForeignForecast(layout, mapping, engines, Normalization(center, scale))


def test_fengwu_steps_two_states_and_goes_on(era5_spec: StateSpec, tmp_path: Path) -> None:
    model = linear(era5_spec, tmp_path)
    assert history_of(model) == 6 * HOUR
    start, rate = states(era5_spec, 2), states(era5_spec, 2).flip(0)

    def at(hours: int) -> torch.Tensor:
        return start + hours * rate

    pair = with_history(at(-6), at(0))
    found = model.step(pair, TIME, 18 * HOUR)
    assert torch.allclose(found, with_history(at(12), at(18)), atol=1e-3)
    times = [TIME + 6 * HOUR, TIME + 18 * HOUR]
    on_the_way = trajectory(model, pair, TIME, times)
    assert torch.allclose(on_the_way[times[1]], found, atol=1e-4)
    with pytest.raises(ValueError, match="also needs the states 6 h before"):
        model.step(at(0), TIME, 6 * HOUR)


LEVELS = (
    *(1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 125, 150, 175, 200, 225, 250, 300, 350, 400, 450),
    *(500, 550, 600, 650, 700, 750, 775, 800, 825, 850, 875, 900, 925, 950, 975, 1000),
)


def test_two_states_of_the_189_channels_of_fengwu_s_paper_are_a_layout_too(
    era5_spec: StateSpec, tmp_path: Path
) -> None:
    variables = tuple(
        v if v.levels is None else replace(v, levels=LEVELS) for v in era5_spec.variables
    )
    spec = replace(era5_spec, variables=variables)
    layout = Channels(channels_of(spec), states=2)
    assert len(layout.channels) == 189
    mapping = StateMap.between(spec, layout.channels, spec.grid.latitude, spec.grid.longitude)
    engines = {6 * HOUR: engine(fengwu(tmp_path / "model.onnx", 8, 16, channels=189))}
    assert layout.check(engines[6 * HOUR].shapes) == (8, 16)
    model, x = ForeignForecast(layout, mapping, engines), states(spec, 1)
    pair = with_history(x, 3 * x)
    assert torch.allclose(model.step(pair, TIME, 12 * HOUR), with_history(5 * x, 7 * x))


def test_leads_that_are_no_sums_of_steps_are_refused(era5_spec: StateSpec, tmp_path: Path) -> None:
    model, x = two_pangu(era5_spec, tmp_path), states(era5_spec, 1)
    with pytest.raises(ValueError, match=r"lead 9 h: the forecast model's steps are 24 h, 6 h"):
        model.step(x, TIME, 9 * HOUR)
    with pytest.raises(ValueError, match=r"lead -6 h"):
        model.step(x, TIME, -6 * HOUR)
    assert steps_to(30 * HOUR, [24 * HOUR, 6 * HOUR]) == [24 * HOUR, 6 * HOUR]
    with pytest.raises(ValueError, match=r"states have the shape \(69, 8, 15\)"):
        model.step(x[..., 1:], TIME, 6 * HOUR)
    engines = {6 * HOUR: model.engines[6 * HOUR], 10 * HOUR: model.engines[24 * HOUR]}
    with pytest.raises(ValueError, match=r"a step of 10 h is no multiple of 6 h"):
        ForeignForecast(model.layout, model.mapping, engines)


@pytest.mark.parametrize(
    ("shapes", "grid"),
    [
        ({"input": (5, 13, 721, 1440), "input_surface": (4, 721, 1440)}, (721, 1440)),
        ({"input": (5, 13, None, None), "input_surface": (4, None, None)}, (721, 1440)),
        ({"input": (5, 13, 8, 16), "input_surface": (4, 8, 16)}, (8, 16)),
    ],
)
def test_the_layout_tells_the_grid(
    shapes: dict[str, tuple[int | None, ...]], grid: tuple[int, int]
) -> None:
    assert LAYOUTS["pangu"].check(shapes) == grid


def test_another_layout_is_refused(tmp_path: Path) -> None:
    found = engine(pangu(tmp_path / "model.onnx", 8, 16, by=1)).shapes
    with pytest.raises(ValueError, match=r"inputs are input \[5, 13, 8, 16\].* \[1, 138, 721"):
        LAYOUTS["fengwu"].check(found)


def test_a_damaged_model_is_one_line(tmp_path: Path) -> None:
    data = Path(pangu(tmp_path / "model.onnx", 8, 16, by=1)).read_bytes()
    with pytest.raises(ValueError, match=r"^model: not an ONNX model that can be run: [^\n]*$"):
        OnnxEngine(data[: len(data) // 2], "model")


def test_values_that_are_not_finite_end_the_forecast(era5_spec: StateSpec, tmp_path: Path) -> None:
    model, x = two_pangu(era5_spec, tmp_path), states(era5_spec, 1)
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        model.step(x, TIME, 6 * HOUR)
