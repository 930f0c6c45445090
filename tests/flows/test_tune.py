import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml

from configs.benchmark import Search
from tasks.tuning import choose

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]


def search_file(tiny: "Tiny", folder: Path, **changes: object) -> Path:
    document: dict[str, Any] = {
        "name": "small",
        "base": str(tiny.config),
        "method": {"kind": "l3dvar"},
        "space": {"anchor_scale": [0.01, 1.0]},
        "networks": {"columns": {"kind": "columns", "fraction": 0.2}},
        "cycles": 3,
        "spin_up": 1,
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(document | changes))
    return path


def search(**space: tuple[float, ...]) -> Search:
    return Search(
        name="s",
        method={"kind": "free"},
        networks={"n": {"kind": "columns"}},
        space=space,
        passes=2,
    )


def test_the_search_finds_the_minimum_one_setting_after_the_other() -> None:
    tried: list[dict[str, float]] = []

    def evaluate(choices: Sequence[dict[str, float]]) -> list[dict[str, float]]:
        tried.extend(choices)
        pairs = [(c.get("a", 0) - 2, c.get("b", 0) - 5) for c in choices]
        return [{"n": 1 + a**2 + b**2 + 0.5 * a * b} for a, b in pairs]

    rows = list(choose(search(a=(1.0, 2.0, 3.0), b=(4.0, 5.0)), evaluate))
    best = [row["settings"] for row in rows if row["best"]][-1]
    assert best == {"a": 2.0, "b": 5.0}
    keys = [json.dumps(choice, sort_keys=True) for choice in tried]
    assert len(keys) == len(set(keys))  # nothing is tried twice


def test_a_choice_that_blows_up_is_never_the_best() -> None:
    evaluate = lambda choices: [{"n": float("inf") if c["a"] == 1.0 else 2.0} for c in choices]
    rows = list(choose(search(a=(1.0, 2.0)), evaluate))
    assert [row["best"] for row in rows] == [False, True]


def test_tune_writes_all_that_was_tried(tiny: "Tiny", losda: Losda, tmp_path: Path) -> None:
    path, out = search_file(tiny, tmp_path), tmp_path / "out"
    code, text, _ = losda("tune", path, "--out", out, "--workers", 0, "--json")
    document, table = json.loads(text), pd.read_csv(out / "small.csv")
    assert code == 0 and len(document["rows"]) == len(table) == 2
    row = table.loc[table["score"].idxmin()]
    assert document["best"] == {"anchor_scale": row["anchor_scale"]}
    assert row["columns"] == pytest.approx(row["score"])


def test_ensembles_can_be_judged_by_their_crps(tiny: "Tiny", losda: Losda, tmp_path: Path) -> None:
    scores = {}
    for metric in ("mse", "crps"):
        path = search_file(tiny, tmp_path, method={"kind": "l3dvar", "members": 3}, metric=metric)
        code, _, _ = losda("tune", path, "--out", tmp_path / metric, "--workers", 0, "--json")
        scores[metric] = pd.read_csv(tmp_path / metric / "small.csv")["score"]
        assert code == 0
    assert (scores["crps"] != scores["mse"]).all()
    path = search_file(tiny, tmp_path, metric="crps")
    code, out, err = losda("tune", path, "--out", tmp_path / "none")
    assert (code, out) == (2, "")
    assert "metric: crps; allowed is mse, or a method with members" in err


def test_all_settings_are_searched_with_one_api_of_our_own(
    tiny: "Tiny", environment: dict[str, str], tmp_path: Path
) -> None:
    space = {"anchor_scale": [0.5, 1.0], "representativeness": [0.0, 0.3]}
    path, out = search_file(tiny, tmp_path, space=space), tmp_path / "out"
    command = ["tune", str(path), "--out", str(out), "--workers", "0"]
    program = [sys.executable, "-c", "from flows.cli import app; app()"]
    done = subprocess.run(
        [*program, *command], env=environment, check=True, stderr=subprocess.PIPE, text=True
    )
    assert "Error logging" not in done.stderr
    assert len(pd.read_csv(out / "small.csv")) == 4


def test_a_setting_that_does_not_exist_is_one_line(
    tiny: "Tiny", losda: Losda, tmp_path: Path
) -> None:
    path = search_file(tiny, tmp_path, space={"stepz": [1, 2]})
    code, out, err = losda("tune", path, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("losda: method.stepz: unknown key (value 1.0)")
    assert not (tmp_path / "out").exists()
