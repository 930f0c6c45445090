"""From the long table of a benchmark to one row for each method on each network.

Errors are the analyses' `mse` in units of the 24 h background-error variance, mean over cycles
after the spin-up and over seeds. Each method is compared with the benchmark's reference method on
the cycles that both have: the ratio of the means with an interval of 99 % from the circular block
bootstrap; a difference is significant at 1 % where the interval does not hold 1. The ensembles'
`crps` is compared with that of the benchmark's reference ensemble likewise.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from configs.benchmark import Benchmark
from models.verification.bootstrap import block_means, interval

__all__ = ["summary"]

#: Length of the blocks [analyses]; single analyses are two days apart.
BLOCKS = {"cycled": 20, "uncycled": 4}
#: With fewer blocks there is no interval: that of one block has no width.
FEWEST = 5
Values = NDArray[np.float64]
Series = dict[str, pd.Series]


def summary(benchmark: Benchmark, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the summary's rows in the order of the benchmark.

    Args:
        benchmark: What was compared.
        rows: The long table of all cases.
    """
    table = after_spin_up(benchmark, rows)
    found: list[dict[str, Any]] = []
    for kind, of_kind in table.groupby("kind"):
        for lead, of_lead in of_kind.groupby("lead_hours"):
            for network in benchmark.networks:
                part = of_lead[of_lead["network"] == network]
                names = {"kind": kind, "lead_hours": lead, "network": network}
                found += [names | row for row in group_rows(benchmark, part, BLOCKS[str(kind)])]
    return found


def after_spin_up(benchmark: Benchmark, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out the first cycles of the cycled cases."""
    first = rows.groupby("kind")["cycle_time"].transform("min")
    times = np.sort(rows.loc[rows["kind"] == "cycled", "cycle_time"].unique())
    if len(times) < 2:
        return rows
    start = times[min(benchmark.cycled.spin_up, len(times) - 1)] - times[0]
    counted = (rows["kind"] != "cycled") | (rows["cycle_time"] - first >= start)
    kept: pd.DataFrame = rows.loc[counted]
    return kept


def group_rows(benchmark: Benchmark, part: pd.DataFrame, block: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of all methods on one network."""
    errors = series_of(part, "analysis", "mse")
    scores = series_of(part, "analysis", "crps")
    pairs = [("ratio", errors, benchmark.reference)]
    if benchmark.ensemble_reference is not None:
        pairs.append(("crps_ratio", scores, benchmark.ensemble_reference))
    for method in benchmark.methods:
        if method not in errors:
            continue
        row: dict[str, Any] = {"method": method, "analyses": len(errors[method])}
        row |= mean_row(errors[method].to_numpy(), "analysis", block)
        for source in ("background", "analysis"):
            row |= source_means(part[part["method"] == method], source)
        for name, series, reference in pairs:
            row |= ratio_row(name, series.get(method), series.get(reference), block)
        yield row


def series_of(part: pd.DataFrame, source: str, metric: str) -> Series:
    """Return the values of each method in the order of seed and time."""
    rows = part[(part["source"] == source) & (part["metric"] == metric)]
    rows = rows[rows["variable"] == "all"].set_index(["seed", "cycle_time"]).sort_index()
    return {str(name): group["value"] for name, group in rows.groupby("method")}


def mean_row(values: Values, name: str, block: int) -> dict[str, Any]:
    """Return a mean with its interval of 95 %, if there are blocks enough."""
    found = {name: float(values.mean())}
    if len(values) < FEWEST * block:
        return found
    low, high = interval(block_means(values[None], block)[0])
    return found | {f"{name}_low": low, f"{name}_high": high}


def ratio_row(
    name: str, series: pd.Series | None, reference: pd.Series | None, block: int
) -> dict[str, Any]:
    """Return the ratio of means to the reference's with its interval of 99 %, likewise.

    The means are those of the analyses that both have; nothing is returned if there are none.
    """
    if series is None or reference is None:
        return {}
    pair = pd.concat([series, reference], axis=1, join="inner").to_numpy().T
    count = pair.shape[1]
    if not count:
        return {}
    found = {f"{name}_analyses": count, name: float(pair[0].mean() / pair[1].mean())}
    if count < FEWEST * block:
        return found
    own, other = block_means(pair, block)
    low, high = interval(own / other, 0.99)
    return found | {f"{name}_low": low, f"{name}_high": high}


def source_means(rows: pd.DataFrame, source: str) -> dict[str, Any]:
    """Return the other means of one method: background, variables, ensemble scores, seconds."""
    part = rows[rows["source"] == source]
    by_name = {str(name): group for name, group in part.groupby("variable")}
    means = {name: metric_means(group) for name, group in by_name.items()}
    whole = means["all"]
    found = {f"{source}_{name}_climatology": m["mse_climatology"] for name, m in means.items()}
    if source == "background":
        found["background"] = whole["mse"]
    else:
        found["seconds"] = whole["seconds"]
    return found | (ensemble_means(whole, source) if "crps" in whole else {})


def metric_means(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each metric."""
    return {str(name): float(part.mean()) for name, part in rows.groupby("metric")["value"]}


def ensemble_means(means: Mapping[str, float], source: str) -> dict[str, Any]:
    """Return CRPS, spread over error and the rank histogram of an ensemble."""
    ranks = [value for metric, value in means.items() if metric.startswith("rank_")]
    members = len(ranks) - 1
    ratio = (members + 1) / members * means["variance"] / means["mse"]
    return {
        f"{source}_crps": means["crps"],
        f"{source}_spread_over_error": float(np.sqrt(ratio)),
        f"{source}_ranks": ranks,
    }
