"""Kill a whole service at random instants, again and again, and compare with an undisturbed run.

    python -m tests.service_chaos --cycles 60 --kills 100 --out /tmp/chaos

Everything is real: `losda up` with database, S3 server, Prefect server and workers; `losda deploy`; a
drive that cron wakes; the experiment on S3. Besides the random kills (`tests.service_kills`) three
things happen once (`tests.service_events`). At the end `tests.service_checks` says what is wrong.
Writes OUT/summary.json and OUT/log.txt; ends with exit code 1 if anything is wrong. The file OUT/stop
ends it early: the cycles that were begun are finished, and only they are judged.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import store
from tasks.journal import Entry, Journal
from tasks.ports import free_ports
from tests.chaos import REPOSITORY, finish
from tests.running_services import RunningServices
from tests.service_checks import attempts_of, difference_of, faults
from tests.service_events import hang_s3, jump, move_clock, set_operations, stand_still
from tests.service_kills import KINDS, kill, runs_below
from tests.small_experiment import make_tiny

START = pd.Timestamp("2001-01-03")
STEP = pd.Timedelta(hours=6)
OFFSET = timedelta(hours=3)
STAGES = 5  # with the publication
ROOT = "s3://losda/chaos"
WAKE_EVERY, QUIET = 15.0, 20.0
AHEAD = 3
"""So many kills may come before their turn by the number of commits: the service has to get on."""


class StoppedError(Exception):
    """Somebody made the file OUT/stop."""


@dataclass(frozen=True)
class Wish:
    """What is to happen.

    Attributes:
        cycles: Number of cycles.
        kills: Number of kills.
        seed: Of the instants and victims.
        out: Where everything is written.
        gap: Mean time between kills [s].
        events: Whether the three events happen.
        database: Of the Prefect server.
        cron: What wakes the drive.
        stuck: It is given up when nothing was committed for so long [s].
        wakes: Whether somebody starts a drive when there is none, instead of waiting for cron.
    """

    cycles: int
    kills: int
    seed: int
    out: Path
    gap: float = 20.0
    events: bool = True
    database: str = "postgresql"
    cron: str = "* * * * *"
    stuck: float = 900.0
    wakes: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the cycles."""
        return [f"{START + number * STEP:%Y%m%dT%H}" for number in range(self.cycles)]


@dataclass
class Torture:
    """A service under torture, and what was seen of it."""

    wish: Wish
    services: RunningServices
    log: Path
    began: float = field(default_factory=time.monotonic)
    kills: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    news: float = field(default_factory=time.monotonic)
    woken: float = 0.0

    def __post_init__(self) -> None:
        """Draw the kinds of the kills."""
        self.generator = random.Random(self.wish.seed)
        self.left = list(_kinds(self.wish, self.generator))

    def say(self, text: str) -> None:
        """Write a line with the time."""
        line = f"{time.monotonic() - self.began:7.1f} {len(self.seen):4d} {text}\n"
        sys.stderr.write(line)
        with self.log.open("a") as file:
            file.write(line)

    def look(self) -> None:
        """See what is committed, and whether something that was is not any more.

        Raises:
            TimeoutError: Nothing new came for too long.
        """
        with suppress(OSError, ValueError):
            ledger = set(store.files(store.join(ROOT, "ledger")))
            marks = {f"published/{n}" for n in store.files(store.join(ROOT, "published"))}
            now = ledger | marks
            if self.seen - now:
                self.lost |= self.seen - now
                self.say(f"LOST {sorted(self.seen - now)}")
            if now - self.seen:
                self.seen |= now
                self.news = time.monotonic()
        if time.monotonic() - self.news > self.wish.stuck:
            raise TimeoutError(f"nothing was committed for {self.wish.stuck:.0f} s")

    def complete(self) -> int:
        """Return the number of published cycles."""
        self.look()
        return sum(name.startswith("published/") for name in self.seen)

    def wait_for(self, cycles: int) -> None:
        """Go on until so many cycles are published, and kill meanwhile."""
        while self.complete() < cycles:
            due = self.wish.kills * len(self.seen) / (STAGES * self.wish.cycles)
            behind = due - self.kills.total()
            gap = self.wish.gap * (0.5 if behind > 0 else 1.0)
            self._rest(self.generator.expovariate(1 / gap), cycles)
            if self.left and behind > -AHEAD and self.complete() < cycles:
                self.kill()
            if (self.wish.out / "stop").exists():
                raise StoppedError

    def _rest(self, seconds: float, cycles: int) -> None:
        ended = time.monotonic() + seconds
        while (left := ended - time.monotonic()) > 0 and self.complete() < cycles:
            time.sleep(min(left, 2.0))
            if self.wish.wakes:
                self.wake()

    def wake(self) -> None:
        """Start a drive if there is none, as a button of Prefect's page does."""
        there = any(run.flow == "drive" for run in runs_below(self.services))
        if there or time.monotonic() - self.woken < WAKE_EVERY:
            return
        self.woken = time.monotonic()
        with suppress(OSError):
            deployment = self.services.ask("/deployments/name/drive/cpu")["id"]
            body = {"parameters": {"experiment": ROOT}, "state": {"type": "SCHEDULED"}}
            self.services.ask(f"/deployments/{deployment}/create_flow_run", body)

    def kill(self) -> None:
        """Make the next kill that there is somebody for."""
        for number, kind in enumerate(self.left):
            if count := kill(kind, self.services, self.generator):
                self.kills[kind] += 1
                del self.left[number]
                self.say(f"kill {self.kills.total()}: {kind}, {count} processes")
                return

    def happen(self, event: Callable[[], str]) -> None:
        """Let one of the events happen."""
        self.say("an event begins")
        self.events.append(event())
        self.news = time.monotonic()
        self.say(self.events[-1])


def _kinds(wish: Wish, generator: random.Random) -> Iterator[str]:
    """Return the kinds of the kills: shuffled, in the proportions of KINDS, each at least once."""
    kinds = [kind for kind in KINDS if kind != "database" or wish.database == "postgresql"]
    total = sum(KINDS[kind] for kind in kinds)
    found = [kind for kind in kinds for _ in range(max(1, KINDS[kind] * wish.kills // total))]
    found += generator.choices(kinds, [KINDS[kind] for kind in kinds], k=wish.kills)
    found = found[: wish.kills]
    generator.shuffle(found)
    yield from found


def chaos(wish: Wish) -> dict[str, Any]:
    """Run everything, and return the summary."""
    wish.out.mkdir(parents=True)
    wish.out.chmod(0o755)  # the database's user has to pass
    environment = _environment(wish.out)
    tiny = make_tiny(wish.out, wish.cycles + 24)
    port = free_ports(("server",))["server"]
    services = RunningServices(wish.out / "services", environment, port, wish.database)
    os.environ.update(services.secrets)
    torture = Torture(wish, services, wish.out / "log.txt")
    error, whole = "", wish.out / "whole"
    try:
        _deploy(torture, str(tiny.config))
        try:
            _drive(torture)
        except StoppedError:
            torture.wish = wish = _shortened(torture)
            torture.wait_for(wish.cycles)
        torture.say("the cycles are made")
        arguments = ["run", str(tiny.config), "--cycles", str(wish.cycles), "--no-report"]
        finish([*arguments, "--out", str(whole)], environment)
    except (TimeoutError, RuntimeError, AssertionError) as failure:
        error = f"{type(failure).__name__}: {failure}"
        torture.say(error)
    summary = _summary(torture, str(whole), error)
    (wish.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    if not error:  # what is stuck is left as it is, to be looked at
        services.stop()
    return summary


def _shortened(torture: Torture) -> Wish:
    """Let the cycles that were begun be the last ones, without kills; return what is wished then."""
    torture.left.clear()
    (torture.wish.out / "stop").unlink()
    Journal(ROOT).write(Entry(kind="hold", text="the test is to end"))
    quiet = time.monotonic()
    while (
        time.monotonic() - quiet < QUIET
    ):  # what is under way is finished, and nothing more begun
        torture.look()
        time.sleep(2)
        if any(run.flow != "drive" for run in runs_below(torture.services)):
            quiet = time.monotonic()
    begun = {name.split("/")[0] for name in torture.seen if not name.startswith("published/")}
    wish = replace(torture.wish, cycles=max(1, len(begun)))
    set_operations(ROOT, end=START.to_pydatetime() + (wish.cycles - 1) * STEP.to_pytimedelta())
    move_clock(ROOT, timedelta(hours=6 * torture.wish.cycles))
    Journal(ROOT).write(Entry(kind="release", text="to finish what was begun"))
    torture.say(f"stopped: {wish.cycles} cycles are the last")
    return wish


def _environment(folder: Path) -> dict[str, str]:
    own = {"PREFECT_HOME": str(folder / "home"), "LOSDA_CACHE": str(folder / "cache")}
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOSDA_", "PREFECT_"))}
    return kept | own | {"PYTHONPATH": REPOSITORY, "OMP_NUM_THREADS": "1"}


def _first(wish: Wish) -> int:
    """Return how many cycles are due before the clock is moved."""
    return max(3, wish.cycles // 5) if wish.events else wish.cycles


def _deploy(torture: Torture, config: str) -> None:
    wish = torture.wish
    at = datetime.now(UTC) - ((_first(wish) - 1) * STEP.to_pytimedelta() + OFFSET)
    end = START + (wish.cycles - 1) * STEP
    settings = {
        "clock.kind": "mapped",
        "clock.at": f"{at:%Y-%m-%dT%H:%M}",
        "offset": "PT3H",
        "end": f"{end:%Y-%m-%dT%H:%M}",
        "attempts": 1000,
        "retry_after": "PT1S",
    }
    options = [o for n, v in settings.items() for o in ("--set", f"operations.{n}={v}")]
    torture.services.losda("deploy", config, "--out", ROOT, *options, "--cron", wish.cron)
    torture.say("deployed")
    torture.news = time.monotonic()


def _drive(torture: Torture) -> None:
    """Let all cycles be made, with kills and events on the way."""
    wish, services, generator = torture.wish, torture.services, torture.generator
    if wish.events:
        first = _first(wish)
        torture.wait_for(first // 3)
        torture.happen(lambda: hang_s3(services, 60))
        torture.wait_for(first * 2 // 3)
        torture.happen(lambda: stand_still(services, ROOT, generator))
        torture.wait_for(first)
        torture.happen(lambda: jump(services, ROOT, 20, 70))
        torture.wait_for(min(first + 3, wish.cycles))
        _nothing_more(torture, first + 3)
        move_clock(ROOT, timedelta(hours=6 * wish.cycles))
    torture.wait_for(wish.cycles)


def _nothing_more(torture: Torture, cycles: int) -> None:
    """Require that no cycle was begun that is not due."""
    torture.look()
    begun = {name.split("/")[0] for name in torture.seen if not name.startswith("published/")}
    assert len(begun) == min(cycles, torture.wish.cycles), f"{len(begun)} cycles were begun"


def _summary(torture: Torture, whole: str, error: str) -> dict[str, Any]:
    wish, entries = torture.wish, []
    found = {"error": error} if error else {}
    with suppress(OSError, ValueError):
        entries = list(Journal(ROOT).entries())
    wrong = faults(ROOT, wish.names) if not error else []
    differences = difference_of(whole, ROOT) if not error else []
    return {
        **found,
        "cycles": torture.complete() if not error else None,
        "kills": dict(torture.kills),
        "events": torture.events,
        "seconds": round(time.monotonic() - torture.began),
        "seed": wish.seed,
        "attempts": dict(attempts_of(ROOT)) if not error else {},
        "journal": dict(Counter(entry.kind for entry in entries)),
        "commits lost": sorted(torture.lost),
        "wrong": wrong,
        "files that differ": differences,
        "ok": not (error or wrong or differences or torture.lost),
    }


def main() -> int:
    """Run what the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=60)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gap", type=float, default=20.0, help="mean time between kills [s]")
    parser.add_argument("--no-events", action="store_true")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--cron", default="* * * * *")
    given = parser.parse_args()
    wish = Wish(
        *(given.cycles, given.kills, given.seed, given.out.absolute()),
        *(given.gap, not given.no_events, given.database, given.cron),
    )
    summary = chaos(wish)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return 0 if summary["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
