import numpy as np
import pytest
import torch

from models.coarse_columns import CoarseColumns
from models.grid import LatLonGrid
from models.observations.positions import unit_vectors

GLOBAL = LatLonGrid.gaussian(16, 32)
REGION = LatLonGrid(
    tuple(np.linspace(60.0, 30.0, 12).tolist()), tuple(np.linspace(-10.0, 20.0, 14).tolist())
)


def smooth(grid: LatLonGrid) -> torch.Tensor:
    """A smooth function on the sphere, in the shape of weights of one member."""
    axes = (torch.tensor(axis, dtype=torch.float64) for axis in (grid.latitude, grid.longitude))
    n = unit_vectors(*torch.meshgrid(*axes, indexing="ij")).flatten(0, 1)
    return (1 + n @ torch.tensor([0.5, -0.7, 1.0]).double())[:, None, None]


@pytest.mark.parametrize("grid", [GLOBAL, REGION])
@pytest.mark.parametrize("step", [2, 4])
def test_smooth_weights_are_interpolated_everywhere(grid: LatLonGrid, step: int) -> None:
    coarse, weights = CoarseColumns.every(step, grid), smooth(grid)
    everything = torch.arange(len(weights))
    found = coarse.interpolate(weights[coarse.columns], everything)
    spacing = np.radians(step * np.diff(grid.longitude)[0])
    # Bilinear interpolation errs by at most h²/8 |f''| in each direction, with |f''| < 1.4.
    assert (found - weights).abs().max() < 1.4 * spacing**2 / 4
    assert torch.equal(found[coarse.columns], weights[coarse.columns])


def test_a_constant_is_kept_across_the_poles() -> None:
    coarse = CoarseColumns.every(2, GLOBAL)
    weights = torch.full((len(coarse.columns), 3, 3), 0.7)
    torch.testing.assert_close(
        coarse.interpolate(weights, torch.arange(512)), torch.full((512, 3, 3), 0.7)
    )


def test_a_quarter_of_the_columns_has_weights() -> None:
    assert len(CoarseColumns.every(2, GLOBAL).columns) == 9 * 16


@pytest.mark.parametrize("step", [3, 32])
def test_a_step_that_does_not_close_the_circle_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="periodic grid has 32 columns"):
        CoarseColumns.every(step, GLOBAL)
