"""The pictures and numbers of one cycle."""

import base64
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tasks.cycle_departures import draw_departures
from tasks.cycle_maps import draw_maps
from tasks.departures import departure_sums, statistics
from tasks.svg import Canvas, data_address

SVG = "{http://www.w3.org/2000/svg}"
TRACE = [{"step": n, "J_b": 10.0 + n, "J_o": 100.0 / (n + 1)} for n in range(5)]


@pytest.fixture
def feedback() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    count = 400
    used = generator.random(count) < 0.9
    columns = {
        "lat": generator.uniform(-90, 90, count),
        "lon": generator.uniform(0, 360, count),
        "variable": generator.choice(["t", "sp"], count),
        "source": generator.choice(["ship", "radar"], count),
        "level": np.nan,
        "error": 1.5,
        "used": used,
        "reason": np.where(used, "", "far off"),
        "o_minus_b": np.where(used, generator.normal(0.5, 2.0, count), np.nan),
        "o_minus_a": np.where(used, generator.normal(0.1, 1.0, count), np.nan),
        "background_error": np.where(used, 2.0, np.nan),
    }
    return pd.DataFrame(columns)


def parts(svg: str, name: str) -> int:
    return len(list(ElementTree.fromstring(svg).iter(f"{SVG}{name}")))


def test_statistics_are_those_of_the_used_observations_of_a_source(feedback: pd.DataFrame) -> None:
    found = statistics(departure_sums(feedback)).loc[("ship", "t")]
    own = feedback[(feedback["source"] == "ship") & (feedback["variable"] == "t")]
    used = own[own["used"]]
    assert (found["used"], found["rejected"]) == (len(used), len(own) - len(used))
    assert np.isclose(found["bias"], used["o_minus_b"].mean())
    assert np.isclose(found["rms"], np.sqrt((used["o_minus_b"] ** 2).mean()))
    assert np.isclose(found["rms_a"], np.sqrt((used["o_minus_a"] ** 2).mean()))
    assert np.isclose(found["expected"], np.hypot(1.5, 2.0))


def test_sums_of_cycles_add_up_to_the_statistics_of_all(feedback: pd.DataFrame) -> None:
    halves = [departure_sums(feedback.iloc[:150]), departure_sums(feedback.iloc[150:])]
    whole = statistics(departure_sums(feedback))
    added = statistics(pd.concat(halves).groupby(level=["source", "variable"]).sum())
    pd.testing.assert_frame_equal(added.sort_index(), whole.sort_index())


def test_maps_show_background_increment_and_observations_of_each_field(
    make_dataset: Callable[..., xr.Dataset], feedback: pd.DataFrame
) -> None:
    background = make_dataset(times=1)[["t", "sp"]]
    svg = draw_maps(background, background + 1.0, feedback.assign(level=0.9), "Maps of <one>")
    shown = (feedback["used"] & (feedback["variable"] == "t")).sum()
    assert parts(svg, "image") == 2 * 4 and parts(svg, "use") == 2 * 3
    assert parts(svg, "circle") >= shown
    assert "Maps of &lt;one&gt;" in svg


def test_a_map_of_very_many_observations_shows_some_of_them(
    make_dataset: Callable[..., xr.Dataset], feedback: pd.DataFrame
) -> None:
    background = make_dataset(times=1)[["sp"]]
    many = pd.concat([feedback] * 20).assign(variable="sp", level=np.nan)
    svg = draw_maps(background, background, many, "Maps")
    assert 200 < parts(svg, "circle") <= 600
    assert f"{many['used'].sum():,}".replace(",", "\u202f") in svg


@pytest.mark.parametrize("trace", [TRACE, TRACE[:1], [], [{"step": 0}]])
def test_departures_are_drawn_with_and_without_a_cost_function(
    feedback: pd.DataFrame, trace: list[dict[str, float]]
) -> None:
    svg = draw_departures(feedback, trace, "Departures")
    lines = 4 if trace and "J_b" in trace[0] else 0
    assert ("no trace" in svg) == (not lines)
    assert all(name in svg for name in ("ship t", "radar sp"))


@pytest.mark.parametrize("kept", ["none", "rejected", "without background error"])
def test_departures_are_drawn_whatever_observations_there_are(
    feedback: pd.DataFrame, kept: str
) -> None:
    table = {
        "none": feedback.iloc[:0],
        "rejected": feedback.assign(
            used=False, o_minus_b=np.nan, o_minus_a=np.nan, background_error=np.nan
        ),
        "without background error": feedback.drop(columns="background_error"),
    }[kept]
    ElementTree.fromstring(draw_departures(table, TRACE, "Departures"))


def test_words_cannot_become_elements() -> None:
    canvas = Canvas(10, 10, "<script>")
    canvas.text(0, 0, "</svg><script>")
    assert parts(canvas.svg(), "script") == 0
    address = data_address(canvas.svg())
    assert base64.b64decode(address.partition(",")[2]).decode() == canvas.svg()
