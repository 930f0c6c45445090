"""Ingest: the observations of a cycle, drawn from the reference or read from files, and judged.

What needs no background is judged here; the rest is, with the background, in the analysis.
"""

import json
import sys

import pandas as pd
import torch
from pydantic_core import from_json

from models.observations.networks import draw_network
from models.observations.table import screen, validate_table
from tasks import archive
from tasks.experiment import cycle_name
from tasks.ingest_files import Found, files_of_window, judge_reports, read_window
from tasks.ledger import Attempt, Commit, StageResult
from tasks.observing import Observing, files_of
from tasks.runtime import Runtime
from tasks.simulate import simulate
from tasks.store import exists, join, read_bytes, write_bytes
from tasks.timing import Stopwatch
from tasks.withholding import set_aside

__all__ = ["FOUND", "OBSERVATIONS", "draw", "ingest", "missing_sources", "unread_files"]

OBSERVATIONS, FOUND = "observations.parquet", "files.json"


def ingest(runtime: Runtime, time: pd.Timestamp, attempt: Attempt) -> StageResult:
    """Write the table of observations with `used` and the reason why not."""
    watch = Stopwatch()
    summary: dict[str, object] = {}
    if runtime.observing is None:
        table = draw(runtime, time, watch)
    else:
        table, found = read(runtime, runtime.observing, time, watch)
        summary = {"files": len(found.accounts), "unread": len(found.unread)}
        write_bytes(join(attempt.address, FOUND), account_of(found))
        if problem := found.sentence():
            sys.stderr.write(f"losda: observations of cycle {cycle_name(time)}: {problem}\n")
            summary["problem"] = problem
    with watch.part("write"):
        archive.write_table(join(attempt.address, OBSERVATIONS), table)
    used = int(table["used"].sum())
    return StageResult(watch.seconds, {"observations": len(table), "used": used} | summary)


def draw(runtime: Runtime, time: pd.Timestamp, watch: Stopwatch) -> pd.DataFrame:
    """Return the observations of a cycle's window, validated and screened."""
    window, seed = runtime.experiment.window, runtime.experiment.config.seed
    with watch.part("reference"):
        truth = torch.stack([runtime.truth(own) for own in window.times(time)])
    with watch.part("draw"):
        std = runtime.statistics.std
        table = draw_network(runtime.network, runtime.spec, std, truth, time, seed, window)
        table = screen(validate_table(table), runtime.spec, window.limits(time))
        return set_aside(table, runtime.experiment.config)


def read(
    runtime: Runtime, observing: Observing, time: pd.Timestamp, watch: Stopwatch
) -> tuple[pd.DataFrame, Found]:
    """Return the judged observations of the files of a cycle's window, and what was read."""
    moment = observing.moment(time)
    with watch.part("read"):
        found = read_window(observing, moment)
    table = found.table
    if observing.files.simulation is not None:
        with watch.part("reference"):
            truth = {own: runtime.truth(own) for own in moment.compared_at}
        with watch.part("draw"):
            seed = runtime.experiment.config.seed
            table = simulate(table, observing, moment, truth, time, seed)
    with watch.part("judge"):
        return judge_reports(table, observing, moment, runtime.statistics), found


def account_of(found: Found) -> bytes:
    """Return what is in the files, as JSON."""
    document = {
        "missing": found.missing,
        "files": {
            name: {
                "bytes": found.sizes.get(name),
                "messages": own.messages,
                "reports": own.reports,
                "values": own.values,
                "kept": sum(own.kept.values()),
                "left": {f"{what}: {reason}": n for (what, reason), n in sorted(own.left.items())},
                "damaged": dict(own.damages),
            }
            for name, own in found.accounts.items()
        },
    }
    return json.dumps(document, indent=1).encode()


def unread_files(runtime: Runtime, commit: Commit) -> tuple[str, ...]:
    """Return the files of a cycle's window that its ingest has not read as they are now.

    A file is another one if its size is. Of an ingest whose account was removed nothing is known.
    """
    observing = runtime.observing
    if observing is None:
        return ()
    try:
        read = from_json(read_bytes(join(commit.address, FOUND)))["files"]
    except FileNotFoundError:
        return ()
    there, _ = files_of_window(observing, observing.moment(commit.cycle_time))
    known = {name: own.get("bytes", there.get(name)) for name, own in read.items()}
    return tuple(name for name, size in there.items() if known.get(name) != size)


def missing_sources(runtime: Runtime, time: pd.Timestamp) -> tuple[str, ...]:
    """Return the sources of which not all observations of a cycle can be had.

    Drawn ones can be had if the reference reaches the window's end; of files each source says so
    itself, by a file of its own. Without any they are awaited until the cutoff.
    """
    config, window = runtime.experiment.config, runtime.experiment.window
    files = files_of(config)
    if files is not None:
        said = (one.source for one in files.complete if exists(time.strftime(one.address)))
        there = set(said)
        return tuple(name for name in config.observations.sources if name not in there)
    if all(runtime.reference_reaches(own) for own in window.times(time)):
        return ()
    return config.observations.sources
