"""What a report shows of an experiment: maps, ranks and departures are those of its states and tables."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tasks import archive, report_states, store
from tasks.report_data import read_material
from tasks.report_fields import INCREMENT, choose_fields, maps_of, ranks_of
from tasks.report_numbers import summary
from tests.synthetic_run import all_scores, copy_without, make_experiment
from tests.synthetic_states import START, STEP, Recipe, World, small_spec


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, World]:
    root = str(tmp_path_factory.mktemp("report") / "full")
    return root, make_experiment(root, Recipe(small_spec()))


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("report") / "ensemble")
    make_experiment(root, Recipe(small_spec(), cycles=3, spin_up=1, members=3, forecasts=False))
    return root


def test_truth_given_and_truth_stored_give_the_same_maps(
    experiment: tuple[str, World], tmp_path: Path
) -> None:
    root = copy_without(experiment[0], tmp_path / "copy", {"truth"})
    truth = read_material(experiment[0]).truth
    assert truth is not None
    time = START + 5 * STEP
    field = choose_fields(read_material(root).layout)[0]
    assert list(maps_of(read_material(root), field, time).maps) == [INCREMENT]
    given = maps_of(read_material(root, truth), field, time)
    kept = maps_of(read_material(experiment[0]), field, time)
    assert len(given.maps) == 3
    for title, values in given.maps.items():
        np.testing.assert_array_equal(values, kept.maps[title])


def test_background_error_and_increment_add_up_to_the_analysis_error(
    experiment: tuple[str, World],
) -> None:
    material = read_material(experiment[0])
    for field in choose_fields(material.layout):
        before, increment, after = maps_of(material, field, START + 3 * STEP).maps.values()
        np.testing.assert_allclose(
            before + increment, after, atol=1e-9 + 1e-6 * np.abs(before).max()
        )
        assert np.abs(after).mean() < np.abs(before).mean()


def test_maps_show_the_truth_of_their_own_field_and_time(experiment: tuple[str, World]) -> None:
    root, world = experiment
    material, time = read_material(root), START + 5 * STEP
    sp = maps_of(material, choose_fields(material.layout)[2], time)
    scores = all_scores(root).query(
        "metric == 'rmse' and variable == 'sp' and source == 'background'"
    )
    expected = scores.set_index("cycle_time")["value"][time] / 100
    area = world.spec.grid.area_fractions[:, None] / world.spec.grid.shape[1]
    error = next(iter(sp.maps.values()))
    assert sp.unit == "hPa"
    assert np.sqrt((error**2 * area).sum()) == pytest.approx(expected, rel=1e-3)


def test_an_ensemble_has_its_section(ensemble: str, experiment: tuple[str, World]) -> None:
    section = report_states.ensemble(read_material(ensemble))
    assert section is not None
    spread, ranks = (figure.picture for figure in section.figures)
    assert "spread of the members" in spread
    assert "rank of the truth among the members" in ranks
    assert report_states.ensemble(read_material(experiment[0])) is None


def test_a_truth_below_all_members_has_the_lowest_rank(ensemble: str) -> None:
    material = read_material(ensemble)
    truth = material.truth
    assert truth is not None

    def low(time: pd.Timestamp) -> xr.Dataset:
        return truth(time) - 1e6

    field, times = choose_fields(material.layout)[0], material.counted_times
    ranks = ranks_of(replace(material, truth=low), field, times)
    np.testing.assert_allclose(ranks, [1, 0, 0, 0])
    ranks = ranks_of(material, field, times)
    assert ranks is not None
    assert 0 < ranks[0] < 1
    assert ranks.sum() == pytest.approx(1)


def test_departures_of_all_cycles_are_pooled_exactly(experiment: tuple[str, World]) -> None:
    feedback = archive.read_tables(store.join(experiment[0], "feedback"))
    found = read_material(experiment[0]).departures
    rejected = feedback[~feedback["used"]]
    assert found.rejected.sum() == len(rejected) > 0
    assert found.rejected["u", "value is not finite"] == 6
    for variable, rows in feedback.groupby("variable"):
        used = rows[rows["used"]]
        statistics = found.by_variable(None).loc[variable]
        assert statistics["used"] == len(used)
        assert statistics["rejected"] == len(rows) - len(used)
        assert statistics["o_minus_b_mean"] == pytest.approx(used["o_minus_b"].mean())
        assert statistics["o_minus_a_std"] == pytest.approx(used["o_minus_a"].std(ddof=0))
        chi2 = used["o_minus_b"] ** 2 / (used["error"] ** 2 + used["background_error"] ** 2)
        assert statistics["chi2"] == pytest.approx(chi2.mean())


def test_a_free_run_is_neither_better_nor_worse_than_itself(experiment: tuple[str, World]) -> None:
    scores = all_scores(experiment[0]).query("source == 'background'")
    same = pd.concat([scores, scores.assign(source="analysis")])
    assert [row.difference for row in summary(same)] == [0.0] * 6
    assert {row.interval for row in summary(same)} == {(0.0, 0.0)}
