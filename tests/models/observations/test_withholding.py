"""Which observations are withheld, and how well analyses fit them."""

import numpy as np
import pandas as pd
import pytest

from models.observations.quality.reasons import Reason
from models.observations.quality.withholding import part_of_stations, withheld, withhold
from models.verification.bootstrap import group_rms
from models.verification.withheld import fit_of_withheld, withheld_rows

PARTS = 5


def screened(stations: int = 400, rejected: int = 30) -> pd.DataFrame:
    """Four values of each station, the last ones without a name, some rejected."""
    names = np.repeat([f"{k:05d}" for k in range(stations)], 4)
    names[-80:] = ""
    reason = np.full(len(names), "", object)
    reason[:rejected] = "duplicate"
    return pd.DataFrame(
        {
            "lat": np.repeat(np.linspace(-80, 80, stations), 4),
            "lon": np.repeat(np.linspace(0, 350, stations), 4),
            "station": names,
            "type": "temp",
            "variable": np.tile(["u", "v", "t", "q"], stations),
            "used": reason == "",
            "reason": pd.Series(reason, dtype="str"),
        }
    )


def test_every_station_is_withheld_once_with_all_its_values() -> None:
    table = screened()
    place = table["lat"].to_numpy()
    times = np.zeros(len(table), int)
    for part in range(PARTS):
        rows = withheld(withhold(table, PARTS, part, seed=0))
        assert set(place[rows]).isdisjoint(place[~rows & table["used"].to_numpy()])
        assert 0.1 < rows.mean() < 0.3
        times += rows
    assert (times == table["used"]).all()


def test_a_station_is_in_the_same_part_whatever_else_is_observed() -> None:
    table = screened()
    whole = part_of_stations(table, PARTS, seed=0)
    some = np.random.default_rng(0).permutation(len(table))[:200]
    assert (part_of_stations(table.iloc[some], PARTS, seed=0) == whole[some]).all()
    assert (part_of_stations(table, PARTS, seed=1) != whole).any()


def test_what_was_rejected_keeps_its_reason() -> None:
    table = withhold(screened(), PARTS, 2, seed=0)
    assert (table["reason"] == "duplicate").sum() == 30
    assert ((table["reason"] == "") == table["used"]).all()
    assert set(table["reason"]) == {"", "duplicate", Reason.WITHHELD}


def test_the_fit_is_that_of_the_withheld_values_alone() -> None:
    table = withhold(screened(), PARTS, 1, seed=0)
    rows = withheld(table)
    departures = np.where(rows, 3.0, 100.0), np.where(rows, -2.0, 100.0)
    table = table.assign(o_minus_b=departures[0], o_minus_a=departures[1])
    found = fit_of_withheld(withheld_rows(table))
    assert list(found["variable"]) == ["q", "t", "u", "v"]
    assert found["count"].sum() == rows.sum()
    assert set(found["background"]) == {3.0} and set(found["analysis"]) == {2.0}
    assert np.allclose(found[["low", "high"]], -1.0)


def test_stations_drawn_again_see_the_correlation_within_them() -> None:
    random = np.random.default_rng(3)
    own = random.standard_normal(300)  # one error for all ten values of a station
    squares, counts = 10 * own[None] ** 2, np.full(300, 10.0)
    drawn = group_rms(squares, counts)[0]
    # the variance of a mean of n squares of unit normals is 2/n; of its root a quarter of that
    assert drawn.std() == pytest.approx(np.sqrt(0.5 / 300), rel=0.15)
    assert drawn.mean() == pytest.approx(np.sqrt((own**2).mean()), abs=0.005)


def test_of_nothing_nothing_is_withheld() -> None:
    table = withhold(screened().iloc[:0], PARTS, 0, seed=0)
    rows = withheld_rows(table.assign(o_minus_b=0.0, o_minus_a=0.0))
    assert len(table) == len(rows) == len(fit_of_withheld(rows)) == 0
