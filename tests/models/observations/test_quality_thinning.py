"""Dense observations: one of each box stays, or their weighted mean departure."""

import numpy as np
import pandas as pd
import pytest

from models.observations.quality.control import ControlSettings, screen_departures
from models.observations.quality.reasons import Reason
from models.observations.quality.thinning import ThinningSettings, superobservations, thinned
from tests.quality_tables import MOMENT, dense, everything, rows


@pytest.mark.parametrize("spacing", [300.0, 1000.0, 40_000.0])
def test_one_of_each_box_stays(spacing: float) -> None:
    table, options = dense(), ThinningSettings(spacing=spacing)
    out, stands = thinned(table, everything(4000), np.zeros(4000), options)
    assert (out == (stands != np.arange(4000))).all() and not out[stands].any()
    apart = np.degrees(spacing / 6371.0)
    assert (table["pres"].to_numpy() == table["pres"].to_numpy()[stands]).all()
    assert (
        np.abs(table["lat"].to_numpy() - table["lat"].to_numpy()[stands]).max()
        < 1.01 * max(apart, 90)
        or spacing > 2e4
    )
    boxes = 4 * np.pi * 6371.0**2 / spacing**2 * 3
    assert (~out).sum() <= max(1.3 * boxes, 3 * 2)


def test_thinning_is_fair_to_both_components_and_prefers_the_nearest_in_time() -> None:
    wind = pd.concat([dense().assign(variable=name) for name in "uv"], ignore_index=True)
    offset = np.tile(np.random.default_rng(1).uniform(0, 1e4, 4000), 2)
    out, stands = thinned(wind, everything(8000), offset, ThinningSettings(spacing=1000.0))
    assert (out[:4000] == out[4000:]).all() and out.any()
    assert (np.round(offset[stands] / 600) <= np.round(offset / 600)).all()


def test_only_the_types_that_are_dense_are_thinned() -> None:
    table = dense().assign(type="temp")
    assert not thinned(table, everything(4000), np.zeros(4000), ThinningSettings())[0].any()
    none = ThinningSettings(kind="none")
    assert not thinned(dense(), everything(4000), np.zeros(4000), none)[0].any()


def test_a_superobservation_is_the_weighted_mean_departure_at_its_place() -> None:
    table = rows(3, observation=[250.0, 252.0, 260.0], error=[1.0, 1.0, 2.0])
    departure, stands = np.array([1.0, 2.0, -3.0]), np.array([0, 0, 2])
    merged = superobservations(table, everything(3), stands, departure, common=0.0)
    assert merged["observation"].tolist() == [250.5, 252.0, 260.0]  # H(x_b) = 249 there
    assert merged["error"].tolist() == pytest.approx([np.sqrt(0.5), 1.0, 2.0])
    assert merged["reported"].tolist() == [250.0, 252.0, 260.0]
    assert merged["merged"].tolist() == [2, 0, 1]
    common = superobservations(table, everything(3), stands, departure, common=1.0)
    assert common["error"][0] == pytest.approx(1.0)


def test_superobservations_of_independent_errors_are_as_good_as_they_say() -> None:
    random, table = np.random.default_rng(2), dense(20_000)
    departure = random.standard_normal(20_000)
    options = ThinningSettings(kind="superob", spacing=2000.0, common=0.0)
    table = table.assign(observation=255.0 + departure, used=True, reason="", o_minus_b=departure)
    control = ControlSettings(buddies=None, background=None, thinning=options)
    found = screen_departures(table, control, MOMENT, np.zeros(20_000))
    used = found[found["used"]]
    assert used["merged"].sum() == 20_000 and (used["merged"] > 5).mean() > 0.9
    normalized = used["o_minus_b"] / used["error"]
    assert normalized.std() == pytest.approx(1.0, abs=0.1)
    assert (found.loc[~found["used"], "reason"] == Reason.MERGED).all()
