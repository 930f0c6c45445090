"""How far two streams are apart where they overlap: was the spin-up long enough?

The spin-up of a stream are cycles that the stream before has as well, made from the same
observations with the same random draws; only what came before differs. So the mean square
difference of their analyses is what is left of the later stream's first guess:

    d(n) = <(x_a(earlier) - x_a(later))²> / climatological variance,  mean over levels

The spin-up was long enough if at its last cycle d is at most LIMIT of the mean square error of the
earlier stream's analysis, for every variable. Without a truth that cannot be told.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from models.normalization import Statistics
from models.state import StateSpec
from tasks import archive, store
from tasks.components import Components
from tasks.experiment import cycle_name
from tasks.streams import Reprocessing, Stream
from tasks.tables import read_table, write_table

__all__ = ["ALL", "LIMIT", "OVERLAPS", "in_words", "overlap_table", "verdicts", "write_overlaps"]

LIMIT = 0.1
TINY = 1e-12
OVERLAPS = "overlaps.parquet"
ALL, METRIC = "all", "mse_climatology"
NOW = pd.Timedelta(0)
COLUMNS = ("stream", "cycle_time", "cycle", "variable", "difference", "error")


def write_overlaps(found: Reprocessing) -> pd.DataFrame:
    """Compare all overlaps and write the table beside the archive."""
    table = overlap_table(found)
    write_table(store.join(found.root, OVERLAPS), table, {"difference": "1", "error": "1"})
    return table


def overlap_table(found: Reprocessing) -> pd.DataFrame:
    """Compare the analyses of all overlaps.

    Args:
        found: What was reprocessed; its streams must be complete.

    Returns:
        One row for each stream but the first, cycle of its spin-up, and variable (`all`: mean over
        the fields): `cycle`, counted from 1; `difference` and the earlier analysis' `error` [units
        of the climatological variance], NaN if there is no truth.
    """
    parts = Components(found.whole.config)
    spec = parts.reference(found.root).spec
    statistics = parts.statistics(spec)
    rows = [
        row
        for earlier, later in zip(found.streams, found.streams[1:], strict=False)
        for row in _overlap(earlier, later, spec, statistics)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Say of each stream whether its spin-up was long enough; JSON.

    Args:
        table: As `overlap_table` returns it.
    """
    return [_verdict(str(name), rows) for name, rows in table.groupby("stream", sort=True)]


def _overlap(
    earlier: Stream, later: Stream, spec: StateSpec, statistics: Statistics
) -> list[tuple[object, ...]]:
    from models.verification.scoring import score_state

    rows: list[tuple[object, ...]] = []
    for number, time in enumerate(later.overlap, 1):
        x, other = (_mean_analysis(stream, spec, time) for stream in (later, earlier))
        scores = score_state(x[None], other, spec, statistics, time, time, NOW, "later")
        apart, errors = _by_variable(scores), _errors(earlier, time)
        names = [*dict.fromkeys(field.variable for field in spec.fields), ALL]
        rows += [
            (later.name, time, number, name, apart[name], errors.get(name, math.nan))
            for name in names
        ]
    return rows


def _mean_analysis(
    stream: Stream, spec: StateSpec, time: pd.Timestamp
) -> Float[Tensor, "field lat lon"]:
    """Return the published analysis, the mean over members if there are several [SI]."""
    ds = archive.open_archive(stream.root, "analysis").sel(time=[time])
    if "member" in ds.dims:
        ds = ds.mean("member", keep_attrs=True)
    return spec.to_tensor(ds)[0]


def _errors(stream: Stream, time: pd.Timestamp) -> dict[str, float]:
    """Return the analysis error by variable, as the verification published it."""
    table = read_table(store.join(stream.root, "scores", f"{cycle_name(time)}.parquet"))
    now = (table["lead_time"] == NOW) & (table["source"] == "analysis")
    return _by_variable(table[now])


def _by_variable(scores: pd.DataFrame) -> dict[str, float]:
    chosen = scores[scores["metric"] == METRIC]
    means = chosen.groupby("variable")["value"].mean()
    return {str(name): float(value) for name, value in means.items()}


def _verdict(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return what is to be said of one stream's spin-up."""
    last = rows[rows["cycle"] == rows["cycle"].max()].set_index("variable")
    ratios = last["difference"] / last["error"]
    own = ratios.drop(ALL)
    own = own[np.isfinite(own)]
    known = len(own) > 0
    worst = str(own.idxmax()) if known else None
    return {
        "stream": name,
        "cycle_time": pd.Timestamp(last["cycle_time"].iloc[0]).isoformat(),
        "spin_up": int(rows["cycle"].max()),
        "long_enough": bool((own <= LIMIT).all()) if known else None,
        "worst": worst,
        "would_do": _would_do(rows) if known else None,
        "variables": {
            str(variable): {
                "difference": float(last["difference"][variable]),
                "error": _number(last["error"][variable]),
                "ratio": _number(ratios[variable]),
            }
            for variable in last.index
        },
    }


def _would_do(rows: pd.DataFrame) -> int | None:
    """Return after how many cycles the worst variable is at LIMIT, at the rate of the last ones."""
    needed = [_cycles(group) for name, group in rows.groupby("variable") if name != ALL]
    return None if not needed or None in needed else max(n for n in needed if n is not None)


def _cycles(rows: pd.DataFrame) -> int | None:
    """Return it of one variable; nothing if its difference does not shrink."""
    ratio = (rows["difference"] / rows["error"]).to_numpy(np.float64)
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio) or ratio[-1] <= LIMIT:
        first = np.flatnonzero(ratio > LIMIT)
        return int(first[-1]) + 2 if len(first) else 1
    late = np.log(np.maximum(ratio[len(ratio) // 2 :], TINY))
    slope = float(np.polyfit(np.arange(len(late)), late, 1)[0]) if len(late) > 1 else 0.0
    if slope >= 0:
        return None
    return len(ratio) + math.ceil(math.log(LIMIT / ratio[-1]) / slope)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def in_words(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the verdicts in words, one line for each stream but the first."""
    texts = []
    for one in found:
        worst, about = one["worst"], f"stream {one['stream']}, {one['spin_up']} cycles of spin-up"
        if one["long_enough"] is None:
            texts.append(f"{about}: without a truth it cannot be told whether that is long enough")
            continue
        ratio = one["variables"][worst]["ratio"]
        where = f"the difference is {ratio:.2g} of the analysis error in {worst}, the worst"
        if one["long_enough"]:
            texts.append(f"{about}: long enough; {where} (limit {LIMIT:g})")
        else:
            more = f"; about {one['would_do']} would do" if one["would_do"] else ""
            texts.append(f"{about}: TOO SHORT; {where} (limit {LIMIT:g}){more}")
    return texts
