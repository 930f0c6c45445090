"""From the rows of a benchmark to its summary, and to the tables in Markdown."""

import numpy as np
import pandas as pd
import pytest

from configs.benchmark import Benchmark
from tasks.benchmark_markdown import markdown
from tasks.benchmark_summary import summary

BENCHMARK = Benchmark(
    name="b",
    reference="one",
    ensemble_reference="two",
    methods={"one": {"kind": "free"}, "two": {"kind": "free"}},
    networks={"n": {"kind": "columns"}},
    groups=(),
    cycled={"cycles": 200, "spin_up": 10},
)


def rows(kind: str, count: int) -> pd.DataFrame:
    """Errors with a common part, the second method's a tenth larger."""
    common = 1 + 0.3 * np.random.default_rng(0).standard_normal(count) ** 2
    times = pd.date_range("2005-01-01", periods=count, freq="6h")
    parts = []
    for method, factor in (("one", 1.0), ("two", 1.1)):
        for source, scale in (("analysis", 1.0), ("background", 1.5)):
            for metric in (
                "mse",
                "mse_climatology",
                "seconds",
                "variance",
                "crps",
                "rank_0",
                "rank_1",
            ):
                value = factor * scale * common
                table = {"cycle_time": times, "source": source, "metric": metric, "value": value}
                names = {"method": method, "kind": kind, "lead_hours": 0, "network": "n"}
                parts.append(pd.DataFrame(table | names | {"variable": "all", "seed": 0}))
    return pd.concat(parts, ignore_index=True)


def test_paired_differences_are_sharper_than_the_means() -> None:
    one, two = summary(BENCHMARK, rows("cycled", 200))
    assert one["analyses"] == 190  # without the spin-up
    assert one["ratio"] == 1 and two["ratio"] == pytest.approx(1.1)
    assert two["ratio_low"] == pytest.approx(1.1) == two["ratio_high"]
    assert two["analysis_high"] - two["analysis_low"] > 0.05
    assert one["crps_ratio"] == pytest.approx(1 / 1.1) == one["crps_ratio_low"]
    assert two["background"] == pytest.approx(1.5 * two["analysis"])


def test_few_analyses_have_no_interval() -> None:
    one, two = summary(BENCHMARK, rows("uncycled", 12))
    assert "analysis_low" not in one and "ratio_low" not in two
    assert "analysis_low" in summary(BENCHMARK, rows("uncycled", 40))[0]


def test_methods_are_compared_on_the_analyses_that_both_have() -> None:
    table = rows("cycled", 200)
    chosen = (table["method"] == "two") & (table["cycle_time"] >= pd.Timestamp("2005-02-01"))
    table.loc[chosen & (table["metric"] == "mse"), "value"] *= 100
    last = pd.Timestamp("2005-02-01")
    one, two = summary(BENCHMARK, table[(table["cycle_time"] < last) | (table["method"] == "one")])
    assert two["ratio"] == pytest.approx(1.1) == two["ratio_high"]
    assert two["analyses"] == two["ratio_analyses"] == 4 * 31 - 10 < one["analyses"]


def test_each_method_stands_beside_the_reference_on_each_network() -> None:
    text = markdown(BENCHMARK, summary(BENCHMARK, rows("cycled", 200)))
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == ["| method", "n |"]
    one, two = lines[2][1].removesuffix(" |"), lines[3][1].removesuffix(" |")
    assert two.endswith(" (×1.10, 1.10–1.10)") and "×" not in one
    assert float(two.split()[0]) > float(one)


def test_ensembles_have_a_table_of_their_own() -> None:
    text = markdown(BENCHMARK, summary(BENCHMARK, rows("uncycled", 12)))
    assert "## Single analyses of 0 h forecasts: CRPS" in text
    assert text.count("| one | ") == 2 and text.count("(×0.909)") == 1


def test_the_cost_stands_below_if_it_was_measured() -> None:
    stages = dict.fromkeys(("denoiser", "encoder", "decoder", "operator", "solver"), 0.125)
    row = {"method": "one", "members": 20, "seconds": 0.625, "peak_memory": 3 * 2**20} | stages
    results = summary(BENCHMARK, rows("uncycled", 12))
    text = markdown(BENCHMARK, results, {"machine": "one thread", "rows": [row]})
    assert text.startswith(markdown(BENCHMARK, results))
    assert "## Cost of one analysis, one thread" in text
    last = "| one | 20 | 0.625 | 0.125 | 0.125 | 0.125 | 0.125 | 0.125 | 3.00 |"
    assert text.splitlines()[-1] == last
