import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from tasks.experiment import STAGES

Losda = Callable[..., tuple[int, str, str]]


def files_of(root: Path, *folders: str) -> dict[str, bytes]:
    found = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def archive(root: Path) -> dict[str, bytes]:
    return files_of(root, "analysis.zarr", "background.zarr", "feedback", "scores")


def test_a_finished_run_is_not_run_again(run: Losda, copy: Path) -> None:
    before = files_of(copy, ".")
    assert run(copy)[0] == 0
    after = files_of(copy, ".")
    assert before.pop("monitor.html") and after.pop("monitor.html")  # it says when it was written
    assert after == before


def test_fewer_cycles_first_and_more_later_give_the_same(
    run: Losda, finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    assert run(root, "--cycles", 2)[0] == 0
    ledger = files_of(root, "ledger")
    assert run(root, "--cycles", 3)[0] == 0
    assert archive(root) == archive(finished)
    assert ledger.items() <= files_of(root, "ledger").items()


@pytest.mark.parametrize("stage", ["forecast", "analysis"])
def test_a_lost_commit_is_made_again_with_the_same_result(
    run: Losda, copy: Path, stage: str
) -> None:
    before, cycle = archive(copy), "20010103T12"
    for name in STAGES[STAGES.index(stage) :]:
        (copy / "ledger" / cycle / f"{name}.json").unlink()
    for folder in ("scores", "feedback"):
        (copy / folder / f"{cycle}.parquet").unlink()
    assert run(copy)[0] == 0
    assert archive(copy) == before
    attempts = {name: len(list((copy / "attempts" / cycle / name).iterdir())) for name in STAGES}
    assert attempts == {n: 1 + (STAGES.index(n) >= STAGES.index(stage)) for n in STAGES}


def test_another_configuration_is_another_experiment(run: Losda, copy: Path) -> None:
    before = files_of(copy, ".")
    code, _, err = run(copy, "--seed", 7)
    assert code == 2
    assert "seed" in err and "7" in err and err.count("\n") == 1
    assert files_of(copy, ".") == before


def test_a_commit_made_by_other_code_is_shown_as_stale_and_refused(
    run: Losda, losda: Losda, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(copy, ".")
    monkeypatch.setattr("tasks.plan.code_digest", lambda: "another")
    code, out, _ = losda("status", copy, "--json")
    assert code == 0
    assert json.loads(out)["stale"] == 12
    code, _, err = run(copy, "--cycles", 4)
    assert code == 2
    assert "stale" in err and "forecast" in err and err.count("\n") == 1
    assert files_of(copy, ".") == before


def test_status_shows_what_is_committed(losda: Losda, copy: Path) -> None:
    (copy / "ledger" / "20010103T06" / "verification.json").unlink()
    code, out, _ = losda("status", copy, "--json")
    status = json.loads(out)
    assert code == 0
    assert (status["complete"], status["committed"], status["stale"]) == (2, 11, 0)
    assert status["cycles"][1]["verification"] == "open"
    code, out, _ = losda("status", copy)
    assert code == 0
    assert "2001-01-03T06" in out


def test_an_ensemble_is_archived_and_scored(run: Losda, tmp_path: Path) -> None:
    root = tmp_path / "e"
    code, _, err = run(root, "--cycles", 2, "--set", "method.members=3")
    assert code == 0, err
    ds = xr.open_zarr(root / "analysis.zarr", consolidated=False)
    assert ds.sizes["member"] == 3
    assert float(ds["t"].std("member").mean()) > 0
    scores = pd.read_parquet(root / "scores" / "20010103T06.parquet")
    assert {"crps", "spread", "spread_skill"} <= set(scores["metric"])


def test_free_analyses_are_the_background(run: Losda, tmp_path: Path) -> None:
    code, out, _ = run(tmp_path / "e", "--method", "free", "--cycles", 2, "--json")
    assert code == 0
    for cycle in json.loads(out)["cycles"]:
        assert cycle["analysis"] == cycle["background"] == cycle["free"]
