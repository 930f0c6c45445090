import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tasks.report_fields import choose_fields, departures_at
from tasks.report_maps import Box, coast_in, into_box
from tasks.report_numbers import difference_interval
from tasks.report_style import digits


def test_the_interval_of_independent_differences_is_the_normal_one() -> None:
    sample = np.random.default_rng(3).standard_normal(900)
    low, high = difference_interval(sample)
    assert low < sample.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.2)


def test_serial_correlation_widens_the_interval() -> None:
    generator = np.random.default_rng(4)
    series = np.zeros(400)
    for i in range(1, 400):
        series[i] = 0.9 * series[i - 1] + generator.standard_normal()
    shuffled = generator.permutation(series)
    widths = [np.diff(difference_interval(x))[0] for x in (series, shuffled)]
    assert widths[0] > 2 * widths[1]


@pytest.mark.parametrize(("west", "east"), [(-2.8, 357.2), (-180.0, 180.0), (0.5, 360.5)])
def test_coasts_cross_the_seam_of_a_global_map(west: float, east: float) -> None:
    lines = coast_in(Box(west, east, -90, 90))
    assert max(np.abs(np.diff(line[:, 0])).max() for line in lines) < 90
    drawn = np.concatenate(lines)
    drawn = drawn[(drawn[:, 0] >= west) & (drawn[:, 0] <= east)]
    world = np.concatenate(coast_in(Box(-180, 180, -90, 90)))
    world = world[np.abs(world[:, 0]) < 180]
    assert len(drawn) == pytest.approx(len(world), rel=0.01)


def test_a_region_has_the_same_coast_one_turn_further() -> None:
    here, there = (coast_in(Box(w, w + 30, 30, 55)) for w in (-15, 345))
    assert len(here) == len(there) > 3
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a + np.array([360, 0]), b)


def test_longitudes_turn_into_the_box() -> None:
    turned = into_box(np.array([-180.0, 0.0, 180.0, 359.0, 360.0]), -2.8)
    np.testing.assert_allclose(turned, [180, 0, 180, -1, 0], atol=1e-9)


def test_observed_places_of_other_fields_have_no_departure() -> None:
    columns = {"lon": 1.0, "lat": [2.0, 2.0, 3.0], "variable": "t", "level": [0.2, 0.5, 0.5]}
    feedback = pd.DataFrame(columns | {"used": [True, True, False], "o_minus_b": 1.5})
    field = choose_fields(xr.Dataset({"t": (("latitude", "longitude"), np.zeros((2, 2)))}))[0]
    assert departures_at(feedback, field._replace(level=0.5), 10)["value"].tolist() == [15.0]
    elsewhere = departures_at(feedback, field._replace(level=0.9), 10)
    assert elsewhere["value"].isna().tolist() == [True]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.028461, "0.0285"), (-1.5, "−1.50"), (12345.6, "12\u202f300"), (0.0, "0"), (np.nan, "–"),
     (3.2e-9, "3.20e−09"), (99.96, "100.0"), (None, "–")],
)  # fmt: skip
def test_numbers_have_sensible_digits(value: float | None, text: str) -> None:
    assert digits(value) == text
