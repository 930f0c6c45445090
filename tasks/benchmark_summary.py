"""From the long table of a benchmark to one row for each method on each network.

Errors are the analyses' `mse` in units of the 24 h background-error variance, mean over cycles
after the spin-up and over seeds. Each method is compared with the benchmark's reference method on
the same cycles: the ratio of the means with an interval of 99 % from the circular block bootstrap;
a difference is significant at 1 % where the interval does not hold 1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.benchmark import Benchmark
from models.verification.bootstrap import block_means, interval

__all__ = ["summary"]

BLOCK = 20
KEYS = ["kind", "lead_hours", "network"]
Values = NDArray[np.float64]
Series = dict[str, Values]


def summary(benchmark: Benchmark, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the summary's rows in the order of the benchmark.

    Args:
        benchmark: What was compared.
        rows: The long table of all cases.
    """
    table = after_spin_up(benchmark, rows)
    found: list[dict[str, Any]] = []
    order = list(benchmark.networks)
    groups = sorted(table.groupby(KEYS), key=lambda g: (g[0][0], g[0][1], order.index(g[0][2])))
    for (kind, lead, network), part in groups:
        names = {"kind": kind, "lead_hours": int(lead), "network": network}
        found += [names | row for row in group_rows(benchmark, part)]
    return found


def after_spin_up(benchmark: Benchmark, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the first cycles of the cycled cases."""
    first = rows.groupby("kind")["cycle_time"].transform("min")
    times = np.sort(rows.loc[rows["kind"] == "cycled", "cycle_time"].unique())
    if len(times) < 2:
        return rows
    start = times[min(benchmark.cycled.spin_up, len(times) - 1)] - times[0]
    return rows[(rows["kind"] != "cycled") | (rows["cycle_time"] - first >= start)]


def group_rows(benchmark: Benchmark, part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows of all methods on one network."""
    errors = series_of(part, "analysis", "mse")
    reference = errors.get(benchmark.reference)
    for method in benchmark.methods:
        if method not in errors:
            continue
        row: dict[str, Any] = {"method": method, "analyses": len(errors[method])}
        row |= mean_row(errors[method], "analysis")
        for source in ("background", "analysis"):
            row |= source_means(part[part["method"] == method], source)
        if reference is not None and len(reference) == len(errors[method]):
            row |= ratio_row(errors[method], reference)
        yield row


def series_of(part: pd.DataFrame, source: str, metric: str) -> Series:
    """Return the values of each method in the order of seed and time."""
    rows = part[(part["source"] == source) & (part["metric"] == metric)]
    rows = rows[rows["variable"] == "all"].sort_values(["seed", "cycle_time"])
    return {str(name): group["value"].to_numpy() for name, group in rows.groupby("method")}


def mean_row(values: Values, name: str) -> dict[str, Any]:
    """Return a mean with its interval of 95 %."""
    low, high = interval(block_means(values[None], BLOCK)[0])
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


def ratio_row(values: Values, reference: Values) -> dict[str, Any]:
    """Return the ratio of means to the reference method with its interval of 99 %."""
    own, other = block_means(np.stack([values, reference]), BLOCK)
    low, high = interval(own / other, 0.99)
    ratio = float(values.mean() / reference.mean())
    return {"ratio": ratio, "ratio_low": low, "ratio_high": high}


def source_means(rows: pd.DataFrame, source: str) -> dict[str, Any]:
    """Return the other means of one method: background, variables, ensemble scores, seconds."""
    part = rows[rows["source"] == source]
    means = part.groupby(["variable", "metric"])["value"].mean()
    found: dict[str, Any] = {}
    if source == "background":
        found["background"] = float(means["all", "mse"])
    for (variable, metric), value in means.items():
        if metric == "mse_climatology":
            found[f"{source}_{variable}_climatology"] = float(value)
        elif metric == "crps":
            found[f"{source}_crps"] = float(value)
        elif metric == "seconds" and source == "analysis":
            found["seconds"] = float(value)
    if ("all", "variance") in means:
        members = sum(1 for v, m in means.index if v == "all" and m.startswith("rank_")) - 1
        ratio = (members + 1) / members * means["all", "variance"] / means["all", "mse"]
        found[f"{source}_spread_over_error"] = float(np.sqrt(ratio))
        shares = [means["all", f"rank_{k:02d}"] for k in range(members + 1)]
        found[f"{source}_ranks"] = [float(share) for share in shares]
    return found
