import torch

from tasks.forecast import more_members


def test_more_members_than_lagged_forecasts_are_all_different() -> None:
    x = torch.randn(20, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    members = more_members(x, 60)
    assert torch.equal(members[:20], x) and len(members) == 60
    distance = torch.cdist(members.flatten(1), members.flatten(1)) + 1e9 * torch.eye(60)
    assert distance.min() > 1.0
    ratio = members[20:].var(0).mean() / x.var(0).mean()
    assert 1.0 < ratio < 2.0
    assert torch.linalg.matrix_rank(members.flatten(1)) == 20


def test_a_single_lagged_forecast_stays_what_it_is() -> None:
    x = torch.randn(1, 2, 4, 8)
    assert torch.equal(more_members(x, 1), x)
