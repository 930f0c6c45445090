"""`losda train` on the 60 days of a real reanalysis, then a cycle with what it published."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from configs import load
from tasks.components import Components
from tasks.registry import Registry
from tasks.workshop import Workshop

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = REPOSITORY / "tests" / "data" / "era-interim-europe"
SOUNDINGS = REPOSITORY / "tests" / "data" / "soundings-2008-12-08"
SETTINGS = {
    "train.period.start": "2007-12-01T12:00",
    "train.period.end": "2008-01-05T12:00",
    "train.validation.start": "2008-01-06T12:00",
    "train.validation.end": "2008-01-29T12:00",
    "train.threads": 1,
    "train.judged_cycles": 10,
    "train.emulator.iterations": 5,
    "train.autoencoder.iterations": 10,
    "train.denoiser.iterations": 5,
    "train.denoiser.generations": 1,
    "train.denoiser.gaussian": 1,
    "train.model_error.iterations": 5,
    "train.model_error.forecasts": 4,
    "train.background_error.forecasts": 4,
    "train.denoiser.cycles": 5,
    "train.denoiser.streams": 2,
    "train.denoiser.forecasts": 4,
    "start": "2008-01-20T12:00",
    "cycles": 4,
    "spin_up": 1,
    "verification.forecast_lead": "P1D",
}


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")


def losda(
    command: str, folder: Path, *arguments: str, processes: int = 1, **environment: str
) -> subprocess.CompletedProcess[str]:
    changes = SETTINGS | {"reference.address": DATA, "registry": folder / "work" / "registry"}
    overrides = [f"--set={key}={value}" for key, value in changes.items()]
    program = "from flows.cli import app; app()"
    return subprocess.run(
        [
            *([sys.executable, *TORCHRUN] if processes > 1 else []),
            *(sys.executable, "-c", program, command, "era-interim-europe"),
            *overrides,
            *arguments,
        ],
        check=False,
        cwd=REPOSITORY,
        env=os.environ
        | {"PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1"}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    done = losda("train", folder, "--out", str(folder / "work"), "--json")
    assert done.returncode == 0, done.stderr
    (folder / "document.json").write_text(done.stdout)
    return folder


def test_all_components_are_published_with_their_parents(trained: Path) -> None:
    document = json.loads((trained / "document.json").read_text())
    assert set(document["components"]) == {
        "statistics", "emulator", "autoencoder", "background_error", "denoiser",
    }  # fmt: skip
    registry = Registry(str(trained / "work" / "registry"))
    prior = registry.load("denoiser", "era-interim-europe")
    assert prior.card.parents["autoencoder"] == document["components"]["autoencoder"]
    assert prior.card.training["period"]["end"].startswith("2008-01-05")
    assert set(document["scores"]["reconstruction"]) == {"msl", "z", "t", "all"}
    assert document["scores"]["reconstruction"]["all"] < 0.3
    assert prior.card.scores["settings"]["steps"] >= 1
    assert Path(document["curves"]).stat().st_size > 1000


def test_the_same_command_again_makes_nothing_anew(trained: Path) -> None:
    products = {p: p.stat().st_mtime_ns for p in (trained / "work").glob("*.safetensors")}
    again = losda("train", trained, "--out", str(trained / "work"), "--json")
    assert again.returncode == 0, again.stderr
    first = json.loads((trained / "document.json").read_text())
    assert json.loads(again.stdout)["components"] == first["components"]
    assert {p: p.stat().st_mtime_ns for p in products} == products


def test_what_does_not_depend_on_the_forecast_model_can_be_given(trained: Path) -> None:
    work, given = trained / "persistence", ("statistics", "autoencoder")
    options = ("--out", str(work), "--registry", str(work / "registry"), "--json")
    changes = ("--set=forecast_model.kind=persistence", f"--set=train.given={json.dumps(given)}")
    done = losda("train", trained, *options, *changes)
    assert done.returncode == 0, done.stderr
    first = json.loads((trained / "document.json").read_text())["components"]
    second = json.loads(done.stdout)["components"]
    assert {name: second[name] for name in given} == {name: first[name] for name in given}
    registry = Registry(str(work / "registry"))
    prior = registry.load("denoiser", "era-interim-europe").card
    assert prior.parents == {name: first[name] for name in given}
    assert second["denoiser"] != first["denoiser"]
    assert {entry.component for entry in registry.list()} == {"background_error", "denoiser"}


@pytest.mark.parametrize("method", ["losda", "3dvar"])
def test_the_published_components_cycle_and_beat_the_background(
    trained: Path, method: str
) -> None:
    out = str(trained / method)
    done = losda("run", trained, "--out", out, f"--method={method}", "--json")
    assert done.returncode == 0, done.stderr
    mean = json.loads(done.stdout)["mean"]
    assert mean["analysis"] < mean["background"]
    assert (Path(out) / "report.html").stat().st_size > 10_000


def crossvalidated(folder: Path, name: str, method: str, **changes: object) -> dict[str, Any]:
    """Cross-validate analyses of 24 h forecasts at the positions of the real soundings."""
    fixed = {
        "spin_up": 0,
        "background.kind": "reference",
        "background.lead": "P1D",
        "observations.source.kind": "files",
        "observations.source.address": json.dumps([str(SOUNDINGS / "temp.bufr")]),
    }
    overrides = [f"--set={key}={value}" for key, value in {**fixed, **changes}.items()]
    options = ("--out", str(folder / name), f"--method={method}", "--parts=5", "--json")
    done = losda("crossvalidate", folder, *overrides, *options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("method", ["losda", "3dvar"])
def test_real_soundings_bring_a_forecast_closer_to_the_analysis_of_their_hour(
    trained: Path, method: str
) -> None:
    """Of the soundings themselves nine are too few: docs/experiments.md."""
    day = {"reference.address": SOUNDINGS, "start": "2008-12-08T12:00", "cycles": 1}
    document = crossvalidated(trained, f"soundings-{method}", method, **day)
    counts = {row["variable"]: (row["count"], row["stations"]) for row in document["withheld"]}
    assert counts == {"z": (9, 9), "t": (9, 9)}
    for row in document["reference"]:  # also without those of one part
        assert row["analysis"] < row["background"], row
    whole = {row["variable"]: row for row in document["reference"] if row["experiments"] == "all"}
    assert all(whole[name]["analysis"] < 0.7 * whole[name]["background"] for name in ("z", "t"))


def test_analyses_are_closer_to_withheld_soundings_with_values_of_the_reference(
    trained: Path,
) -> None:
    simulated = {"observations.source.simulation": "{}", "cycles": 4}
    document = crossvalidated(trained, "simulated", "losda", **simulated)
    assert {row["variable"] for row in document["withheld"]} == {"z", "t"}
    for row in document["withheld"]:
        assert 30 < row["count"] <= 36 and row["stations"] == 9  # few are far from the background
        assert row["analysis"] < row["background"], row


def test_loaded_components_are_those_that_were_trained(trained: Path) -> None:
    changes = [f"reference.address={DATA}", f"registry={trained / 'work' / 'registry'}"]
    parts = Components(load("era-interim-europe", changes))
    reference = parts.reference(str(trained / "unused"))
    statistics = parts.statistics(reference.spec)
    kept = Workshop(trained / "work").tensors("statistics", dict)
    for name, value in statistics.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_overlapping_periods_are_refused(tmp_path: Path) -> None:
    change = "--set=train.validation.start=2008-01-02T12:00"
    done = losda("train", tmp_path, "--out", str(tmp_path / "work"), change)
    assert done.returncode == 2
    assert "train.validation: overlaps train.period; they must be disjoint" in done.stderr


def test_another_configuration_in_the_same_directory_is_refused(trained: Path) -> None:
    done = losda("train", trained, "--out", str(trained / "work"), "--set=train.seed=3")
    assert done.returncode == 2
    assert "seed is 0 there and 3 here" in done.stderr


def test_two_processes_of_torchrun_train_the_same_networks_and_one_of_them_writes(
    trained: Path, tmp_path: Path
) -> None:
    done = losda("train", tmp_path, "--out", str(tmp_path / "work"), "--json", processes=2)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)  # one process prints
    assert done.stderr.count("published to") == 1
    alone = json.loads((trained / "document.json").read_text())
    for part in ("all", "msl", "z", "t"):
        expected = alone["scores"]["reconstruction"][part]
        assert document["scores"]["reconstruction"][part] == pytest.approx(expected, rel=1e-3)
    for name in ("emulator", "autoencoder", "model-error", "denoiser-1"):
        one, two = (Workshop(f / "work").tensors(name, dict) for f in (trained, tmp_path))
        torch.testing.assert_close(two["loss_curve"], one["loss_curve"], rtol=2e-3, atol=0)
        # the first network has the same data to the last bit; the others to half precision
        if name == "emulator":
            assert len(one["loss_curve"]) == 5 and set(one) == set(two)
            for key, value in one.items():
                torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-6)


def test_the_card_tells_how_the_loss_fell(trained: Path) -> None:
    registry = Registry(str(trained / "work" / "registry"))
    loss = registry.load("autoencoder", "era-interim-europe").card.scores["loss"]
    assert loss["iterations"] == len(loss["training"]) == 10
    assert loss["training"][-1] < loss["training"][0]
    prior = registry.load("denoiser", "era-interim-europe").card.scores["loss"]
    assert set(prior) == {"model-error", "denoiser-1"}
    emulator = registry.load("emulator", "era-interim-europe").card.scores["loss"]
    assert emulator["best_iteration"] == emulator["validation"][0][0] == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device here")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    change = "--set=train.computing.device=cuda"
    done = losda("train", tmp_path, "--out", str(tmp_path / "work"), change)
    assert done.returncode == 2
    assert "train.computing.device: 'cuda:0'; allowed here: auto, cpu\n" in done.stderr


def test_processes_that_cannot_have_equal_parts_of_a_batch_are_refused(tmp_path: Path) -> None:
    arguments = ("train", tmp_path, "--out", str(tmp_path / "work"))
    done = losda(*arguments, RANK="0", WORLD_SIZE="3", LOCAL_RANK="0")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "train.autoencoder.batch: 32; must be a multiple of the 3 processes"
    )
