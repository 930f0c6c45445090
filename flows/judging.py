"""`losda ingest --config`: files judged as the cycle of a configuration would, but for the background.

What was read = what is used + what is rejected, by reason; that of the reader, which judges no value,
stands beside it.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from configs import Config
from configs.observing import Files
from flows.ingesting import document_of, print_ingest
from flows.tables import print_rows
from models.normalization import Statistics
from models.observations.quality.reasons import account
from models.state import StateSpec, embedded_spec
from tasks.components import Components
from tasks.experiment import cycle_time
from tasks.ingest_files import judge_reports, read_tables
from tasks.ingest_map import write_map
from tasks.observing import Observing, files_of
from tasks.tables import write_table

__all__ = ["judge_files", "print_judged"]


def judge_files(
    addresses: Sequence[str],
    form: str | None,
    config: Config,
    cycle: str | None,
    out: str | None,
    map_: str | None,
) -> dict[str, Any]:
    """Read and judge files, write their table and map, and return the account of all.

    Args:
        addresses: Paths, folders, patterns or s3:// prefixes.
        form: Format of all files; seen by their first bytes if None.
        config: What they are judged for.
        cycle: Cycle whose window they must be in, YYYYMMDDTHH; any time will do if None.
        out: Parquet file for the judged table.
        map_: PNG or HTML file for the map.

    Raises:
        ValueError: No file could be read, or the configuration or the cycle is wrong.
    """
    start = time.monotonic()
    files = files_of(config) or Files(kind="files", address=tuple(addresses))
    parts = Components(config)
    spec, statistics = state_of(config, parts, files)
    observing = Observing(files, spec, config)
    moment = None if cycle is None else observing.moment(time_of(cycle))
    found = read_tables(addresses, form)
    document = document_of(list(found.accounts.items()))
    table = judge_reports(found.table, observing, moment, statistics)
    if out is not None:
        write_table(out, table)
    if map_ is not None:
        write_map(map_, table, f"Observations for {config.name}", spec.grid)
    document |= {"out": out, "map": map_, "judged": judged(table)}
    return document | {"seconds": round(time.monotonic() - start, 3)}


def state_of(
    config: Config, parts: Components, files: Files
) -> tuple[StateSpec, Statistics | None]:
    """Return the state of a configuration, and its climatology if it is asked for."""
    if config.reference.kind == "nature":
        spec = embedded_spec()
    else:
        spec = parts.reference(".").spec
    return spec, None if files.quality.climatology is None else parts.statistics(spec)


def time_of(cycle: str) -> pd.Timestamp:
    """Return the time of a cycle's name."""
    try:
        return cycle_time(cycle)
    except ValueError:
        raise ValueError(f"--time: {cycle!r}; allowed: YYYYMMDDTHH") from None


def judged(table: pd.DataFrame) -> dict[str, Any]:
    """Return how many values were read, used and rejected, by reason, type and variable."""
    by_type: dict[str, dict[str, Any]] = {}
    counts = account(table)
    names = ("type", "variable", "reason", "count")
    for type_, variable, reason, count in zip(*(counts[n].tolist() for n in names), strict=True):
        own = by_type.setdefault(type_, {}).setdefault(
            variable, {"read": 0, "used": 0, "rejected": {}}
        )
        own["read"] += count
        if reason:
            own["rejected"][reason] = count
        else:
            own["used"] = count
    reasons = table.loc[~table["used"], "reason"].value_counts()
    return {
        "read": len(table),
        "used": int(table["used"].sum()),
        "rejected": {str(name): int(count) for name, count in reasons.items()},
        "by_type": by_type,
    }


def print_judged(document: Mapping[str, Any]) -> None:
    """Print the account for people."""
    print_ingest({**document, "out": None})
    found = document["judged"]
    rejected = found["read"] - found["used"]
    title = f"{found['read']} values read = {found['used']} used + {rejected} rejected"
    names = sorted({name for own in found["by_type"].values() for name in own})
    rows = [
        {
            "used of read": type_,
            **{n: f"{own[n]['used']}/{own[n]['read']}" if n in own else "" for n in names},
        }
        for type_, own in found["by_type"].items()
    ]
    sys.stdout.write("\n")
    print_rows(rows, title)
    if found["rejected"]:
        sys.stdout.write("\n")
        reasons = [
            {
                "rejected": reason,
                "values": str(count),
                "most of": _most(found["by_type"], reason),
            }
            for reason, count in found["rejected"].items()
        ]
        print_rows(reasons, "rejected, by reason")
    lines = [
        f"{name}  {document[key]}"
        for name, key in (("table", "out"), ("map  ", "map"))
        if document[key]
    ]
    if lines:
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _most(by_type: Mapping[str, Any], reason: str) -> str:
    """Return the type and variable with most values of a reason."""
    counts: dict[tuple[str, str], int] = {
        (type_, name): own["rejected"].get(reason, 0)
        for type_, variables in by_type.items()
        for name, own in variables.items()
    }
    return " ".join(max(counts.items(), key=lambda item: item[1])[0])
