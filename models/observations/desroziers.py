"""Observation errors estimated from the departures of cycles.

With the departures O-B and O-A of an analysis whose weights are right,

    E[(O-A)(O-B)] = σ_o²,   E[(O-B - (O-A))(O-B)] = σ_b²   at the observations,

each for a report type, a variable and a layer of the atmosphere; means are taken off, so that a
bias is no error. With wrong weights the estimate is a step towards the right ones, and with errors
of the background that are correlated over longer distances than those of the observations it
converges when cycles are run with it again. Only counts and sums are kept, so any number of cycles
fits in memory.

References:
    | Desroziers, Berre, Chapnik & Poli (2005), Diagnosis of observation, background and
    | analysis-error statistics in observation space, doi 10.1256/qj.05.108
    | Ménard (2016), Error covariance estimation methods based on analysis residuals,
    | doi 10.1002/qj.2650 (when it converges, and to what)
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.error_table import TABLE_COLUMNS
from models.observations.errors import nominal_pressure

__all__ = ["LAYERS", "as_table", "departure_sums", "estimate"]

LAYERS = (1000, 925, 850, 700, 500, 400, 300, 250, 200, 150, 100, 70, 50, 30, 20, 10)
"""Pressures that stand for the layers [hPa]; each observation counts for the nearest in ln p."""
KEYS = ["type", "variable", "pressure"]
SUMS = ["count", "b", "a", "bb", "ab", "oo"]
LEAST = 100


def departure_sums(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return counts and sums of products by type, variable and layer of all used rows.

    Args:
        tables: Feedback of cycles, with o_minus_b and o_minus_a [SI].
    """
    parts = [_sums(table) for table in tables]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=SUMS, index=pd.MultiIndex.from_arrays([[]] * 3, names=KEYS))
    return pd.concat(parts).groupby(level=KEYS).sum()


def _sums(table: pd.DataFrame) -> pd.DataFrame:
    b, a = (table[name].to_numpy(np.float64) for name in ("o_minus_b", "o_minus_a"))
    rows = np.flatnonzero(table["used"].to_numpy(bool) & np.isfinite(a) & np.isfinite(b))
    used, a, b = table.iloc[rows], a[rows], b[rows]
    variance = used["error"].to_numpy(np.float64) ** 2
    columns = (np.ones(len(rows)), b, a, b * b, a * b, variance)
    frame = pd.DataFrame(dict(zip(SUMS, columns, strict=True)))
    keys = [_types(used), used["variable"].to_numpy(), layer(used)]
    return frame.groupby(keys).sum().rename_axis(KEYS)


def _types(table: pd.DataFrame) -> NDArray[np.object_]:
    """Return the names of the report types, NCEP's where there is one."""
    own = table["type"].to_numpy(object)
    if "report_code" not in table:
        return own
    codes = table["report_code"].fillna(0).to_numpy(np.int64)
    return np.where(codes > 0, np.array([f"ncep {code}" for code in codes], object), own)


def layer(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the pressure of the layer that each row is in [Pa]; the lowest at the surface."""
    nodes = np.log(np.asarray(LAYERS[::-1], np.float64) * 100.0)
    surface = table["pres"].isna() & table["level"].isna()
    surface |= table["variable"].isin(["t2m", "q2m", "u10", "v10", "sp", "msl", "sst"])
    height = np.log(np.where(surface.to_numpy(), 1e5, nominal_pressure(table)))
    nearest = np.searchsorted((nodes[1:] + nodes[:-1]) / 2, height)
    return np.asarray(LAYERS[::-1], np.float64)[nearest] * 100.0


def estimate(sums: pd.DataFrame, least: int = LEAST) -> pd.DataFrame:
    """Return the estimates by type, variable and layer.

    Args:
        sums: Of `departure_sums`.
        least: So many observations are needed for an estimate.

    Returns:
        A frame with count, bias (mean of O-B), assumed, error (the estimate, or what was assumed
        where there is none), background (σ_b) and estimated (whether there is an estimate).
    """
    count = sums["count"].astype(np.float64)
    mean_b, mean_a = sums["b"] / count, sums["a"] / count
    observed = sums["ab"] / count - mean_a * mean_b
    total = sums["bb"] / count - mean_b**2
    assumed = np.sqrt((sums["oo"] / count).astype(np.float64))
    estimated = (count >= least) & (observed > 0)
    variance = observed.where(estimated, assumed**2).astype(np.float64)
    return pd.DataFrame(
        {
            "count": count.astype(np.int64),
            "bias": mean_b,
            "assumed": assumed,
            "error": np.sqrt(variance),
            "background": np.sqrt((total - observed).clip(lower=0).astype(np.float64)),
            "estimated": estimated,
        }
    )


def as_table(estimates: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return estimates as an error table, by type, variable and falling pressure."""
    frame = estimates.reset_index()
    texts = np.where(frame["estimated"], "Desroziers (2005), ", "assumed, ")
    frame["source"] = [
        f"{text}{count} values, {source}"
        for text, count in zip(texts, frame["count"], strict=True)
    ]
    order = frame.sort_values(["type", "variable", "pressure"], ascending=[True, True, False])
    return order[list(TABLE_COLUMNS)].reset_index(drop=True)
