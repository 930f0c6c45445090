"""Join the streams of a reprocess, and what is said of it: one JSON document, a table for people."""

import sys
from collections.abc import Mapping
from typing import Any

from flows import summary
from flows.progress import Steps
from flows.tables import print_rows
from tasks.overlaps import LIMIT, in_words, verdicts, write_overlaps
from tasks.promote import promote
from tasks.streams import Reprocessing, Stream

__all__ = ["document_of", "join", "print_reprocess", "stream_row"]


def join(found: Reprocessing, report: bool = True) -> dict[str, Any]:
    """Join the streams into one archive, compare their overlaps, return the JSON document.

    Args:
        found: What was reprocessed.
        report: Whether to write report.html.

    Raises:
        ValueError: A stream is not complete.
    """
    copied = promote(found, Steps("cycles joined").show)
    overlaps = verdicts(write_overlaps(found))
    document = document_of(found) | {"promoted": True, "copied": copied, "overlaps": overlaps}
    if report:
        from tasks.report import write_report

        document["report"] = write_report(found.root)
    return document


def document_of(found: Reprocessing) -> dict[str, Any]:
    """Return the JSON document of a reprocess whose streams are complete."""
    rows = []
    for stream in found.streams:
        plan = stream.plan.at_once()
        rows += [summary.cycle_row(plan, time) for time in stream.own_times]
    return {
        "experiment": found.root,
        "method": found.whole.config.method.kind,
        "streams": [stream_row(stream) for stream in found.streams],
        "promoted": False,
        "cycles": rows,
        "mean": summary.means(rows[found.whole.config.spin_up :]),
    }


def stream_row(stream: Stream) -> dict[str, Any]:
    """Return what a stream is."""
    return {
        "stream": stream.name,
        "experiment": stream.root,
        "start": stream.times[0].isoformat(),
        "own_start": stream.own_times[0].isoformat(),
        "end": stream.times[-1].isoformat(),
        "spin_up": stream.spin_up,
        "cycles": len(stream.times),
    }


def print_reprocess(document: Mapping[str, Any]) -> None:
    """Print the mean errors, how far the streams are apart, and where everything lies."""
    title = (
        f"{document['method']}: mean squared error / climatological variance, after the spin-up"
    )
    print_rows(summary.table(document["mean"]), title)
    if overlaps := document.get("overlaps"):
        sys.stdout.write("\n")
        rows = [_row(one, name) for one in overlaps for name in one["variables"]]
        title = f"streams at the end of their spin-up; long enough: ratio at most {LIMIT:g}"
        print_rows(rows, title)
    lines = [
        *in_words(document.get("overlaps", [])),
        f"experiment  {document['experiment']}, {len(document['streams'])} streams",
        *([f"report      {document['report']}"] if "report" in document else []),
        *([] if document["promoted"] else ["not joined yet: losda promote does it"]),
    ]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _row(one: Mapping[str, Any], name: str) -> dict[str, str]:
    values = one["variables"][name]
    numbers = {"difference": "difference", "error": "analysis error", "ratio": "ratio"}
    texts = {
        title: "-" if values[key] is None else f"{values[key]:.3g}"
        for key, title in numbers.items()
    }
    return {"stream": one["stream"], "variable": name, **texts}
