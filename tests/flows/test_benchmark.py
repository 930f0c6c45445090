import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]


def contest(tiny: "Tiny", folder: Path, cycles: int = 3, **changes: object) -> Path:
    document: dict[str, Any] = {
        "name": "small",
        "base": str(tiny.config),
        "reference": "losda",
        "methods": {"losda": {"kind": "losda"}, "free": {"kind": "free"}},
        "networks": {"columns": {"kind": "columns", "fraction": 0.2}},
        "groups": [
            {"methods": ["losda", "free"], "networks": ["columns"]},
            {"kind": "uncycled", "methods": ["losda"], "networks": ["columns"]},
        ],
        "cycled": {"cycles": cycles, "spin_up": 1},
        "uncycled": {"leads": ["PT12H"], "dates": 2, "every": "PT6H"},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(document | changes, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def done(tiny: "Tiny", api: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark of three cycles."""
    from configs.loading import load_benchmark
    from flows.benchmark import run_benchmark

    folder = tmp_path_factory.mktemp("benchmark")
    run_benchmark(load_benchmark(str(contest(tiny, folder))), str(folder / "out"), workers=0)
    return folder / "out"


def errors(directory: Path, method: str) -> pd.Series:
    rows = pd.read_parquet(directory / "benchmark.parquet")
    chosen = (rows["kind"] == "cycled") & (rows["method"] == method)
    chosen &= (rows["source"] == "analysis") & (rows["metric"] == "mse")
    return rows[chosen].set_index("cycle_time")["value"]


def test_a_case_has_the_errors_of_a_run_with_the_same_configuration(
    done: Path, finished: Path
) -> None:
    run = json.loads((finished.parent / "document.json").read_text())
    for cycle, value in zip(run["cycles"], errors(done, "losda"), strict=True):
        assert value == pytest.approx(cycle["analysis_wmse"], rel=1e-5)


def test_the_summary_compares_with_the_reference_method(done: Path) -> None:
    document = json.loads((done / "benchmark.json").read_text())
    cycled = {r["method"]: r for r in document["results"] if r["kind"] == "cycled"}
    assert cycled["losda"]["ratio"] == 1
    assert cycled["free"]["ratio"] == pytest.approx(
        cycled["free"]["analysis"] / cycled["losda"]["analysis"]
    )
    assert cycled["free"]["analysis"] == pytest.approx(errors(done, "free").iloc[1:].mean())
    assert cycled["free"]["analysis"] == pytest.approx(cycled["free"]["background"])
    assert all(row["seconds"] > 0 for row in document["results"])
    page = (done / "benchmark.html").read_text()
    assert "columns" in page and "<svg" in page and "http://" not in page


def test_a_benchmark_goes_on_where_it_was_stopped(
    done: Path, tiny: "Tiny", api: object, tmp_path: Path
) -> None:
    from configs.loading import load_benchmark
    from flows.benchmark import run_benchmark

    five = load_benchmark(str(contest(tiny, tmp_path, cycles=5)))
    run_benchmark(five, str(tmp_path / "whole"), workers=0, only=["losda"])
    three = tmp_path / "three"
    shutil.copytree(done, three)
    before = (done / "cases" / "cycled-losda-columns-0" / "scores-00003.parquet").read_bytes()
    run_benchmark(five, str(three), workers=1, only=["losda"])
    again = three / "cases" / "cycled-losda-columns-0" / "scores-00003.parquet"
    assert again.read_bytes() == before
    pd.testing.assert_series_equal(
        errors(three, "losda"), errors(tmp_path / "whole", "losda"), check_exact=True
    )


def test_published_rows_are_not_run_again_and_give_the_same_results(
    done: Path, tiny: "Tiny", losda: Losda, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("benchmark.parquet", "cases.parquet"):
        shutil.copy(done / name, out)
    document = yaml.safe_load(contest(tiny, tmp_path).read_text())
    document["methods"]["losda-1-step"] = {"kind": "losda", "steps": 1}
    document["groups"][0]["methods"] += ["losda-1-step"]
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    code, text, _ = losda("benchmark", path, "--out", out, "--workers", 0, "--json")
    assert code == 0
    ran = {file.parent.name for file in out.glob("cases/*/state-*")}
    assert ran == {"cycled-losda-1-step-columns-0"}
    before = json.loads((done / "benchmark.json").read_text())["results"]
    after = [row for row in json.loads(text)["results"] if row["method"] != "losda-1-step"]
    pd.testing.assert_frame_equal(pd.DataFrame(after)[[*before[0]]], pd.DataFrame(before))
    assert json.loads(text)["about"].startswith("4 of 4 cases, made by code ")


def test_a_whole_case_keeps_its_rows_when_the_code_changes_and_half_a_case_is_refused(
    tiny: "Tiny", tmp_path: Path
) -> None:
    from configs.loading import load_benchmark
    from tasks.benchmark_case import claim, keep, read_case
    from tasks.benchmark_plan import cases

    case = cases(load_benchmark(str(contest(tiny, tmp_path))))[0]
    folder = tmp_path / "case"
    assert claim(case, folder) == 0
    keep(folder, 2, pd.DataFrame({"value": [0.0]}), {})
    keep(folder, 3, pd.DataFrame({"value": [1.0]}), {})
    made = folder / "case.json"
    made.write_text(made.read_text().replace(read_case(folder, 3)[0], "other"))
    assert claim(case, folder) == 3
    with pytest.raises(ValueError, match=r"case\.json: made with another code; use another --out"):
        claim(case.model_copy(update={"steps": 4}), folder)


def test_rows_behind_the_last_state_are_made_again_and_not_counted_twice(
    tiny: "Tiny", tmp_path: Path
) -> None:
    from configs.loading import load_benchmark
    from tasks.benchmark_case import case_rows, claim, keep
    from tasks.benchmark_plan import cases

    case = cases(load_benchmark(str(contest(tiny, tmp_path, cycles=9))))[0]
    folder = tmp_path / "case"
    claim(case, folder)
    keep(folder, 4, pd.DataFrame({"value": [1.0]}), {})
    (folder / "scores-00007.parquet").write_bytes((folder / "scores-00004.parquet").read_bytes())
    assert claim(case, folder) == 4
    assert case_rows(case, str(folder))["value"].tolist() == [1.0]


def test_a_setting_that_came_later_does_not_make_another_case(
    tiny: "Tiny", tmp_path: Path
) -> None:
    from configs.loading import load_benchmark
    from tasks.benchmark_case import claim
    from tasks.benchmark_plan import cases

    case = cases(load_benchmark(str(contest(tiny, tmp_path))))[0]
    claim(case, tmp_path / "case")
    made = tmp_path / "case" / "case.json"
    document = json.loads(made.read_text())
    assert document["config"]["operations"].pop("attempts") > 0
    made.write_text(json.dumps(document))
    assert claim(case, tmp_path / "case") == 0
    document["config"]["observations"]["noise"] = 0.7
    made.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="made with another config"):
        claim(case, tmp_path / "case")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"groups": [{"methods": ["kalman"], "networks": ["columns"]}]},
            "losda: groups.0.methods: 'kalman'; allowed: losda, free",
        ),
        (
            {"methods": {"losda": {"kind": "losda", "stepz": 3}}},
            "losda: methods.losda.stepz: unknown key (value 3); allowed: kind, preset",
        ),
        ({"seeds": 2}, "losda: seeds: unknown key (value 2); allowed: name, base"),
    ],
)
def test_a_mistake_in_a_benchmark_is_one_line(
    tiny: "Tiny", losda: Losda, tmp_path: Path, changes: dict[str, object], line: str
) -> None:
    path = contest(tiny, tmp_path, **changes)
    code, out, err = losda("benchmark", path, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith(line) and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_configuration_is_refused_in_the_same_directory(
    done: Path, tiny: "Tiny", api: object, tmp_path: Path
) -> None:
    from configs.loading import load_benchmark
    from flows.benchmark import run_benchmark

    other = {"columns": {"kind": "columns", "fraction": 0.3}}
    changed = load_benchmark(str(contest(tiny, tmp_path, networks=other)))
    with pytest.raises(ValueError, match=r"made with another config; use another --out"):
        run_benchmark(changed, str(done), workers=0)


def test_the_cost_of_each_method_is_the_sum_of_its_stages_and_is_measured_once(
    tiny: "Tiny", losda: Losda, tmp_path: Path
) -> None:
    cost = {"network": "columns", "rounds": 2}
    path, out = contest(tiny, tmp_path, cost=cost), tmp_path / "out"
    command = ("benchmark", path, "--out", out, "--workers", 0, "--json")
    code, text, _ = losda(*command)
    assert code == 0
    rows = {row["method"]: row for row in json.loads(text)["cost"]["rows"]}
    stages = ("denoiser", "encoder", "decoder", "operator", "solver")
    for row in rows.values():
        assert sum(row[stage] for stage in stages) == pytest.approx(row["seconds"], rel=0.5)
        assert row["peak_memory"] >= 0
    assert all(rows["losda"][stage] > 0 for stage in stages)
    assert rows["free"]["decoder"] == rows["free"]["denoiser"] == 0
    assert "Cost of one analysis" in (out / "benchmark.html").read_text()
    written = (out / "cost.json").stat().st_mtime_ns
    assert losda(*command)[0] == 0
    assert (out / "cost.json").stat().st_mtime_ns == written


def test_a_network_of_the_cost_that_is_not_there_is_refused(
    tiny: "Tiny", losda: Losda, tmp_path: Path
) -> None:
    path = contest(tiny, tmp_path, cost={"network": "column"})
    code, _, err = losda("benchmark", path, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("losda: cost.network: 'column'; allowed: columns")
