"""What a training works with: its directory, its device, its processes, the pairs it learns from."""

import json
from pathlib import Path

import pytest
import torch

from configs.training import Stopping, Train
from models.training.losses import LatentPairs
from tasks.training_processes import join, own_device
from tasks.training_steps import held_out
from tasks.workshop import Workshop


def on(device: str) -> Train:
    return Train.model_validate({"computing": {"device": device}})


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_each_process_takes_the_device_of_its_number(
    two_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(own_device(on("auto"))) == "cuda:0" and str(own_device(on("cuda:1"))) == "cuda:1"
    assert str(own_device(on("cpu"))) == "cpu"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(own_device(on("auto"))) == str(own_device(on("cuda"))) == "cuda:1"
    with pytest.raises(ValueError, match=r"'cuda:0'; of several processes each takes a device"):
        own_device(on("cuda:0"))


def test_devices_that_are_not_there_are_refused(
    two_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = r"^train\.computing\.device: "
    with pytest.raises(ValueError, match=setting + "'cuda:2'; allowed here: auto, cpu, cuda:0, "):
        own_device(on("cuda:2"))
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(ValueError, match=setting + "'cuda:3'; allowed here: auto"):
        own_device(on("auto"))


def test_without_torchrun_a_training_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join(Train()).count == 1


def test_a_directory_goes_on_with_other_speed_and_not_with_other_weights(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    older = {k: v for k, v in Train().identity().items() if k not in ("computing", "stopping")}
    (tmp_path / "training.json").write_text(json.dumps(older))
    workshop.claim(Train())
    faster = {"device": "cpu", "compile": True, "recompute": True, "ahead": 4, "save_every": 7}
    workshop.claim(Train.model_validate({"computing": faster, "threads": 1, "in_memory": 0}))
    for change in ({"computing": {"precision": "bfloat16"}}, {"stopping": {"patience": 2}}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} is .* there and .* here"):
            workshop.claim(Train.model_validate(change))


def test_what_is_no_description_of_a_training_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text('{"seed": "many"}')
    with pytest.raises(
        ValueError, match=r"training\.json: seed: .*; it says what is trained here"
    ):
        Workshop(tmp_path).claim(Train())


def numbered(count: int) -> LatentPairs:
    z, number = torch.zeros(count, 1, 1, 1), torch.arange(float(count))
    return LatentPairs(z, z, z, number, number[:, None])


def test_the_last_of_the_newest_pairs_are_held_out() -> None:
    learned, kept = held_out(Stopping(patience=3, held_out=0.25), numbered(12), 8)
    assert kept.level.tolist() == [6, 7]
    assert learned.level.tolist() == [0, 1, 2, 3, 4, 5, 8, 9, 10, 11]


def test_without_early_stopping_all_pairs_are_learned_from() -> None:
    learned, _ = held_out(Stopping(), numbered(12), 8)
    assert learned.level.tolist() == list(range(12))
