"""Random generators keyed by (experiment seed, cycle time, purpose, member).

The seed of each generator is the SHA-256 of its key, so a resumed run draws the same numbers as
an uninterrupted one, and no two purposes share a stream whatever order they run in.
"""

import hashlib

import numpy as np
import pandas as pd
import torch

__all__ = ["numpy_generator", "torch_generator"]


def torch_generator(
    seed: int, cycle_time: pd.Timestamp | None, purpose: str, member: int = 0
) -> torch.Generator:
    """Return a CPU generator for one purpose.

    Args:
        seed: Seed of the experiment.
        cycle_time: Cycle time, or None for what the whole experiment shares.
        purpose: What the numbers are for, such as `network`.
        member: Member of the ensemble.
    """
    return torch.Generator().manual_seed(key(seed, cycle_time, purpose, member) % 2**63)


def numpy_generator(
    seed: int, cycle_time: pd.Timestamp | None, purpose: str, member: int = 0
) -> np.random.Generator:
    """Return the NumPy generator for one purpose; arguments as for `torch_generator`."""
    return np.random.default_rng(key(seed, cycle_time, purpose, member))


def key(seed: int, cycle_time: pd.Timestamp | None, purpose: str, member: int) -> int:
    """Return the key as an integer of 256 bits."""
    time = "" if cycle_time is None else cycle_time.strftime("%Y%m%dT%H%M%S")
    text = "\0".join((str(seed), time, purpose, str(member)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
