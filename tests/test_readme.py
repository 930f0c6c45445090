"""The numbers of the README's table are those of the published contest."""

import re
from pathlib import Path

import pandas as pd
import pytest

from configs.loading import load_benchmark
from tasks.benchmark_markdown import error_cell
from tasks.benchmark_plan import cases
from tasks.benchmark_published import CASES, ROWS
from tasks.benchmark_summary import summary

ROOT = Path(__file__).parents[1]
CONTEST = ROOT / "docs" / "contest"
NETWORKS = {"1 %": "columns-1", "5 %": "columns-5", "10 %": "columns-10"}


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    """The rows of the published summary, by experiment, network and method."""
    table = pd.read_csv(CONTEST / "benchmark.csv")
    return table.set_index(["kind", "lead_hours", "network", "method"])


def test_the_table_of_the_readme_is_that_of_the_contest(results: pd.DataFrame) -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line[:2] == "| "]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    head = next(n for n, row in enumerate(rows) if row == ["method", *NETWORKS])
    methods = load_benchmark("contest").methods
    shown = [row for row in rows[head + 1 :] if row[0].strip("`") in methods]
    assert len(shown) > 5
    for row in shown:
        for network, cell in zip(NETWORKS.values(), row[1:], strict=True):
            key = ("cycled", 0, network, row[0].strip("`"))
            found = (
                error_cell(results.loc[key].dropna().to_dict()) if key in results.index else "–"
            )
            assert cell == found, key


def test_the_summary_is_that_of_the_published_rows(results: pd.DataFrame) -> None:
    rows = pd.read_parquet(CONTEST / ROWS).astype({"value": "float64"})
    again = pd.DataFrame(summary(load_benchmark("contest"), rows))
    again = again.set_index(["kind", "lead_hours", "network", "method"])
    columns = [name for name in results.columns if "ranks" not in name]
    pd.testing.assert_frame_equal(again[columns], results[columns], check_dtype=False)


def test_published_cases_are_whole_and_of_the_contest() -> None:
    planned = {case.name: case for case in cases(load_benchmark("contest"))}
    published = pd.read_parquet(CONTEST / CASES).set_index("case")
    for name, analyses in published["analyses"].items():
        assert analyses >= planned[str(name)].steps
    assert all(re.fullmatch("[0-9a-f]{64}", code) for code in published["code"])
