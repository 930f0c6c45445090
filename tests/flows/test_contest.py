"""The ordering of the methods on real components, in a small version of the contest."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from configs.loading import load_benchmark, load_search, presets
from tasks.benchmark_plan import cases

TUNING = Path(__file__).parents[2] / "docs" / "tuning"
Losda = Callable[..., tuple[int, str, str]]


@pytest.mark.cycle
def test_losda_beats_the_variational_methods_on_single_backgrounds(
    losda: Losda, tmp_path: Path
) -> None:
    code, out, _ = losda("benchmark", "small", "--out", tmp_path, "--workers", 0, "--json")
    assert code == 0
    error = {row["method"]: row["analysis"] for row in json.loads(out)["results"]}
    assert error["losda"] < 0.9 * error["l3dvar-full"]
    assert error["l3dvar-full"] < error["l3dvar-published"]
    assert error["losda"] < 0.9 * error["3dvar"]
    assert max(error["l3dvar-published"], error["3dvar"]) < error["free"]


@pytest.mark.parametrize("name", presets("configs.benchmarks"))
def test_every_benchmark_of_the_package_has_cases(name: str) -> None:
    benchmark = load_benchmark(name)
    names = [case.name for case in cases(benchmark)]
    assert len(names) == len(set(names)) > 0
    assert benchmark.reference in benchmark.methods


@pytest.mark.parametrize("name", presets("configs.tuning"))
def test_every_search_of_the_package_is_of_the_validation_period(name: str) -> None:
    search = load_search(name)
    assert search.name == name
    assert "reference.segment=validation" in search.settings


@pytest.mark.parametrize("path", sorted(TUNING.glob("*.csv")), ids=lambda path: path.stem)
def test_the_contest_has_the_settings_that_the_search_chose(path: Path) -> None:
    table = pd.read_csv(path)
    assert table["score"].idxmin() == table.index[table["best"]][-1]
    search, contest = load_search(path.stem), load_benchmark("contest")
    chosen = table.loc[table["score"].idxmin(), list(search.space)].dropna().to_dict()
    method = search.method.model_dump(exclude_none=True) | chosen
    found = contest.methods[path.stem].model_dump(exclude_none=True)
    assert found == type(search.method).model_validate(method).model_dump(exclude_none=True)
