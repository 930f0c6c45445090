"""The report on the embedded world, with runs that cost nothing."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tasks import world_report as module

PICTURES = ("zonal_means", "snapshots", "seasons", "error_growth")


def weather(count: int, seed: int) -> Iterator[np.ndarray]:
    """States of one run that look like an atmosphere in their size only."""
    generator = np.random.default_rng(seed)
    mean = np.append(np.repeat([5.0, 0.0, 260.0, 0.005], 8), 98_500.0)
    deviation = np.append(np.repeat([10.0, 8.0, 5.0, 0.001], 8), 800.0)
    for _ in range(count):
        noise = generator.normal(size=(1, 33, 32, 64))
        x = np.reshape(mean, (33, 1, 1)) + np.reshape(deviation, (33, 1, 1)) * noise
        yield x.astype(np.float32)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    def integrate(
        starts: Sequence[pd.Timestamp], seed: int, steps: int, step: pd.Timedelta
    ) -> Iterator[np.ndarray]:
        return weather(steps, seed)

    def twin_errors(
        nature: object, grid: object, x: torch.Tensor, seconds: torch.Tensor, generator: object
    ) -> Iterator[np.ndarray]:
        assert len(x) == len(seconds) == module.TWIN_CASES
        for day in range(100):
            yield np.full((len(x), 33), 1e-3 * 2.0**day)

    monkeypatch.setattr(module, "integrate", integrate)
    monkeypatch.setattr(module, "twin_errors", twin_errors)


@pytest.mark.usefixtures("cheap")
def test_report_has_numbers_pictures_and_progress(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    threads = torch.get_num_threads()
    numbers = module.world_report(
        tmp_path / "new" / "world",
        days=6,
        progress=lambda done, total: calls.append((done, total)),
    )
    folder = tmp_path / "new" / "world"
    assert json.loads((folder / "world.json").read_text()) == numbers
    assert numbers["largest zonal wind [m s-1]"] > 30
    assert all(np.isfinite(value) for value in numbers.values())
    assert {p.name for p in folder.iterdir()} == {"world.json", *(f"{n}.png" for n in PICTURES)}
    for name in PICTURES:
        pixels = np.asarray(Image.open(folder / f"{name}.png").convert("L"))
        assert min(pixels.shape) > 300
        assert pixels.std() > 10
    assert calls[0] == (0, 12)
    assert calls[-1] == (12, 12)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("cheap")
def test_report_is_the_same_again(tmp_path: Path) -> None:
    first = module.world_report(tmp_path / "a", days=4, seed=1)
    again = module.world_report(tmp_path / "b", days=4, seed=1)
    assert first == again
    for name in PICTURES:
        picture = f"{name}.png"
        assert (tmp_path / "a" / picture).read_bytes() == (tmp_path / "b" / picture).read_bytes()


def test_too_few_days_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="days: 3; allowed: 4 or more"):
        module.world_report(tmp_path / "short", days=3)
    assert not (tmp_path / "short").exists()
