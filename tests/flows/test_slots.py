"""A tiny experiment whose observations have two times, 6 h before and after the cycle time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from models.forecast import ValidTime
from models.observations.operator import InterpolationOperator
from models.state import StateSpec
from tasks import archive
from tasks.archive import read_fields, read_table
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
SIX_HOURS = pd.Timedelta(hours=6)
CYCLES = ("20010103T00", "20010104T00", "20010105T00")
SETTINGS = (
    *("step=P1D", "first_guess.lead=P1D", "observations.slots=2"),
    *(f"verification.forecast_{name}=P1D" for name in ("lead", "step", "every")),
)


class Drift:
    """Carries everything around the globe, one column in 3 h."""

    def step(self, x: Tensor, valid_time: ValidTime, lead: pd.Timedelta) -> Tensor:
        return torch.roll(x, round(lead / (SIX_HOURS / 2)), -1)


@pytest.fixture
def run(
    losda: Losda, tiny: "Tiny", monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr("tasks.components.Persistence", Drift)

    def start(root: Path, *settings: str, cycles: int = 3) -> tuple[int, str, str]:
        options = [text for setting in (*SETTINGS, *settings) for text in ("--set", setting)]
        return losda(
            "run", tiny.config, "--out", root, "--no-report", "--cycles", cycles, *options
        )

    return start


def attempt(root: Path, cycle: str, stage: str) -> Path:
    (folder,) = (root / "attempts" / cycle / stage).iterdir()
    return folder


def offsets(feedback: pd.DataFrame, cycle: str) -> pd.Series:
    return (feedback["time"] - pd.to_datetime(cycle, format="%Y%m%dT%H")) / SIX_HOURS


def equivalents(file: Path, rows: pd.DataFrame, spec: StateSpec) -> np.ndarray:
    return InterpolationOperator.from_table(rows, spec)(read_fields(str(file)))[0].numpy()


def spec_of(root: Path) -> StateSpec:
    from models.grid import LatLonGrid
    from models.state import Variable

    ds = archive.open_archive(str(root), "background")
    t = Variable("t", "air_temperature", "K", (500.0, 850.0))
    msl = Variable("msl", "air_pressure_at_mean_sea_level", "Pa")
    return StateSpec((t, msl), LatLonGrid.from_dataset(ds), "pressure")


@pytest.mark.parametrize("own", [True, False])
def test_departures_are_those_of_the_background_at_the_observations_own_time(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, own: bool
) -> None:
    root = tmp_path / "e"
    code, _, err = run(root, f"observations.at_own_time={own}")
    assert code == 0, err
    spec = spec_of(root)
    for cycle in CYCLES:
        folder = attempt(root, cycle, "forecast")
        feedback = read_table(str(root / "feedback" / f"{cycle}.parquet"))
        assert set(offsets(feedback, cycle)) == {-1, 1}
        assert feedback["used"].all()
        for time, rows in feedback.groupby("time"):
            assert isinstance(time, pd.Timestamp)
            name = f"background-{time:%Y%m%dT%H}" if own else "background"
            o_minus_b = rows["observation"] - equivalents(folder / name, rows, spec)
            np.testing.assert_allclose(rows["o_minus_b"], o_minus_b, atol=1e-2)
        names = {path.name for path in folder.iterdir()}
        assert len(names) == (4 if own else 2) and {"background", "free"} <= names


@pytest.mark.parametrize("lost", ["forecast", "analysis"])
def test_a_lost_commit_is_made_again_with_the_same_result(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, lost: str
) -> None:
    root, stages = tmp_path / "e", ("forecast", "observations", "analysis", "verification")
    assert run(root, cycles=2)[0] == 0
    before = archive_of(root)
    remove(root, CYCLES[1], stages[stages.index(lost) :])
    assert run(root, cycles=2)[0] == 0
    assert archive_of(root) == before


def remove(root: Path, cycle: str, stages: Sequence[str]) -> None:
    for stage in stages:
        (root / "ledger" / cycle / f"{stage}.json").unlink()
    for folder in ("scores", "feedback"):
        (root / folder / f"{cycle}.parquet").unlink()


def test_an_experiment_is_bound_to_its_slots(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert run(tmp_path / "e", cycles=1)[0] == 0
    code, _, err = run(tmp_path / "e", "observations.slots=1", cycles=1)
    assert code == 2
    assert "slots" in err and err.count("\n") == 1


def test_a_swath_and_an_ensemble_run(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    network = "observations.network={kind: swath, width: 2000, fraction: 0.3}"
    code, _, err = run(tmp_path / "e", network, "method.members=2", cycles=1)
    assert code == 0, err
    folder = attempt(tmp_path / "e", CYCLES[0], "forecast")
    files = ["background", "background-20010102T18", "background-20010103T06"]
    assert [len(read_fields(str(folder / name))) for name in files] == [2, 2, 2]
    feedback = read_table(str(tmp_path / "e" / "feedback" / f"{CYCLES[0]}.parquet"))
    assert set(feedback["variable"]) == {"t"}
    assert set(offsets(feedback, CYCLES[0])) == {-1, 1}
