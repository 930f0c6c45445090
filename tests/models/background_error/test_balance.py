import pytest
import torch

from models.background_error.balance import Balance

COUPLING = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)


def samples() -> torch.Tensor:
    """Fields ψ, humidity, t: at each of three latitudes t follows ψ differently."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, 3, 4, generator=generator, dtype=torch.float64)
    x[:, 2] += COUPLING[:, None] * x[:, 0]
    return x


@pytest.fixture
def balance() -> Balance:
    balance = Balance(3, [0], [2])
    x = samples()
    balance.fit(torch.einsum("bfjk,bgjk->jkfg", x, x), ridge=0.0)
    return balance


def test_the_regression_is_found_at_each_latitude(balance: Balance) -> None:
    found = balance.regression[:, 0, 0].double()
    torch.testing.assert_close(found, COUPLING, atol=0.02, rtol=0)


def test_the_unbalanced_part_is_uncorrelated_with_the_streamfunction(balance: Balance) -> None:
    x = samples()
    p = balance.inverse(x)
    assert (p[:, 2] * p[:, 0]).mean((0, 2)).abs().max() < 1e-6
    assert torch.equal(p[:, :2], x[:, :2])
    moment = torch.einsum("bfjk,bgjk->jkfg", x, x)
    unbalanced = torch.einsum("bfjk,bgjk->jkfg", p, p)
    torch.testing.assert_close(balance.unbalanced(moment), unbalanced)


def test_the_inverse_and_the_adjoint(balance: Balance) -> None:
    x, y = samples()[:2], samples()[2:4]
    torch.testing.assert_close(balance(balance.inverse(x)), x)
    torch.testing.assert_close((balance(x) * y).sum(), (x * balance.adjoint(y)).sum())


def test_without_a_streamfunction_nothing_is_balanced() -> None:
    balance, x = Balance(3, [], []), samples()[:2]
    moment = torch.einsum("bfjk,bgjk->jkfg", x, x)
    balance.fit(moment)
    assert torch.equal(balance(x), x) and torch.equal(balance.adjoint(x), x)
    torch.testing.assert_close(balance.unbalanced(moment), moment)
