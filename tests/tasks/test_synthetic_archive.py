import numpy as np
import pandas as pd
import pytest
import torch

from configs import load
from models.world.nature import FORECAST, NATURE_PHYSICS, moist_model, rest_state
from tasks.reference_gridded import ZarrReference
from tasks.synthetic_archive import regular_grid, synthetic_states, write_archive

TIMES = pd.date_range("2005-01-01", periods=3, freq="6h")


class Rest:
    """An atmosphere at rest instead of a nature run."""

    def states(self, times: list[pd.Timestamp]) -> torch.Tensor:
        model = moist_model(FORECAST, NATURE_PHYSICS)
        return model.to_grid(rest_state(model, len(times)))


def test_a_written_archive_is_read_by_the_preset_and_is_an_atmosphere(root: str) -> None:
    variables, grid = load("era5").reference.model_dump()["variables"], regular_grid(16, 32)
    entries = load("era5").reference.variables  # type: ignore[union-attr]
    blocks = synthetic_states(Rest(), list(TIMES), entries, grid)  # type: ignore[arg-type]
    size = write_archive(f"{root}/era5.zarr", blocks, TIMES, entries, grid)
    assert size == 4 * 69 * 16 * 32 * 3 and len(variables) == 9
    reference = ZarrReference(f"{root}/era5.zarr", entries)
    reference.check(TIMES[0], TIMES[-1], pd.Timedelta(hours=6))
    assert reference.spec.grid == grid and reference.chunk == 1
    x = reference.state(TIMES[1])
    z = x[reference.spec.slices["z"]].mean((1, 2)).numpy()
    assert (np.diff(z) < 0).all() and z[7] == pytest.approx(55_000, rel=0.05)
