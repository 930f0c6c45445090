"""What Prefect's user interface shows of an experiment: tags, and artifacts of a flow run's cycles.

    pages                  where the experiment's pages lie (LOSDA_PAGES: where they are served)
    progress               how much of the flow run is done
    scores                 after the verification: errors by variable
    observations           after the analysis: counts and O-B by source and variable
    pictures               after the analysis: maps, departures, cost function

Artifacts are made one after the other beside the work, never on its path. They are a courtesy: one
that fails or comes late is left out with a warning, and no flow run waits for the last ones longer
than PATIENCE seconds. Keys are those of the experiment, so that its versions are a history.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import pandas as pd
from prefect import get_run_logger, tags
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from flows.errors import one_line
from tasks.cycle_view import departure_rows, pictures, score_rows
from tasks.experiment import Experiment, cycle_name
from tasks.runtime import Runtime
from tasks.store import is_remote, join

__all__ = ["Artifacts", "page_address", "tagged"]

PATIENCE, LONGEST, MOST_WAITING = 10.0, 30.0, 20
CAPTIONS = {
    "maps": "Background, increment, and the used observations minus the background.",
    "departures": "Left and middle in units of √(HBHᵀ + R), with the B that the check assumed.",
}
Job = Callable[[], Awaitable[None]]


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


@dataclass
class Artifacts:
    """The artifacts of one flow run.

    Attributes:
        runtime: The experiment.
        total: How many steps the flow run has.
        done: How many of them are done.
    """

    runtime: Runtime
    total: int
    done: int = 0
    _progress: UUID | None = None
    _waiting: set["asyncio.Task[None]"] = field(default_factory=set)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self, title: str) -> None:
        """Show the progress, and where the pages are."""
        self._later(partial(self._begin, title))

    def advance(self) -> None:
        """Take note that one more step is done, and show it if that is worth an update."""
        self.done += 1
        if self.done % max(1, self.total // 20) == 0 or self.done == self.total:
            self._later(self._update)

    def after(self, time: pd.Timestamp, stage: str) -> None:
        """Show what is new of a cycle after one of its stages."""
        if stage == "analysis":
            self._later(partial(self._observations, time))
            self._later(partial(self._pictures, time))
        elif stage == "verification":
            self._later(partial(self._scores, time))

    def table(self, name: str, rows: list[dict[str, str]], text: str) -> None:
        """Show a table."""
        self._later(partial(self._table, name, rows, text))

    async def close(self) -> None:
        """Wait for the last artifacts, but not long."""
        if self._waiting:
            _, late = await asyncio.wait(self._waiting, timeout=PATIENCE)
            for task in late:
                task.cancel()
            if late:
                _warn(f"{len(late)} artifacts came too late and are left out")

    def _later(self, job: Job) -> None:
        if len(self._waiting) >= MOST_WAITING:
            return  # the server is slower than the cycles
        task = asyncio.create_task(self._in_turn(job))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _in_turn(self, job: Job) -> None:
        async with self._turn:
            try:
                async with asyncio.timeout(LONGEST):
                    await job()
            except Exception as error:  # noqa: BLE001 - a cycle must not fail because of a picture
                _warn(f"an artifact is left out: {one_line(error)}")

    async def _begin(self, title: str) -> None:
        root = self.runtime.experiment.root
        self._progress = await acreate_progress_artifact(
            0.0, key=self._key("progress"), description=title
        )
        lines = [f"# {title}", f"Experiment: `{root}`"]
        for name, text in (
            ("monitor.html", "over time, refreshed after each cycle"),
            ("report.html", "the report, after `losda run` or `losda report`"),
        ):
            lines.append(f"- [{name}]({page_address(root, name)}): {text} (`{join(root, name)}`)")
        text = "Where the pages of the experiment are."
        await acreate_markdown_artifact("\n\n".join(lines), self._key("pages"), text)

    async def _update(self) -> None:
        if self._progress is not None:
            part = 100.0 * min(1.0, self.done / max(self.total, 1))
            await aupdate_progress_artifact(self._progress, progress=part)

    async def _scores(self, time: pd.Timestamp) -> None:
        rows = await asyncio.to_thread(score_rows, self.runtime, time)
        text = "mean squared errors over the climatological variance"
        await self._table("scores", rows, f"Cycle {cycle_name(time)}: {text}")

    async def _observations(self, time: pd.Timestamp) -> None:
        rows = await asyncio.to_thread(departure_rows, self.runtime, time)
        text = "observations by source and variable"
        await self._table("observations", rows, f"Cycle {cycle_name(time)}: {text}")

    async def _pictures(self, time: pd.Timestamp) -> None:
        found = await asyncio.to_thread(pictures, self.runtime, time)
        cycle = cycle_name(time)
        lines = [f"# Cycle {cycle}"]
        for name, address in found.items():  # an image artifact would show the address, too
            lines += [f"![{name}]({address})", CAPTIONS[name]]
        text = f"Cycle {cycle}: maps, departures, cost function"
        await acreate_markdown_artifact("\n\n".join(lines), self._key("pictures"), text)

    async def _table(self, name: str, rows: list[dict[str, Any]], text: str) -> None:
        await acreate_table_artifact(rows, self._key(name), text)

    def _key(self, name: str) -> str:
        """Return the key of an artifact: small letters, digits and dashes."""
        own = re.sub(r"[^a-z0-9]+", "-", self.runtime.experiment.config.name.lower()).strip("-")
        return f"{own}-{name}"


def _warn(text: str) -> None:
    get_run_logger().warning(text)
