import math

import numpy as np
import pandas as pd
import pytest
import torch

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.state import StateSpec, Variable, embedded_spec
from models.verification.scoring import score_observations, score_state

SPEC = embedded_spec()
TIME, LEAD = pd.Timestamp("2004-01-03T06"), pd.Timedelta("48h")
COLUMNS = ["cycle_time", "lead_time", "variable", "level", "region", "metric", "source", "value"]
AREA = torch.from_numpy(SPEC.grid.area_fractions)[:, None] / 64


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STD = torch.linspace(0.5, 4, 33)
ERROR_STD = torch.linspace(0.1, 0.9, 33)
MASK = torch.arange(33) != 24
STATISTICS = Statistics(random(7, *SPEC.shape), STD, ERROR_STD, MASK)
TRUTH = random(*SPEC.shape, seed=1)


def score(x: torch.Tensor, truth: torch.Tensor = TRUTH) -> pd.DataFrame:
    return score_state(x, truth, SPEC, STATISTICS, TIME + LEAD, TIME, LEAD, "forecast")


def fields(table: pd.DataFrame, metric: str) -> np.ndarray:
    rows = table[(table["metric"] == metric) & (table["variable"] != "all")]
    names = [field.variable for field in SPEC.fields]
    assert rows["variable"].tolist() == names
    levels = [math.nan if field.level is None else field.level for field in SPEC.fields]
    np.testing.assert_array_equal(rows["level"], levels)
    return rows["value"].to_numpy()


def overall(table: pd.DataFrame, metric: str) -> float:
    rows = table[(table["metric"] == metric) & (table["variable"] == "all")]
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


def test_table_is_long_and_typed() -> None:
    table = score(TRUTH[None] + 1)
    assert list(table.columns) == COLUMNS
    assert table["cycle_time"].dtype == "datetime64[ns]"
    assert table["lead_time"].dtype == "timedelta64[ns]"
    assert (table["cycle_time"] == TIME).all()
    assert (table["lead_time"] == LEAD).all()
    assert set(table["region"]) == {"global"}
    assert set(table["source"]) == {"forecast"}
    metrics = {"rmse", "bias", "acc", "mse_climatology", "mse_background_24h"}
    assert set(table["metric"]) == metrics
    assert not table.duplicated(["variable", "level", "metric"]).any()
    assert np.isfinite(table["value"]).all()


def test_constant_bias_is_bias_and_rmse() -> None:
    bias = torch.linspace(-3, 5, 33)
    table = score(TRUTH[None] + bias[:, None, None])
    np.testing.assert_allclose(fields(table, "bias"), bias, atol=1e-6)
    np.testing.assert_allclose(fields(table, "rmse"), bias.abs(), atol=1e-6)
    expected = (bias / STD) ** 2
    np.testing.assert_allclose(fields(table, "mse_climatology"), expected, atol=1e-6)
    assert overall(table, "mse_climatology") == pytest.approx(expected.mean().item(), rel=1e-5)
    relative = ((bias / STD / ERROR_STD) ** 2)[MASK].mean().item()
    assert overall(table, "mse_background_24h") == pytest.approx(relative, rel=1e-5)


def test_errors_are_weighted_by_the_area_of_their_cells() -> None:
    error = random(*SPEC.shape, seed=2)
    expected = (error.double() ** 2 * AREA).sum((1, 2)).sqrt()
    table = score((TRUTH + error)[None])
    np.testing.assert_allclose(fields(table, "rmse"), expected, rtol=1e-5)
    np.testing.assert_allclose(
        fields(table, "bias"), (error.double() * AREA).sum((1, 2)), atol=1e-6
    )


def test_perfect_states_have_no_error() -> None:
    table = score(TRUTH[None])
    assert (fields(table, "rmse") == 0).all()
    np.testing.assert_allclose(fields(table, "acc"), 1, rtol=1e-12)
    assert overall(table, "mse_background_24h") == 0


def test_anomalies_are_from_the_climatology_of_the_valid_time() -> None:
    climatology = STATISTICS.climatology([TIME + LEAD])[0]
    opposite = 2 * climatology - TRUTH
    np.testing.assert_allclose(fields(score(opposite[None]), "acc"), -1, atol=1e-6)
    wrong = STATISTICS.climatology([TIME])[0]
    assert (fields(score((2 * wrong - TRUTH)[None]), "acc") > -0.999).all()


def test_climatological_variance_of_independent_states_is_two() -> None:
    climatology = STATISTICS.climatology([TIME + LEAD])[0]
    x, truth = (climatology + STD[:, None, None] * random(*SPEC.shape, seed=s) for s in (3, 4))
    assert overall(score(x[None], truth), "mse_climatology") == pytest.approx(2, abs=0.05)


def test_scores_of_an_ensemble_are_those_of_its_mean() -> None:
    x = TRUTH + random(6, *SPEC.shape, seed=5)
    ensemble, mean = score(x), score(x.double().mean(0, keepdim=True).float())
    for metric in ("rmse", "bias", "acc", "mse_climatology"):
        np.testing.assert_allclose(fields(ensemble, metric), fields(mean, metric), atol=1e-6)
    assert not {"crps", "spread", "spread_skill"} & set(mean["metric"])


def test_exchangeable_ensembles_have_calibrated_spread_and_the_fair_crps() -> None:
    """The expected CRPS of N(0, 1) for a truth from it is 1 / √π; the fair score is unbiased."""
    members = random(8, *SPEC.shape, seed=6)
    table = score(members, random(*SPEC.shape, seed=7))
    effective = 1 / (AREA**2).expand(32, 64).sum().item()
    deviation = 0.6 / math.sqrt(effective)
    crps = fields(table, "crps")
    np.testing.assert_allclose(crps, 1 / math.sqrt(math.pi), atol=5 * deviation)
    assert crps.mean() == pytest.approx(1 / math.sqrt(math.pi), abs=4 * deviation / math.sqrt(33))
    np.testing.assert_allclose(fields(table, "spread"), 1, atol=0.03)
    assert fields(table, "spread_skill").mean() == pytest.approx(1, abs=0.01)


def test_crps_of_a_displaced_gaussian_is_its_closed_form() -> None:
    """CRPS(N(μ, σ²), y) = σ (w (2Φ(w) − 1) + 2φ(w) − 1/√π), w = (y − μ)/σ (Gneiting 2005)."""
    sigma, w = 2.0, 1.3
    density = math.exp(-(w**2) / 2) / math.sqrt(2 * math.pi)
    exact = sigma * (w * math.erf(w / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    members = sigma * random(6, *SPEC.shape, seed=8)
    crps = fields(score(members, torch.full(SPEC.shape, sigma * w)), "crps")
    assert crps.mean() == pytest.approx(exact, abs=0.01)


def test_identical_members_have_no_spread_and_the_absolute_error_as_crps() -> None:
    x = (TRUTH + 1.5).expand(3, *SPEC.shape)
    table = score(x)
    np.testing.assert_allclose(fields(table, "crps"), 1.5, rtol=1e-5)
    np.testing.assert_allclose(fields(table, "spread"), 0, atol=1e-6)


def test_regional_states_are_scored_over_their_domain() -> None:
    grid = LatLonGrid((50.0, 40.0, 30.0), (0.0, 10.0, 20.0, 30.0))
    variables = (Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),)
    spec = StateSpec(variables, grid, "pressure")
    statistics = Statistics(torch.zeros(5, 1, 3, 4), torch.tensor([2.0]))
    x = torch.zeros(1, 1, 3, 4)
    x[:, :, 0] = 1.0
    args = (TIME, TIME, pd.Timedelta(0), "analysis")
    table = score_state(x, torch.zeros(1, 3, 4), spec, statistics, *args)
    assert set(table["region"]) == {"domain"}
    value = table.set_index(["variable", "metric"])["value"]
    assert value["msl", "rmse"] == pytest.approx(math.sqrt(grid.area_fractions[0]))
    assert value["all", "mse_climatology"] == pytest.approx(grid.area_fractions[0] / 4)


def feedback() -> pd.DataFrame:
    columns = {
        "time": np.full(6, TIME.to_datetime64(), "datetime64[ns]"),
        "variable": ["t", "t", "u", "t", "u", "u"],
        "error": [1.0, 1.0, 3.0, 1.0, 3.0, 3.0],
        "used": [True, True, True, False, True, True],
        "o_minus_b": [1.0, 3.0, -5.0, np.nan, 0.0, 5.0],
        "o_minus_a": [0.5, -0.5, 1.0, np.nan, 1.0, 1.0],
        "background_error": [2.0, 2.0, 4.0, np.nan, 4.0, 4.0],
    }
    return pd.DataFrame(columns)


def test_departures_have_their_mean_and_deviation_by_variable() -> None:
    table = score_observations(feedback())
    assert list(table.columns) == COLUMNS
    assert (table["cycle_time"] == TIME).all()
    value = table.set_index(["variable", "metric", "source"])["value"]
    assert value["t", "o_minus_b_mean", "background"] == pytest.approx(2)
    assert value["t", "o_minus_b_std", "background"] == pytest.approx(1)
    assert value["u", "o_minus_b_std", "background"] == pytest.approx(math.sqrt(50 / 3))
    assert value["t", "o_minus_a_mean", "analysis"] == pytest.approx(0)
    assert value["u", "o_minus_a_mean", "analysis"] == pytest.approx(1)
    assert value["u", "o_minus_a_std", "analysis"] == pytest.approx(0)


def test_chi_square_compares_departures_with_believed_errors() -> None:
    rows = score_observations(feedback()).query("metric == 'chi2'")
    value = rows.set_index("variable")["value"]
    assert value.to_dict() == pytest.approx({"t": 1.0, "u": 2 / 3, "all": 0.8})
    assert set(rows["source"]) == {"background"}


def test_unknown_departures_are_left_out() -> None:
    only = feedback()[["time", "variable", "error", "used", "o_minus_b"]]
    metrics = set(score_observations(only)["metric"])
    assert metrics == {"o_minus_b_mean", "o_minus_b_std"}


def test_cycles_without_observations_have_no_rows() -> None:
    assert len(score_observations(feedback().iloc[:0])) == 0
    assert len(score_observations(feedback().assign(used=False))) == 0
    both = pd.concat([score_observations(feedback().iloc[:0]), score(TRUTH[None])])
    assert both["cycle_time"].dtype == "datetime64[ns]"


def test_cycle_time_must_be_clear() -> None:
    table = feedback()
    table.loc[0, "time"] += pd.Timedelta("1h")
    with pytest.raises(ValueError, match="observations have 2 times: the cycle time must be"):
        score_observations(table)
    assert (score_observations(table, TIME)["cycle_time"] == TIME).all()
