"""The change that makes a state fit the observations."""

import torch

from models.guidance.repaint import fitting_change
from models.observations.operator import InterpolationOperator

SHAPE = (2, 3, 4)
SIZE = torch.tensor([0.5, 2.0])[:, None, None]


def state(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_observed_grid_values_are_replaced_and_no_others_change() -> None:
    a, index = state(), torch.tensor([1, 5, 13, 20])
    y = torch.arange(8.0).view(2, 4)
    change = fitting_change(lambda x: y - x.flatten(1)[:, index], a, SIZE)
    expected = a.flatten(1).clone()
    expected[:, index] = y
    torch.testing.assert_close((a + change).flatten(1), expected)


def test_interpolated_observations_change_the_points_around_them_least() -> None:
    index = torch.tensor([[0, 1, 4, 5], [1, 2, 5, 6], [12, 13, 0, 0]])
    weight = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.9, 0.1, 0.0, 0.0]])
    operator, a = InterpolationOperator(index, weight, SHAPE), state()
    y = torch.tensor([[1.0, -1.0, 3.0]]).expand(2, 3)
    change = fitting_change(lambda x: y - operator(x), a, SIZE)
    torch.testing.assert_close(operator(a + change), y, rtol=1e-3, atol=1e-3)
    g = operator(SIZE * torch.eye(24).view(24, *SHAPE)).T
    least = torch.linalg.pinv(g) @ (y - operator(a)).T
    torch.testing.assert_close(change, SIZE * least.T.view(2, *SHAPE), rtol=1e-3, atol=1e-3)


def test_observations_that_contradict_each_other_are_fitted_in_the_mean() -> None:
    a, index = torch.zeros(1, *SHAPE), torch.tensor([3, 3, 7])
    y = torch.tensor([[1.0, 2.0, 5.0]])
    change = fitting_change(lambda x: y - x.flatten(1)[:, index], a, SIZE).flatten()
    torch.testing.assert_close(change[[3, 7]], torch.tensor([1.5, 5.0]))
    assert torch.count_nonzero(change) == 2
