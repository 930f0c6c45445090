import torch

from models.ensemble_transform import ensemble_transform, observation_transform
from models.inflation import centered

MEMBERS, OBS = 7, 12


def problem(seed: int, count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Perturbations of equivalents and innovations of some columns, in units of the error."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randn(MEMBERS, count * OBS, generator=g, dtype=torch.float64)
    d = torch.randn(count, OBS, generator=g, dtype=torch.float64)
    return centered(y)[1].reshape(MEMBERS, count, OBS).movedim(0, 1), 2 * d


def transform(y: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return ensemble_transform(y @ y.mT, (y @ d[..., None])[..., 0])


def test_mean_and_covariance_are_those_of_the_kalman_filter() -> None:
    y, d = problem(0)
    x = torch.randn(5, 3, MEMBERS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x - x.mean(-1, keepdim=True)
    x_a = x + x @ transform(y, d)
    hph = y.mT @ y / (MEMBERS - 1) + torch.eye(OBS, dtype=torch.float64)
    gain = x @ y / (MEMBERS - 1) @ torch.linalg.inv(hph)
    torch.testing.assert_close(x_a.mean(-1), (gain @ d[..., None])[..., 0])
    x_a = x_a - x_a.mean(-1, keepdim=True)
    expected = x @ x.mT / (MEMBERS - 1) - gain @ (y.mT @ x.mT) / (MEMBERS - 1)
    torch.testing.assert_close(x_a @ x_a.mT / (MEMBERS - 1), expected)


def test_the_transform_of_perturbations_is_symmetric_and_keeps_the_mean() -> None:
    y, d = problem(2)
    weights = transform(y, 0 * d)
    torch.testing.assert_close(weights, weights.mT)
    assert weights.sum(-1).abs().max() < 1e-12


def test_without_observations_nothing_changes() -> None:
    y, d = problem(3)
    assert not transform(0 * y, d).any()


def test_single_precision_keeps_the_mean_with_very_good_observations() -> None:
    y, d = problem(4)
    y, d = 300 * y, 300 * d
    weights = transform(y.float(), 0 * d.float())
    assert weights.sum(-1).abs().max() < 1e-5
    torch.testing.assert_close(weights.double(), transform(y, 0 * d), atol=1e-4, rtol=0)


def test_the_space_of_the_observations_gives_the_same_transform() -> None:
    y, d = problem(5)
    for few in (y[..., :4], y):
        by_observations = observation_transform(few.mT, d[:, : few.shape[-1]])
        torch.testing.assert_close(by_observations, transform(few, d[:, : few.shape[-1]]))
