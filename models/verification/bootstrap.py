"""Uncertainty of means over a time series and over stations: bootstraps of what is correlated.

Errors of cycles that follow each other are correlated, so whole blocks of them are drawn again,
with replacement, round the end of the series (circular block bootstrap). Two series that are drawn
with the same blocks give the uncertainty of their difference and of the ratio of their means. The
errors of one station are correlated too, so of observations whole stations are drawn again.

References:
    | Politis & Romano (1992), A circular block-resampling procedure for stationary data,
    | in: Exploring the limits of bootstrap, Wiley
    | Davison & Hinkley (1997), Bootstrap methods and their application, section 3.8,
    | doi 10.1017/CBO9780511802843 (groups)
    | Wilks (1997), Resampling hypothesis tests for autocorrelated fields,
    | doi 10.1175/1520-0442(1997)010<0065:RHTFAF>2.0.CO;2
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import NDArray

__all__ = ["block_means", "group_rms", "interval"]

Values = NDArray[np.float64]


def block_means(
    series: Float[ndarray, "series time"], block: int, draws: int = 4000, seed: int = 0
) -> Float[ndarray, "series draw"]:
    """Return the means of series that were drawn again, all with the same blocks.

    Args:
        series: Values in the order of time.
        block: Length of a block.
        draws: Number of draws.
        seed: Seed of the draws.
    """
    count = series.shape[1]
    starts = np.random.default_rng(seed).integers(0, count, (draws, -(-count // block)))
    length = np.arange(block)
    index = (starts[:, :, None] + length).reshape(draws, -1)[:, :count] % count
    return np.asarray(series[:, index].mean(-1))


def group_rms(
    squares: Float[ndarray, "series group"],
    counts: Float[ndarray, "group"],
    draws: int = 4000,
    seed: int = 0,
) -> Float[ndarray, "series draw"]:
    """Return root mean squares of series whose groups were drawn again, all with the same groups.

    Args:
        squares: Sum of squares of each group.
        counts: Number of values of each group.
        draws: Number of draws.
        seed: Seed of the draws.
    """
    groups = len(counts)
    index = np.random.default_rng(seed).integers(0, groups, (draws, groups))
    return np.asarray(np.sqrt(squares[:, index].sum(-1) / counts[index].sum(-1)))


def interval(means: Float[ndarray, "draw"], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of drawn means that holds `level` of them."""
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
