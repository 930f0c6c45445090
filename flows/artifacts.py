"""What Prefect's user interface shows of an experiment: tags, and artifacts of a flow run's cycles.

    pages                  where the experiment's pages lie (LOSDA_PAGES: where they are served)
    progress               how much of the flow run is done
    scores                 after the verification: errors by variable
    observations           after the analysis: counts and O-B by source and variable
    pictures               after the analysis: maps, departures, cost function

One thread makes them, one after the other, beside the work and never on its path: a flow run does
not wait for its artifacts, nor for what draws them to be loaded. They are a courtesy: one that fails
is left out with a line on standard error, and a process that ends waits for the last ones PATIENCE
seconds. Keys are those of the experiment, so that its versions are a history.
"""

import contextvars
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import pandas as pd
from prefect import tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.runtime import flow_run

from flows.errors import one_line
from tasks.experiment import Experiment, cycle_name
from tasks.runtime import Runtime
from tasks.store import is_remote, join

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

__all__ = ["Artifacts", "Clerk", "clerk_at_work", "create", "page_address", "tagged"]

PATIENCE, MOST_WAITING = 10.0, 40
CAPTIONS = {
    "maps": "Background, increment, and the used observations minus the background.",
    "departures": "Left and middle in units of √(HBHᵀ + R), with the B that the check assumed.",
}
Rows = list[dict[str, str]]
Job = Callable[["SyncPrefectClient"], object]


@contextmanager
def tagged(experiment: Experiment, *cycles: str) -> Iterator[None]:
    """Give the flow and task runs of the block tags: experiment, method and cycles."""
    config = experiment.config
    names = [f"experiment:{config.name}", f"method:{config.method.kind}"]
    with tags(*names, *(f"cycle:{cycle}" for cycle in cycles)):
        yield


def page_address(root: str, name: str) -> str:
    """Return where a browser finds a page of an experiment."""
    served = os.environ.get("LOSDA_PAGES")
    if served:
        return join(served, root.rstrip("/").rsplit("/", 1)[-1], name)
    return join(root, name) if is_remote(root) else f"file://{join(root, name)}"


class Clerk:
    """A thread that makes artifacts in the order in which they are asked for."""

    def __init__(self) -> None:
        """Wait for the first."""
        self.jobs: queue.Queue[Job | None] = queue.Queue(MOST_WAITING)
        self.said = ""
        context = contextvars.copy_context()  # it holds Prefect's settings
        self.thread = threading.Thread(target=context.run, args=(self._work,), daemon=True)
        self.thread.start()

    def later(self, job: "Job") -> None:
        """Do something when its turn comes; nothing if the server is slower than the cycles."""
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            self._say("Prefect's server is slower than the cycles: artifacts are left out")

    def close(self) -> None:
        """Wait for the last ones, but not long."""
        try:
            self.jobs.put(None, timeout=PATIENCE)
        except queue.Full:
            return
        self.thread.join(PATIENCE)

    def _work(self) -> None:
        with get_client(sync_client=True) as client:
            while job := self.jobs.get():
                try:
                    job(client)
                except Exception as error:  # noqa: BLE001 - no cycle fails because of a picture
                    self._say(f"an artifact is left out: {one_line(error)}")

    def _say(self, text: str) -> None:
        if text != self.said:
            sys.stderr.write(f"losda: {text}\n")
        self.said = text


_current: Clerk | None = None


@contextmanager
def clerk_at_work() -> Iterator[None]:
    """Have artifacts made beside all flow runs of the block."""
    global _current
    _current = clerk = Clerk()
    try:
        yield
    finally:
        _current = None
        clerk.close()


def create(client: "SyncPrefectClient", artifact: ArtifactCreate) -> UUID:
    """Create an artifact."""
    return client.create_artifact(artifact).id


class Artifacts:
    """The artifacts of the flow run that makes it."""

    def __init__(self, runtime: Runtime, total: int) -> None:
        """Show an experiment in a flow run of `total` steps."""
        plan = replace(runtime.plan, known={})  # that of the work is walked by its own thread
        self.runtime, self.total, self.done = replace(runtime, plan=plan), total, 0
        self.run = flow_run.get_id()
        self.clerk, self.is_own = _current or Clerk(), _current is None
        self.progress: UUID | None = None

    def begin(self, title: str) -> None:
        """Show the progress, and where the pages are."""
        self.clerk.later(partial(self._begin, title))

    def advance(self) -> None:
        """Take note that one more step is done, and show it if that is worth an update."""
        self.done += 1
        if self.done % max(1, self.total // 20) == 0 or self.done == self.total:
            part = 100.0 * min(1.0, self.done / max(self.total, 1))
            self.clerk.later(partial(self._update, part))

    def after(self, time: pd.Timestamp, stage: str) -> None:
        """Show what is new of a cycle after one of its stages."""
        if stage == "analysis":
            self.clerk.later(partial(self._observations, time))
            self.clerk.later(partial(self._pictures, time))
        elif stage == "verification":
            self.clerk.later(partial(self._scores, time))

    def table(self, name: str, rows: Rows, text: str) -> None:
        """Show a table."""
        self.clerk.later(partial(self._table, name, rows, text))

    def close(self) -> None:
        """Wait for the last ones, unless somebody else does."""
        if self.is_own:
            self.clerk.close()

    def _begin(self, title: str, client: "SyncPrefectClient") -> None:
        root = self.runtime.experiment.root
        self.progress = self._create(client, "progress", "progress", 0.0, title)
        lines = [f"# {title}", f"Experiment: `{root}`"]
        for name, text in (
            ("monitor.html", "over time, refreshed after each cycle"),
            ("report.html", "the report, after `losda run` or `losda report`"),
        ):
            lines.append(f"- [{name}]({page_address(root, name)}): {text} (`{join(root, name)}`)")
        text = "Where the pages of the experiment are."
        self._create(client, "markdown", "pages", "\n\n".join(lines), text)

    def _update(self, part: float, client: "SyncPrefectClient") -> None:
        if self.progress is not None:
            client.update_artifact(self.progress, ArtifactUpdate(data=part))

    def _scores(self, time: pd.Timestamp, client: "SyncPrefectClient") -> None:
        from tasks.cycle_view import score_rows

        text = "mean squared errors over the climatological variance"
        rows = score_rows(self.runtime, time)
        self._table("scores", rows, f"Cycle {cycle_name(time)}: {text}", client)

    def _observations(self, time: pd.Timestamp, client: "SyncPrefectClient") -> None:
        from tasks.cycle_view import departure_rows

        rows = departure_rows(self.runtime, time)
        text = f"Cycle {cycle_name(time)}: observations by source and variable"
        self._table("observations", rows, text, client)

    def _pictures(self, time: pd.Timestamp, client: "SyncPrefectClient") -> None:
        from tasks.cycle_view import pictures

        cycle = cycle_name(time)
        lines = [f"# Cycle {cycle}"]
        for name, address in pictures(self.runtime, time).items():
            # an image artifact would show the address, too
            lines += [f"![{name}]({address})", CAPTIONS[name]]
        text = f"Cycle {cycle}: maps, departures, cost function"
        self._create(client, "markdown", "pictures", "\n\n".join(lines), text)

    def _table(self, name: str, rows: Rows, text: str, client: "SyncPrefectClient") -> None:
        self._create(client, "table", name, json.dumps(rows), text)

    def _create(
        self, client: "SyncPrefectClient", kind: str, name: str, data: str | float, text: str
    ) -> UUID:
        """Create an artifact; its key has small letters, digits and dashes."""
        experiment = self.runtime.experiment.config.name.lower()
        key = re.sub(r"[^a-z0-9]+", "-", f"{experiment}-{name}").strip("-")
        run = None if self.run is None else UUID(self.run)
        artifact = ArtifactCreate(type=kind, key=key, description=text, data=data, flow_run_id=run)
        return create(client, artifact)
