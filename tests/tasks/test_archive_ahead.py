"""States that are read ahead of their use, by cycles and by a training."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from models.training.losses import numpy_from
from models.training.objective import Batch, Objective
from models.training.processes import ALONE, Processes
from models.training.trainer import Trainer, TrainingSettings
from models.training.trajectories import Trajectories
from tasks.archive_states import ArchiveStates
from tasks.read_ahead import ReadAhead
from tasks.reference_gridded import ZarrReference
from tasks.workshop import Workshop
from tests.small_archive import HOURS, TIMES, VARIABLES, Archive, archive_in


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_in(tmp_path)


def test_states_read_ahead_are_the_states_and_only_some_are_kept(archive: Archive) -> None:
    plain = ZarrReference(archive(), VARIABLES)
    ahead = ReadAhead(plain, HOURS, budget=8 * plain.state_bytes)
    assert ahead.block == 2
    for time in [*TIMES, TIMES[0], TIMES[5]]:
        assert torch.equal(ahead.state(time), plain.state(time))
    assert len(ahead._blocks) <= 4


def test_a_bad_state_ahead_does_not_spoil_those_before(archive: Archive) -> None:
    def broken(ds: xr.Dataset) -> xr.Dataset:
        ds["2m_temperature"].values[1, 0, 0] = np.nan
        return ds

    ahead = ReadAhead(ZarrReference(archive(broken), VARIABLES), HOURS)
    assert torch.isfinite(ahead.state(TIMES[0])).all()
    with pytest.raises(ValueError, match="2020-02-28 06:00:00"):
        ahead.state(TIMES[1])


def test_batches_of_an_archive_are_its_states_in_any_order(archive: Archive) -> None:
    reference = ZarrReference(archive(), VARIABLES)
    lazy, whole = ArchiveStates(reference, TIMES), reference.states(list(TIMES)).numpy()
    pairs = [(5, 0), (1, 0), (5, 0), (7, 0)]
    lazy.expect(pairs)
    np.testing.assert_array_equal(lazy.batch(pairs), whole[[5, 1, 5, 7]])
    np.testing.assert_array_equal(lazy[3, 0], whole[3])
    assert lazy.shape == (8, 1, *reference.spec.shape)


class Mean(Objective):
    """One number, which learns the mean of the states, from batches of 2."""

    def __init__(self, trajectories: Trajectories) -> None:
        super().__init__(2)
        self.trajectories, self.value = trajectories, torch.nn.Parameter(torch.zeros(()))

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        return (self.trajectories.x(*self.trajectories.draw(2, numpy_from(generator))),)

    def forward(self, batch: Batch) -> torch.Tensor:
        return (self.value - batch[0][:, 3].mean() / 280).square()


def training(
    reference: ZarrReference, folder: Path, times: pd.DatetimeIndex = TIMES
) -> tuple[Mean, ArchiveStates]:
    """Train, keeping every second iteration."""
    lazy = ArchiveStates(reference, times)
    module = Mean(Trajectories(lazy, (times[0],), HOURS))
    settings = TrainingSettings(iterations=8, warm_up=1, ahead=1)
    trainer = Trainer(module, module, settings)
    Workshop(folder).train("mean", trainer, lambda _: None, every=2)
    return module, lazy


def test_batches_are_read_while_the_one_before_is_used(archive: Archive, tmp_path: Path) -> None:
    names: list[str] = []

    class Watched(ZarrReference):
        def states(self, times: Sequence[pd.Timestamp]) -> torch.Tensor:
            names.append(threading.current_thread().name)
            return super().states(times)

    training(Watched(archive(), VARIABLES), tmp_path / "work")
    assert len(names) == 8
    assert all(name.startswith("prefetch") for name in names)


def test_a_training_goes_on_where_a_missing_chunk_stopped_it(
    archive: Archive, tmp_path: Path
) -> None:
    expected = training(ZarrReference(archive(), VARIABLES), tmp_path / "whole")[0].value
    address = archive(name="broken.zarr", chunk=1)
    chunk = Path(address) / "2m_temperature" / "5.0.0"
    chunk.rename(tmp_path / "kept")
    with pytest.raises(ValueError, match="is missing; the copy is incomplete"):
        training(ZarrReference(address, VARIABLES), tmp_path / "work")
    assert (tmp_path / "work" / "mean.partial.safetensors").exists()
    (tmp_path / "kept").rename(chunk)
    found = training(ZarrReference(address, VARIABLES), tmp_path / "work")[0].value
    assert torch.equal(found, expected)
