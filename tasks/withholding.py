"""Withheld observations in a cycle: set aside at the ingest, and judged like those that are used.

Nothing of them reaches the analysis: neither their values nor what they say of their neighbors. They
pass the checks in a second round in which they stand beside the others, so a gross error that
would not have been used does not judge the analysis either.
"""

from collections.abc import Callable

import pandas as pd

from configs import Config
from models.observations.quality.reasons import Reason
from models.observations.quality.withholding import withheld, withhold

__all__ = ["judged_aside", "opened", "set_aside"]

KEPT = ("", Reason.THINNED, Reason.MERGED)
"""What the second round says of a withheld observation that is as good as a used one."""


def set_aside(table: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return a screened table with the reason of those that the configuration withholds."""
    own = config.observations.withhold
    return table if own is None else withhold(table, own.parts, own.part, config.seed)


def opened(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with what is withheld as used."""
    rows = withheld(table)
    return table.assign(used=table["used"] | rows, reason=table["reason"].mask(rows, ""))


def judged_aside(
    judge: Callable[[pd.DataFrame], pd.DataFrame], table: pd.DataFrame
) -> pd.DataFrame:
    """Return a table that was judged, with what is withheld judged apart.

    Args:
        judge: The checks.
        table: Used, withheld and rejected rows.
    """
    found, rows = judge(table), withheld(table)
    if not rows.any():
        return found
    reason = judge(opened(table))["reason"]
    bad = rows & ~reason.isin(KEPT).to_numpy(bool)
    return found.assign(reason=found["reason"].mask(bad, reason))
