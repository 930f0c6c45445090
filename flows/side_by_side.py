"""Run the streams of a reprocess side by side, and join them.

Everything that can be wrong with the input is checked before anything is written. Each stream is
given to a place (`flows.places`) until the ledger says that it is done; one whose process was
killed is begun again. A stream that fails leaves the others going on, and the same command later
goes on with all that is left.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NONE

from configs import load
from configs.loading import load_reprocess
from flows import summary
from flows.errors import one_line
from flows.joining import document_of, join
from flows.places import Place, Where, place_of, require_place
from flows.progress import Steps
from flows.signals import stopping
from flows.stream_process import Outcome
from flows.streaming import in_turn
from tasks import store
from tasks.driver import DRIVE
from tasks.ledger import open_experiment
from tasks.ledger_lease import EXPIRES, living
from tasks.promote import require_complete
from tasks.streams import Reprocessing, Stream, reprocessing_of

__all__ = ["Wanted", "prepare", "run_reprocess"]

ATTEMPTS = 3
POLL, INTERVAL = 1.0, 10.0


@dataclass(frozen=True)
class Wanted:
    """What is to be reprocessed, as people say it.

    Attributes:
        config: Name of a preset, or path of a YAML file.
        out: Directory or s3:// address.
        start: First cycle time.
        end: Last cycle time.
        streams: Number of streams.
        spin_up: Cycles that each stream but the first runs before its part.
        overrides: Any setting, as key=value.
    """

    config: str
    out: str
    start: str | None = None
    end: str | None = None
    streams: int = 2
    spin_up: int | None = None
    overrides: tuple[str, ...] = ()

    def reprocessing(self) -> Reprocessing:
        """Return the period and its streams; what is not said is as the configuration has it.

        Raises:
            ValueError: It cannot be.
        """
        config = load(self.config, self.overrides)
        start = config.start if self.start is None else self.start
        given = {"start": start, "end": self.end, "streams": self.streams}
        if self.spin_up is not None:
            given["spin_up"] = self.spin_up
        if self.end is None:
            first = load_reprocess(given | {"end": start}).start
            given["end"] = first + (config.cycles - 1) * config.step
        return reprocessing_of(self.out, config, load_reprocess(given))


def prepare(found: Reprocessing) -> None:
    """Check everything, then bind the directory to the configuration and the period.

    Raises:
        ValueError: The input is wrong; nothing was written.
    """
    from tasks.runtime import open_runtime

    runtime = open_runtime(found.whole)
    for stream in found.streams:
        first, step = stream.experiment.first_guess_time, stream.experiment.step
        runtime.reference.check(first, first, step)
        stream.unfinished()
    open_experiment(found.root, runtime.plan.resolved | found.identity)


async def run_reprocess(
    wanted: Wanted, where: Where, promoted: bool = True, report: bool = True
) -> dict[str, Any]:
    """Run the streams that are not done, join them, and return the JSON document.

    Args:
        wanted: What to run.
        where: Where the streams run.
        promoted: Whether to join them.
        report: Whether to write the report of the joined archive.

    Raises:
        ValueError: The input is wrong; nothing was written.
        ChildProcessError: A stream failed; the others are done.
        InterruptedError: This process was asked to stop.
    """
    began, found = time.perf_counter(), wanted.reprocessing()
    await require_place(where)
    await asyncio.to_thread(prepare, found)
    async with in_turn(found.root, patience_for(found.root)):
        found.save()
        await asyncio.to_thread(integrate, found)
        await run_streams(found, where)
        document = await promote(found, report) if promoted else document_of(found)
    return document | {"wall_seconds": time.perf_counter() - began}


def patience_for(root: str) -> float:
    """Return how long to wait for another command [s].

    Of one on another host nobody knows whether it was killed, until its lease ends.
    """
    there = living(store.join(root, DRIVE))
    return 0.0 if there is None or there.host == socket.gethostname() else EXPIRES + 10.0


def integrate(found: Reprocessing) -> None:
    """Have a nature run that reaches the end, once and not in each stream."""
    from tasks.runtime import open_runtime

    runtime = open_runtime(found.whole)
    if runtime.reference.times is not None or not any(s.unfinished() for s in found.streams):
        return
    times = runtime.reference_times()
    shown = Steps("times of the reference")
    for number, time_ in enumerate(times[::8] + times[-1:], 1):
        if stopping.is_set():
            return
        runtime.reference.state(time_)
        shown.show(min(8 * number, len(times)), len(times))


async def run_streams(found: Reprocessing, where: Where) -> None:
    """Run all streams to their ends.

    Raises:
        ValueError: The input of one is wrong.
        ChildProcessError: One failed.
        InterruptedError: This process was asked to stop.
    """
    watch = asyncio.create_task(_watch(found))
    try:
        async with place_of(where) as place:
            units = (_run(place, found.root, stream) for stream in found.streams)
            outcomes = await asyncio.gather(*units)
    finally:
        watch.cancel()
    if stopping.is_set():
        raise InterruptedError(f"{found.root}: stopped; the same command goes on")
    pairs = zip(found.streams, outcomes, strict=True)
    failed = [(stream.name, outcome) for stream, outcome in pairs if outcome.code]
    if failed:
        text = "; ".join(f"stream {name}: {outcome.text}" for name, outcome in failed[:3])
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        kind = ValueError if any(o.code == 2 for _, o in failed) else ChildProcessError
        raise kind(f"{len(failed)} of {len(outcomes)} streams failed: {text}{more}")
    await asyncio.to_thread(require_complete, found)


async def _run(place: Place, root: str, stream: Stream) -> Outcome:
    """Have a stream run until it is done; again, if its process was killed."""
    outcome = Outcome(0)
    for attempt in range(1, ATTEMPTS + 1):
        if stopping.is_set() or not await asyncio.to_thread(stream.unfinished):
            return Outcome(0)
        try:
            outcome = await place.run(root, stream, attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other streams go on
            outcome = Outcome(2 if isinstance(error, ValueError) else 1, one_line(error))
        if outcome.code >= 0:
            return outcome
        unit = f"stream {stream.name}, unit {attempt} of {ATTEMPTS}"
        sys.stderr.write(f"losda: {unit}: {outcome.text}\n")
    return outcome


async def _watch(found: Reprocessing) -> None:
    """Show how far the streams are, on standard error and as an artifact."""
    total, before, said = sum(len(stream.times) for stream in found.streams), -1, 0.0
    shown = await acreate_progress_artifact(0.0, key="progress", description=found.root)
    began = time.monotonic()
    while True:
        try:
            done = await asyncio.to_thread(lambda: [stream.done() for stream in found.streams])
        except OSError:  # of the store: the streams will tell
            await asyncio.sleep(INTERVAL)
            continue
        now = time.monotonic()
        if sum(done) != before and (now - said > INTERVAL or sum(done) == total or before < 0):
            before, said = sum(done), now
            sys.stderr.write(f"{_progress(found, done, total)}  {now - began:.0f} s\n")
            sys.stderr.flush()
            await aupdate_progress_artifact(shown, progress=100 * before / total)
        await asyncio.sleep(POLL)


def _progress(found: Reprocessing, done: Sequence[int], total: int) -> str:
    parts = [
        f"{stream.name} {count}/{len(stream.times)}"
        for stream, count in zip(found.streams, done, strict=True)
        if count < len(stream.times)
    ]
    shown = "  ".join(parts[:6]) + (f"  and {len(parts) - 6} more" if len(parts) > 6 else "")
    return f"{sum(done)}/{total} cycles  {shown}".rstrip()


@task(name="promote", cache_policy=NONE, persist_result=False)
async def promote(found: Reprocessing, report: bool) -> dict[str, Any]:
    """Join the streams and show the mean errors."""
    document = await asyncio.to_thread(join, found, report)
    about = f"Mean errors of {found.root}"
    await acreate_table_artifact(summary.table(document["mean"]), key="scores", description=about)
    return document
