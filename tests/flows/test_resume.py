import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xarray as xr

from tasks import experiment

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]


def files_of(root: Path, *folders: str) -> dict[str, bytes]:
    found = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def archive(root: Path) -> dict[str, bytes]:
    return files_of(root, "analysis.zarr", "background.zarr", "feedback", "scores")


@pytest.fixture
def run(losda: Losda, tiny: "Tiny") -> Callable[..., tuple[int, str, str]]:
    def start(root: Path, *arguments: object) -> tuple[int, str, str]:
        return losda("run", tiny.config, "--out", root, "--no-report", *arguments)

    return start


def test_a_finished_run_is_not_run_again(run: Losda, tmp_path: Path) -> None:
    assert run(tmp_path / "e")[0] == 0
    before = files_of(tmp_path / "e", ".")
    code, out, _ = run(tmp_path / "e", "--json")
    assert code == 0
    assert files_of(tmp_path / "e", ".") == before
    assert len(json.loads(out)["cycles"]) == 3


def test_more_cycles_go_on_where_the_ledger_ends(run: Losda, tmp_path: Path) -> None:
    assert run(tmp_path / "two", "--cycles", 2)[0] == 0
    ledger = files_of(tmp_path / "two", "ledger")
    assert run(tmp_path / "two", "--cycles", 4)[0] == 0
    assert run(tmp_path / "one", "--cycles", 4)[0] == 0
    assert archive(tmp_path / "two") == archive(tmp_path / "one")
    assert ledger.items() <= files_of(tmp_path / "two", "ledger").items()


@pytest.mark.parametrize("stage", ["forecast", "observations", "analysis", "verification"])
def test_a_lost_commit_is_made_again_with_the_same_result(
    run: Losda, tmp_path: Path, stage: str
) -> None:
    root = tmp_path / "e"
    assert run(root)[0] == 0
    before = archive(root)
    last = experiment.STAGES.index(stage)
    for name in experiment.STAGES[last:]:
        (root / "ledger" / "20010103T12" / f"{name}.json").unlink()
    for folder in ("scores", "feedback"):
        (root / folder / "20010103T12.parquet").unlink()
    assert run(root)[0] == 0
    assert archive(root) == before
    assert len(list((root / "attempts" / "20010103T12" / stage).iterdir())) == 2
    assert len(list((root / "attempts" / "20010103T06" / stage).iterdir())) == 1


def test_another_configuration_is_another_experiment(run: Losda, tmp_path: Path) -> None:
    root = tmp_path / "e"
    assert run(root)[0] == 0
    before = files_of(root, ".")
    code, _, err = run(root, "--seed", 7)
    assert code == 2
    assert "seed" in err and "7" in err and err.count("\n") == 1
    assert files_of(root, ".") == before


def test_a_commit_made_by_other_code_is_stale_and_refused(
    run: Losda, losda: Losda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "e"
    assert run(root, "--cycles", 1)[0] == 0
    before = files_of(root, ".")
    monkeypatch.setattr("tasks.plan.code_digest", lambda: "another")
    code, out, _ = losda("status", root, "--json")
    assert code == 0
    assert json.loads(out)["stale"] == 4
    shutil.copytree(root, tmp_path / "copy")
    code, _, err = run(tmp_path / "copy", "--cycles", 2)
    assert code == 2
    assert "stale" in err and "forecast" in err and err.strip().count("\n") == 0
    assert files_of(tmp_path / "copy", ".") == before


def test_a_moved_directory_goes_on(run: Losda, tmp_path: Path) -> None:
    assert run(tmp_path / "there", "--cycles", 2)[0] == 0
    (tmp_path / "there").rename(tmp_path / "here")
    assert run(tmp_path / "here", "--cycles", 3)[0] == 0
    assert len(list((tmp_path / "here" / "scores").iterdir())) == 3


def test_status_shows_what_is_committed(run: Losda, losda: Losda, tmp_path: Path) -> None:
    root = tmp_path / "e"
    assert run(root, "--cycles", 2)[0] == 0
    (root / "ledger" / "20010103T06" / "verification.json").unlink()
    code, out, _ = losda("status", root, "--json")
    status = json.loads(out)
    assert code == 0
    assert (status["complete"], status["committed"], status["stale"]) == (1, 7, 0)
    assert status["cycles"][1]["verification"] == "open"
    code, out, _ = losda("status", root)
    assert code == 0
    assert "2001-01-03T06" in out


def test_an_ensemble_is_archived_and_scored(run: Losda, tmp_path: Path) -> None:
    root = tmp_path / "e"
    code, out, err = run(root, "--cycles", 2, "--set", "method.members=3", "--json")
    assert code == 0, err
    ds = xr.open_zarr(root / "analysis.zarr", consolidated=False)
    assert ds.sizes["member"] == 3
    spread = float(ds["t"].std("member").mean())
    assert spread > 0
    assert len(json.loads(out)["cycles"]) == 2


def test_free_analyses_are_the_background(run: Losda, tmp_path: Path) -> None:
    code, out, _ = run(tmp_path / "e", "--method", "free", "--json")
    assert code == 0
    for cycle in json.loads(out)["cycles"]:
        assert cycle["analysis"] == cycle["background"] == cycle["free"]


def test_losda_beats_its_background_with_an_untrained_prior(run: Losda, tmp_path: Path) -> None:
    mean = json.loads(run(tmp_path / "e", "--json")[1])["mean"]
    assert mean["analysis"] < mean["background"] < mean["free"]
