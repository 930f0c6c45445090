from itertools import product

import numpy as np
import pandas as pd
import torch

from models.randomness import numpy_generator, torch_generator

TIMES = (None, pd.Timestamp("2004-01-01T00"), pd.Timestamp("2004-01-01T06"))
KEYS = list(product((0, 1, 10), TIMES, ("analysis", "network"), (0, 1)))


def test_equal_keys_give_equal_numbers() -> None:
    for key in KEYS:
        first, second = (torch.randn(4, generator=torch_generator(*key)) for _ in range(2))
        assert torch.equal(first, second)
        assert np.array_equal(*(numpy_generator(*key).normal(size=4) for _ in range(2)))


def test_any_part_of_the_key_changes_the_numbers() -> None:
    draws = {tuple(torch.randn(2, generator=torch_generator(*key)).tolist()) for key in KEYS}
    assert len(draws) == len(KEYS)
    assert len({numpy_generator(*key).normal() for key in KEYS}) == len(KEYS)


def test_parts_of_the_key_do_not_run_together() -> None:
    assert numpy_generator(1, None, "a", 11).normal() != numpy_generator(1, None, "a1", 1).normal()
    assert numpy_generator(11, None, "a").normal() != numpy_generator(1, None, "1a").normal()


def test_streams_of_different_keys_are_uncorrelated() -> None:
    draws = [numpy_generator(0, None, "noise", member).normal(size=4000) for member in range(6)]
    off_diagonal = np.corrcoef(draws)[~np.eye(6, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(4000)
