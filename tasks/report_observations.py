"""Statistics of the departures O-B and O-A from the feedback on every observation.

Per cycle and variable only counts and sums are kept, so any number of cycles fits in memory and
means over several cycles are exact. chi2 is the mean of (O-B)^2 / (sigma_o^2 + sigma_b^2) over the
used observations: 1 where the assumed errors are right (Desroziers et al. 2005,
https://doi.org/10.1256/qj.05.108).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

SUMS = ["total", "used", "b", "bb", "a", "aa", "chi", "with_chi"]


@dataclass(frozen=True)
class Departures:
    """Sums by cycle time and variable, and counts of the rejected by variable and reason."""

    sums: pd.DataFrame
    rejected: pd.Series

    def through_time(self) -> pd.DataFrame:
        """Return the statistics by cycle time and variable."""
        return statistics(self.sums)

    def by_variable(self, since: pd.Timestamp | None) -> pd.DataFrame:
        """Return the statistics by variable of all cycles since a time."""
        times = self.sums.index.get_level_values("cycle_time")
        late = self.sums[times >= (since or pd.Timestamp.min)]
        return statistics(late.groupby(level="variable", sort=False).sum())


def statistics(sums: pd.DataFrame) -> pd.DataFrame:
    """Turn sums into counts, means, standard deviations and chi2."""
    used = sums["used"].where(sums["used"] > 0)
    means = {name: sums[name] / used for name in ("b", "a")}
    return pd.DataFrame(
        {
            "used": sums["used"],
            "rejected": sums["total"] - sums["used"],
            "o_minus_b_mean": means["b"],
            "o_minus_b_std": np.sqrt((sums["bb"] / used - means["b"] ** 2).clip(lower=0)),
            "o_minus_a_mean": means["a"],
            "o_minus_a_std": np.sqrt((sums["aa"] / used - means["a"] ** 2).clip(lower=0)),
            "chi2": sums["chi"] / sums["with_chi"].where(sums["with_chi"] > 0),
        }
    )


def departures_of(tables: Iterable[tuple[pd.Timestamp, pd.DataFrame]]) -> Departures:
    """Reduce the feedback of cycles, one after the other."""
    sums, rejected = {}, []
    for time, table in tables:
        sums[time] = sums_of(table)
        reasons = table.loc[~table["used"].astype(bool), ["variable", "reason"]]
        rejected.append(reasons.value_counts())
    if not sums:
        index = pd.MultiIndex.from_arrays([[], []], names=["cycle_time", "variable"])
        return Departures(pd.DataFrame(columns=SUMS, index=index, dtype=float), pd.Series())
    counts = pd.concat(rejected).groupby(level=["variable", "reason"]).sum()
    return Departures(pd.concat(sums, names=["cycle_time", "variable"]), counts)


def sums_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return counts and sums of one cycle by variable."""
    used = table["used"].to_numpy(bool)
    b, a = (column(table, name, used) for name in ("o_minus_b", "o_minus_a"))
    sigma_b = column(table, "background_error", used)
    chi = b**2 / (table["error"].to_numpy(float) ** 2 + sigma_b**2)
    values = {
        "total": np.ones(len(table)), "used": used, "b": b, "bb": b**2, "a": a, "aa": a**2,
        "chi": chi, "with_chi": np.isfinite(chi),
    }  # fmt: skip
    frame = pd.DataFrame({name: np.nan_to_num(np.asarray(v, float)) for name, v in values.items()})
    return frame.groupby(table["variable"].to_numpy(), sort=False).sum()


def column(table: pd.DataFrame, name: str, used: "np.typing.NDArray[np.bool_]") -> np.ndarray:
    """Return a column of the used rows, NaN in the others or where there is no such column."""
    if name not in table:
        return np.full(len(table), np.nan)
    return np.where(used, table[name].to_numpy(float), np.nan)
