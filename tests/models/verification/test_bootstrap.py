import numpy as np
import pytest

from models.verification.bootstrap import block_means, interval


def test_independent_values_give_the_standard_error_of_the_mean() -> None:
    x = np.random.default_rng(0).standard_normal(400)
    means = block_means(x[None], block=1)[0]
    assert means.mean() == pytest.approx(x.mean(), abs=0.005)
    assert means.std() == pytest.approx(x.std() / 20, rel=0.05)
    low, high = interval(means, 0.95)
    assert (high - low) / 2 == pytest.approx(1.96 * x.std() / 20, rel=0.06)


def test_blocks_see_the_correlation_of_a_series() -> None:
    random = np.random.default_rng(1)
    x = np.zeros(4000)
    for k in range(1, len(x)):
        x[k] = 0.8 * x[k - 1] + random.standard_normal()
    # of the mean of an AR(1) series: (1 + φ)/(1 − φ) = 9 times the variance of independent ones
    expected = np.sqrt(9 * x.var() / len(x))
    assert block_means(x[None], block=100)[0].std() == pytest.approx(expected, rel=0.2)
    assert block_means(x[None], block=1)[0].std() < 0.5 * expected


def test_series_drawn_together_keep_their_difference() -> None:
    x = np.random.default_rng(2).standard_normal(300)
    one, two = block_means(np.stack([x, x + 3.0]), block=20)
    np.testing.assert_allclose(two - one, 3.0)
