"""A linear Gaussian analysis whose error variances are known."""

import numpy as np
import pandas as pd
import pytest

from models.observations.desroziers import as_table, departure_sums, estimate
from models.observations.error_table import ErrorTable

POINTS, CASES = 40, 2500
SIGMA_O, SIGMA_B = 0.7, 1.5


def background_covariance(length: float = 4.0) -> np.ndarray:
    """A Gaussian correlation on a circle: the sum over all turns, which is positive."""
    place = np.arange(POINTS)
    distance = place[:, None, None] - place[:, None] + POINTS * np.arange(-3, 4)
    return SIGMA_B**2 * np.exp(-0.5 * (distance / length) ** 2).sum(-1)


def departures(assumed: float, seed: int = 0, bias: float = 0.0) -> pd.DataFrame:
    """Feedback of optimal interpolation with the right B and an assumed R."""
    random = np.random.default_rng(seed)
    b = background_covariance()
    root = np.linalg.cholesky(b + 1e-9 * np.eye(POINTS))
    e_b = random.standard_normal((CASES, POINTS)) @ root.T
    e_o = bias + SIGMA_O * random.standard_normal((CASES, POINTS))
    o_minus_b = e_o - e_b
    gain = b @ np.linalg.inv(b + assumed**2 * np.eye(POINTS))
    o_minus_a = o_minus_b - o_minus_b @ gain.T
    count = CASES * POINTS
    return pd.DataFrame(
        {
            "type": "temp",
            "variable": "t",
            "pres": np.full(count, 5e4),
            "level": np.full(count, np.nan),
            "error": np.full(count, assumed),
            "used": True,
            "o_minus_b": o_minus_b.ravel(),
            "o_minus_a": o_minus_a.ravel(),
        }
    )


def estimated(table: pd.DataFrame) -> pd.Series:
    return estimate(departure_sums([table])).loc[("temp", "t", 50_000.0)]


def test_right_weights_give_the_right_errors() -> None:
    found = estimated(departures(SIGMA_O))
    assert found["error"] == pytest.approx(SIGMA_O, rel=0.01)
    assert found["background"] == pytest.approx(SIGMA_B, rel=0.02)
    assert found["count"] == CASES * POINTS and found["estimated"]


@pytest.mark.parametrize("start", [0.2, 2.5])
def test_repeated_estimates_converge_to_the_right_error(start: float) -> None:
    assumed, distances = start, []
    for step in range(12):
        assumed = float(estimated(departures(assumed, seed=step))["error"])
        distances.append(abs(assumed - SIGMA_O))
    assert distances[0] < abs(start - SIGMA_O)
    assert assumed == pytest.approx(SIGMA_O, rel=0.02)


def test_a_bias_is_no_error() -> None:
    found = estimated(departures(SIGMA_O, bias=3.0))
    assert found["error"] == pytest.approx(SIGMA_O, rel=0.01)
    assert found["bias"] == pytest.approx(3.0, abs=0.05)


def test_sums_of_cycles_are_those_of_all_at_once() -> None:
    table = departures(1.0)
    parts = [table.iloc[:1000], table.iloc[1000:]]
    pd.testing.assert_frame_equal(departure_sums(parts), departure_sums([table]), rtol=1e-9)


def test_layers_and_types_are_apart_and_few_values_keep_what_was_assumed() -> None:
    table = departures(SIGMA_O).iloc[:3000].copy()
    table.loc[:999, "pres"] = 51_000.0  # the same layer
    table.loc[1000:1999, "pres"] = 20_000.0
    table.loc[2950:, "type"] = "aircraft"
    found = estimate(departure_sums([table]), least=100)
    assert found["count"].to_dict() == {
        ("aircraft", "t", 50_000.0): 50,
        ("temp", "t", 20_000.0): 1000,
        ("temp", "t", 50_000.0): 1950,
    }
    few = found.loc[("aircraft", "t", 50_000.0)]
    assert few["error"] == pytest.approx(SIGMA_O) and not few["estimated"]


def test_only_used_rows_count() -> None:
    table = departures(SIGMA_O).iloc[:2000].copy()
    table["used"] = np.arange(2000) % 2 == 0
    table.loc[~table["used"], ["o_minus_b", "o_minus_a"]] = np.nan
    assert estimated(table)["count"] == 1000


def test_an_estimate_is_an_error_table() -> None:
    written = as_table(estimate(departure_sums([departures(SIGMA_O)])), "experiment x")
    table = ErrorTable.from_csv(written.to_csv(index=False))
    found = table.look_up(("temp",), "t", np.array([5e4]))
    assert found is not None and found[0][0] == pytest.approx(SIGMA_O, rel=0.01)
    assert written["source"][0] == f"Desroziers (2005), {CASES * POINTS} values, experiment x"


def test_nothing_used_gives_nothing() -> None:
    table = departures(SIGMA_O).iloc[:10].assign(used=False)
    assert len(estimate(departure_sums([table]))) == len(estimate(departure_sums([]))) == 0
