"""The expected error as a map: what observations show where they are, and the unobserved elsewhere."""

import math

import pandas as pd
import pytest
import torch
from torch import Tensor

from models.grid import LatLonGrid
from models.local_error import LocalError, on_grid
from models.normalization import Statistics
from models.observations.anomalies import AnomalyObservations, of_anomalies
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator

GRID, LATENT, V = LatLonGrid.gaussian(32, 64), (16, 32), 2.5
CELLS = 32 * 64


@pytest.fixture(scope="module")
def local() -> LocalError:
    return LocalError.of(GRID, LATENT, V, 800.0)


def observed(cells: Tensor, error: float = 0.1) -> AnomalyObservations:
    """Return observations of cells, whose 24 h background error is 1."""
    one = torch.ones(1, len(cells))

    def gather(values: Tensor) -> Tensor:
        return torch.zeros(len(values), CELLS).index_add(1, cells, values).reshape(-1, 32, 64)

    return AnomalyObservations(0 * one, error * one, one, one, lambda a: a, gather)


def errors(local: LocalError, cells: Tensor, innovation: Tensor, error: float = 0.1) -> Tensor:
    level, relief = local(observed(cells, error), innovation)
    return (level.exp()[:, None, None, None] * relief)[0, 0]


def shown(error: float, count: int) -> float:
    """Return the expected error where each cell has so many observations that show an error."""
    n = count / 1.01**2
    return math.sqrt((n * error**2 + V**2) / (n + 1))


def test_what_nobody_observes_has_the_error_of_the_unobserved(local: LocalError) -> None:
    none = torch.zeros(0, dtype=torch.long)
    level, relief = local(observed(none), torch.zeros(1, 0))
    assert float(level) == pytest.approx(math.log(V))
    torch.testing.assert_close(relief, torch.ones(1, 1, *LATENT))


def test_each_hemisphere_has_the_error_that_its_observations_show(local: LocalError) -> None:
    generator = torch.Generator().manual_seed(1)
    cells = torch.arange(CELLS).repeat(40)
    size = torch.where(cells < CELLS // 2, 2.0, 0.5)
    noise = torch.randn(1, len(cells), generator=generator)
    found = errors(local, cells, torch.hypot(size, torch.tensor(0.1)) * noise)
    assert float(found[:5].mean()) == pytest.approx(shown(2.0, 160), rel=0.03)
    assert float(found[-5:].mean()) == pytest.approx(shown(0.5, 160), rel=0.03)


def test_observations_of_one_hemisphere_say_nothing_of_the_other(local: LocalError) -> None:
    cells = torch.arange(CELLS // 2, CELLS).repeat(40)
    found = errors(local, cells, math.hypot(0.5, 0.1) * torch.ones(1, len(cells)))
    torch.testing.assert_close(found[:5], torch.full((5, 32), V), rtol=1e-2, atol=0)
    north = torch.full((5, 32), shown(0.5, 160))
    torch.testing.assert_close(found[-5:], north, rtol=1e-2, atol=0)


def test_one_observation_that_is_hardly_better_than_nothing_changes_hardly_anything(
    local: LocalError,
) -> None:
    cells = torch.tensor([16 * 64])
    found = errors(local, cells, torch.full((1, 1), 30.0), error=20.0)
    torch.testing.assert_close(found, torch.full(LATENT, V), rtol=1e-3, atol=0)


def test_the_map_has_the_geometric_mean_one(local: LocalError) -> None:
    cells = torch.arange(0, CELLS, 7).repeat(5)
    _, relief = local(observed(cells), torch.linspace(0, 3, len(cells))[None])
    area = GRID.cell_area_weights().reshape(16, 2).sum(1)
    mean = (relief[0, 0].log().mean(1) * area).sum() / area.sum()
    assert float(mean) == pytest.approx(0.0, abs=1e-5)


def test_values_are_added_up_in_the_cells_that_they_are_of() -> None:
    shape = (2, 32, 64)
    index = torch.tensor([[5, 6], [CELLS + 5, CELLS + 70]])
    operator = InterpolationOperator(index, torch.tensor([[0.5, 1.5], [-1.0, 3.0]]), shape)
    statistics = Statistics(torch.zeros(1, *shape), torch.ones(2), torch.ones(2))
    observations = Observations(torch.zeros(2), torch.ones(2), operator)
    times = [pd.Timestamp("2005-01-01")]
    found = of_anomalies(observations, statistics, GRID.cell_area_weights(), times)
    assert found.gather is not None
    cells = found.gather(torch.tensor([[4.0, 8.0]])).flatten()
    expected = torch.zeros(CELLS)
    expected[[5, 6, 70]] = torch.tensor([1.0 + 2.0, 3.0, 6.0])
    torch.testing.assert_close(cells, expected)


def test_places_that_are_not_known_are_refused(local: LocalError) -> None:
    one = torch.ones(1, 3)
    with pytest.raises(ValueError, match="places of these observations are not known"):
        local(AnomalyObservations(one, one, one, one, lambda a: a), one)


def test_a_map_on_a_finer_grid_has_no_seam() -> None:
    wave = torch.cos(2 * torch.pi * (torch.arange(32) + 0.5) / 32).expand(1, 1, 16, 32)
    fine = on_grid(wave, (32, 96), wraps=True)
    expected = torch.cos(2 * torch.pi * (torch.arange(96) + 0.5) / 96).expand(1, 1, 32, 96)
    torch.testing.assert_close(fine, expected, rtol=0, atol=0.01)


def test_the_sides_of_a_region_do_not_meet() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    fine = on_grid(ramp, (8, 16), wraps=False)
    assert float(fine[..., 0].max()) == 0.0 and float(fine[..., -1].min()) == 7.0
    assert (fine.diff(dim=-1) >= 0).all()
    region = LatLonGrid(tuple(50.0 - 2.5 * k for k in range(4)), tuple(2.5 * k for k in range(8)))
    assert not LocalError.of(region, (4, 8), V, 800.0).wraps
