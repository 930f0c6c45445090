import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from models.state import embedded_spec
from models.world.nature import clock, nature_model, rest_state
from tasks.reference import Reference
from tasks.reference_nature import NatureReference
from tasks.registry import packaged_registry
from tasks.store import names

START = pd.Timestamp("2004-12-30T00")
HOUR = pd.Timedelta(hours=1)
BLOCK = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Settings:
    truncation: int = 31
    time_step: float = 10_800.0


class Stand:
    """A model whose state depends on the whole history and on the clock; no weather."""

    def __init__(self) -> None:
        self.settings, self.steps = Settings(), 0

    def step(self, state: Tensor, seconds: float) -> Tensor:
        self.steps += 1
        return 3.9 * state * (1 - state) * (1 - 1e-9 * seconds)

    def to_grid(self, state: Tensor, other: object) -> Tensor:
        spec = embedded_spec()
        x = torch.full((1, *spec.shape), 1e-3)
        x[:, spec.slices["t"]] = 250 + 10 * state.mean()
        x[:, spec.slices["sp"]] = 1e5
        return x


def initial() -> Tensor:
    return torch.linspace(0.1, 0.9, 5)


def reference(
    root: str, model: object | None = None, step: pd.Timedelta = 6 * HOUR
) -> NatureReference:
    return NatureReference(model or Stand(), initial(), START, root, BLOCK, step)  # type: ignore[arg-type]


def history(root: str, hours: int) -> Tensor:
    run = reference(root)
    return torch.stack([run.state(START + k * HOUR) for k in range(0, hours, 6)])


def test_states_are_those_of_the_uninterrupted_model(tmp_path: Path) -> None:
    model, state, expected = Stand(), initial(), []
    for k in range(12):
        expected.append(model.to_grid(state, None)[0])
        for j in range(2):
            state = model.step(state, clock(START + 6 * k * HOUR) + j * 10_800)
    assert torch.equal(history(str(tmp_path), 72), torch.stack(expected))


def test_a_run_that_goes_on_equals_one_that_was_not_interrupted(tmp_path: Path) -> None:
    for hours in (6, 30, 54, 72):
        part = history(str(tmp_path / "parts"), hours)
    assert torch.equal(part, history(str(tmp_path / "whole"), 72))


def test_committed_blocks_are_read_and_not_made_again(root: str) -> None:
    reference(root).state(START + 30 * HOUR)
    model = Stand()
    again = reference(root, model)
    again.state(START + 30 * HOUR)
    assert model.steps == 0
    again.state(START + 54 * HOUR)
    assert model.steps == 8
    markers = [name for name in names(f"{root}/blocks") if name.endswith(".json")]
    assert markers == ["00000.json", "00001.json", "00002.json"]


def test_the_loser_of_the_commit_takes_the_winners_block(tmp_path: Path) -> None:
    root = str(tmp_path)
    late, state = reference(root), initial()
    late_block = late._integrate(0, state)
    reference(root).state(START)
    other = {**late_block, "state": late_block["state"] + 1}
    assert torch.equal(late._commit(0, other), late_block["state"])


def test_an_altered_block_is_refused(tmp_path: Path) -> None:
    root = str(tmp_path)
    reference(root).state(START)
    (path,) = (tmp_path / "blocks").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{path.name}: altered"):
        reference(root).state(START)


def test_another_nature_run_at_the_address_is_refused(tmp_path: Path) -> None:
    reference(str(tmp_path))
    with pytest.raises(ValueError, match="another nature run, start is"):
        NatureReference(Stand(), initial(), START + BLOCK, str(tmp_path), BLOCK)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another nature run, initial_state is"):
        NatureReference(Stand(), initial() + 0.01, START, str(tmp_path), BLOCK)  # type: ignore[arg-type]


@pytest.mark.parametrize("offset", [-6, 1, 25])
def test_times_it_does_not_have_are_refused(tmp_path: Path, offset: int) -> None:
    run = reference(str(tmp_path))
    assert isinstance(run, Reference)
    with pytest.raises(ValueError, match="allowed: 2004-12-30 00:00:00 and every 6 h"):
        run.state(START + offset * HOUR)
    with pytest.raises(ValueError, match="no state at"):
        run.check(START + offset * HOUR, START + 48 * HOUR, 6 * HOUR)
    run.check(START, START + 4000 * 6 * HOUR, 6 * HOUR)


def test_a_finer_run_has_the_same_states_every_6_h_and_the_models_own_between(
    tmp_path: Path,
) -> None:
    fine = reference(str(tmp_path / "fine"), step=3 * HOUR)
    states = torch.stack([fine.state(START + k * HOUR) for k in range(0, 72, 3)])
    assert torch.equal(states[::2], history(str(tmp_path / "coarse"), 72))
    model, state = Stand(), initial()
    for k in range(3):
        assert torch.equal(states[k], model.to_grid(state, None)[0])
        state = model.step(state, clock(START + 6 * (k // 2) * HOUR) + k % 2 * 10_800)


def test_a_finer_run_that_goes_on_equals_one_that_was_not_interrupted(tmp_path: Path) -> None:
    times = [START + k * HOUR for k in range(0, 72, 3)]
    for count in (1, 9, 17, 24):
        part = reference(str(tmp_path / "parts"), step=3 * HOUR).states(times[:count])
    whole = reference(str(tmp_path / "whole"), step=3 * HOUR).states(times)
    assert torch.equal(part, whole)


def test_runs_with_other_steps_do_not_share_an_address(tmp_path: Path) -> None:
    for first, second in ((3, 6), (6, 3)):
        root = str(tmp_path / f"{first}")
        reference(root, step=first * HOUR)
        with pytest.raises(ValueError, match="another nature run, "):
            reference(root, step=second * HOUR)


@pytest.mark.parametrize("hours", [0, 4, 12])
def test_states_are_whole_parts_of_6_h_apart(tmp_path: Path, hours: int) -> None:
    with pytest.raises(ValueError, match="allowed are whole parts of 6 h"):
        reference(str(tmp_path), step=hours * HOUR)


def test_times_between_the_models_steps_need_a_model_with_shorter_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no multiple of the step of 10800 s"):
        reference(str(tmp_path), step=2 * HOUR).state(START)


def test_a_run_that_blows_up_is_not_committed(tmp_path: Path) -> None:
    class Unstable(Stand):
        def to_grid(self, state: Tensor, other: object) -> Tensor:
            return super().to_grid(state, other) * (float("inf") if self.steps > 2 else 1)

    run = reference(str(tmp_path), Unstable())
    with pytest.raises(ValueError, match="2004-12-30 12:00:00"):
        run.state(START)
    assert not names(str(tmp_path / "blocks"))


CODE = """
import sys, torch, pandas as pd
sys.path.insert(0, "tests/tasks")
from test_reference_nature import reference, START, HOUR, Stand
import time
class Slow(Stand):
    def step(self, state, seconds):
        time.sleep(0.01)
        return super().step(state, seconds)
run = reference(sys.argv[1], Slow())
for k in range(0, 240, 6):
    run.state(START + k * HOUR)
"""


def test_a_killed_run_resumes_bit_for_bit(
    tmp_path: Path, run_python: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    root = tmp_path / "killed"
    process = run_python(CODE, str(root))
    marker = root / "blocks" / "00001.json"
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert marker.exists()
    assert torch.equal(history(str(root), 240), history(str(tmp_path / "whole"), 240))
    digests = [
        json.loads(path.read_text())["sha256"] for path in sorted((root / "blocks").glob("*.json"))
    ]
    whole = sorted((tmp_path / "whole" / "blocks").glob("*.json"))
    assert digests == [json.loads(path.read_text())["sha256"] for path in whole]


def test_the_real_model_runs_and_resumes(tmp_path: Path) -> None:
    model = nature_model()
    with torch.no_grad():
        state = rest_state(model, 1, seed=3)
        block = pd.Timedelta(hours=6)
        one = NatureReference(model, state, START, str(tmp_path / "one"), block)
        x = one.states([START, START + block])
        again = NatureReference(model, state, START, str(tmp_path / "one"), block)
        assert torch.equal(again.state(START + block), x[1])
    t = embedded_spec().slices["t"]
    assert 180 < x[1][t].min() and x[1][t].max() < 330
    assert (x[1] - x[0])[t].abs().max() > 0.01


def test_states_between_the_steps_of_the_real_model_lie_on_its_trajectory(tmp_path: Path) -> None:
    model, block = nature_model(), pd.Timedelta(hours=6)
    state = packaged_registry().load("world", "embedded").tensors["test"]
    run = NatureReference(
        model, state, START, str(tmp_path), block, HOUR, lambda s: nature_model(time_step=s)
    )
    x, spec = run.states([START + k * HOUR for k in range(6)]).double(), embedded_spec()
    coarse = NatureReference(model, state, START, str(tmp_path / "coarse"), block, 3 * HOUR)
    assert torch.equal(coarse.state(START + 3 * HOUR).double(), x[3])
    bend, slope = x[2:] - 2 * x[1:-1] + x[:-2], (x[2:] - x[:-2]) / 2
    for name in ("u", "v", "t", "q"):
        part = spec.slices[name]
        roughness = bend[:, part].square().mean() / slope[:, part].square().mean()
        assert roughness < 0.08, name  # 10 minutes off make it 0.1, no branches 0.35
