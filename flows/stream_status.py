"""What is done in a reprocess: one row for each of its streams."""

from collections.abc import Callable
from typing import Any

from flows.joining import stream_row
from flows.tables import row_lines
from tasks import store
from tasks.driver import DRIVE
from tasks.ledger_lease import living
from tasks.streams import Stream, read_reprocessing

__all__ = ["stream_lines", "streams_of"]

NOTHING = {"complete": 0, "stale": 0, "failures": 0}


def streams_of(root: str, status_of: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return the state of every stream of a reprocess.

    Args:
        root: Address of the reprocess.
        status_of: Returns the state of the experiment at an address.
    """
    found = read_reprocessing(root)
    there = set(store.names(store.join(root, "published")))
    rows = [_row(stream, there, status_of) for stream in found.streams]
    return {
        "experiment": root,
        "name": found.whole.config.name,
        "method": found.whole.config.method.kind,
        **{key: sum(row[key] for row in rows) for key in ("cycles", *NOTHING, "joined")},
        "streams": rows,
    }


def _row(
    stream: Stream, joined: set[str], status_of: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    is_there = store.exists(store.join(stream.root, "experiment.yaml"))
    status = status_of(stream.root) if is_there else NOTHING
    lease = living(store.join(stream.root, DRIVE))
    own = {f"{time:%Y%m%dT%H}.json" for time in stream.own_times}
    return {
        **stream_row(stream),
        **{key: status[key] for key in NOTHING},
        "joined": len(own & joined),
        "at_work": None if lease is None else f"process {lease.process} on {lease.host}",
    }


def stream_lines(status: dict[str, Any]) -> list[str]:
    """Return a line for each stream under a title and the names of the columns."""
    rows = [
        {
            "stream": row["stream"],
            "own cycles from": row["own_start"],
            "to": row["end"],
            "spin-up": str(row["spin_up"]),
            "complete": f"{row['complete']}/{row['cycles']}",
            "stale": str(row["stale"]),
            "failures": str(row["failures"]),
            "joined": str(row["joined"]),
            "at work": row["at_work"] or "-",
        }
        for row in status["streams"]
    ]
    title = f"{status['experiment']}: {status['name']}, {status['method']}, reprocess: "
    title += f"{status['complete']} of {status['cycles']} cycles complete, "
    title += f"{status['joined']} joined, {status['stale']} stale stages"
    return row_lines(rows, title)
