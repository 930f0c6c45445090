"""Departures of one cycle by source and variable of the observations: counts and sums.

Sums add up over cycles, so means of many cycles are exact. The expected mean square of O-B is the
mean of σ_o² + σ_b², the diagonal of R + H B Hᵀ, with the σ_b that the check of the observations
assumed (Desroziers et al. 2005, https://doi.org/10.1256/qj.05.108).
"""

import numpy as np
import pandas as pd

from tasks.report_observations import column

__all__ = ["KEYS", "SUMS", "departure_sums", "statistics"]

KEYS = ["source", "variable"]
SUMS = ["total", "used", "b", "bb", "a", "aa", "expected"]


def departure_sums(feedback: pd.DataFrame) -> pd.DataFrame:
    """Return counts and sums by source and variable [SI].

    Args:
        feedback: Every observation of a cycle with `used`, `o_minus_b` and `o_minus_a`.
    """
    used = feedback["used"].to_numpy(bool)
    b, a, sigma_b, sigma_o = (
        column(feedback, name, used)
        for name in ("o_minus_b", "o_minus_a", "background_error", "error")
    )
    values = {
        "total": np.ones(len(feedback)), "used": used, "b": b, "bb": b**2, "a": a, "aa": a**2,
        "expected": sigma_o**2 + sigma_b**2,
    }  # fmt: skip
    frame = pd.DataFrame({n: np.nan_to_num(np.asarray(v, float)) for n, v in values.items()})
    keys = [feedback[key].to_numpy() for key in KEYS]
    sums = frame.groupby(keys, sort=False).sum()
    sums.index.names = KEYS
    return sums


def statistics(sums: pd.DataFrame) -> pd.DataFrame:
    """Return bias and RMS of O-B, the RMS that was expected, and the RMS of O-A [SI]."""
    used = sums["used"].where(sums["used"] > 0)
    return pd.DataFrame(
        {
            "used": sums["used"],
            "rejected": sums["total"] - sums["used"],
            "bias": sums["b"] / used,
            "rms": np.sqrt(sums["bb"] / used),
            "expected": np.sqrt((sums["expected"] / used).where(sums["expected"] > 0)),
            "rms_a": np.sqrt(sums["aa"] / used),
        }
    )
