"""`losda status --watch` in a real terminal, and what it shows."""

import io
import os
import pty
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from flows.watching import View
from tasks import store
from tasks.experiment import cycle_time
from tasks.journal import Entry, Journal
from tasks.ledger_lease import held
from tasks.ledger_rerun import reopen
from tests.small_ledger import START, STEP, make, plan_at, publish

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")


class Terminal:
    """A losda command in a terminal of 24 lines."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.process, self.descriptor = pty.fork()
        if not self.process:
            command = [sys.executable, "-c", "from flows.cli import app; app()", *arguments]
            os.execve(sys.executable, command, environment | {"TERM": "xterm-256color"})
        self.shown = ""

    def read(self, words: str, seconds: float = 60) -> None:
        """Wait until the terminal shows words."""
        ended = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < ended, self.shown[-2000:]
            self._take(0.1)

    def end(self, seconds: float = 60) -> int:
        """Return the exit code."""
        ended = time.monotonic() + seconds
        while self._take(0.1):
            assert time.monotonic() < ended, self.shown[-2000:]
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def _take(self, seconds: float) -> bool:
        if select.select([self.descriptor], [], [], seconds)[0]:
            try:
                self.shown += os.read(self.descriptor, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                return False
        return True


@pytest.fixture
def watch(environment: dict[str, str]) -> Iterator[Callable[[Path], Terminal]]:
    """Watch an experiment in a terminal; it is gone after the test."""
    started: list[Terminal] = []

    def start(root: Path) -> Terminal:
        size = {"COLUMNS": "120", "LINES": "24"}
        started.append(Terminal(["status", str(root), "--watch"], environment | size))
        return started[-1]

    yield start
    for terminal in started:
        try:
            os.kill(terminal.process, signal.SIGKILL)
            os.waitpid(terminal.process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(terminal.descriptor)


def text_of(view: View, height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=160, height=height)
    console.print(view.picture(height))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def line_of(view: View, cycle: str) -> str:
    return next(line for line in text_of(view).splitlines() if line.startswith(cycle))


def test_it_follows_the_experiment_until_ctrl_c_and_leaves_the_terminal_as_it_was(
    watch: Callable[[Path], Terminal], finished: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished, tmp_path / "e"))
    terminal = watch(root)
    terminal.read(CYCLES[2])
    assert "held" not in terminal.shown
    Journal(str(root)).write(Entry(kind="hold", text="bad data", cycle=CYCLES[2], by="ann"))
    terminal.read(f"cycle {CYCLES[2]} by ann: bad data")
    os.write(terminal.descriptor, b"\x03")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.shown
    assert terminal.shown.count("\x1b[?1049h") == terminal.shown.count("\x1b[?1049l") == 1
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.rindex("\x1b[?25l")
    assert CYCLES[2] in terminal.shown[terminal.shown.rindex("\x1b[?1049l") :]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--watch"], "terminal"), (["--watch", "--json"], "one of them")],
)
def test_without_a_terminal_it_says_so(
    losda: Losda, finished: Path, arguments: list[str], words: str
) -> None:
    code, out, err = losda("status", finished, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and words in err


@pytest.mark.usefixtures("no_flushing")
class TestView:
    def view(self, root: str) -> View:
        plan = plan_at(root)
        identity = {**plan.identity, "name": "small", "method": {"kind": "made"}}
        store.write_bytes(
            store.join(root, "experiment.yaml"), str({**identity, "components": {}}).encode()
        )
        return View.of(root)

    def test_every_state_of_a_stage_has_its_word(self, root: str) -> None:
        plan = self.view(root).plan
        for stage in ("forecast", "observations", "analysis"):
            make(plan, (START, stage))
        view = View.of(root)
        assert line_of(view, "20010101T00").split()[-2:] == ["-", "-"]
        attempt = plan.ledger.new_attempt(START, "verification", [])
        with held(attempt):
            assert "running" in line_of(view, "20010101T00")
        entry = Entry(kind="failure", text="it blew", cycle="20010101T00", stage="verification")
        Journal(root).write(entry)
        assert "failed 1 ×" in line_of(view, "20010101T00") and "it blew" in text_of(view)
        make(plan, (START, "verification"))
        publish(plan, START)
        assert line_of(view, "20010101T00").split()[-1] == "yes"
        list(reopen(plan, [(START, "observations")], "", only=True))
        assert "STALE" in line_of(view, "20010101T00")

    def test_a_look_costs_the_same_after_many_cycles_and_shows_the_last_ones(
        self, local_root: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, costs, count = self.view(local_root), [], [0]
        read = store.read_bytes

        def counted(address: str) -> bytes:
            count[0] += 1
            return read(address)

        for number in range(60):
            time = START + number * STEP
            for stage in ("forecast", "observations", "analysis", "verification"):
                make(view.plan, (time, stage))
            publish(view.plan, time)
            if number in (30, 59):
                text_of(view, 20)
                with monkeypatch.context() as patch:
                    patch.setattr(store, "read_bytes", counted)
                    patch.setattr("tasks.plan.read_bytes", counted)
                    count[0] = 0
                    shown = text_of(view, 20)
                    costs.append(count[0])
        assert costs[0] == costs[1]
        assert "20010115T18" in shown and "20010110T00" not in shown
        assert len(shown.splitlines()) <= 20


def test_a_drive_says_what_it_waits_for_and_status_repeats_it(
    losda: Losda, finished: Path, tmp_path: Path
) -> None:
    import json

    from flows.waiting import say
    from tasks.driver import driving
    from tasks.due import Decision, Wait

    root = Path(shutil.copytree(finished, tmp_path / "e"))
    time = cycle_time(CYCLES[2]) + pd.Timedelta("6h")
    why = "observations incomplete; awaited: ship until 2001-01-03T20:00:00Z"
    say(str(root), Decision(waits=(Wait(time, "observations", why),)))
    assert json.loads(losda("status", root, "--json")[1])["waits"] == []
    with driving(str(root)):
        waits = json.loads(losda("status", root, "--json")[1])["waits"]
        assert [(w["kind"], w["why"]) for w in waits] == [("observations", why)]
        assert why in losda("status", root)[1] and why[:60] in text_of(View.of(str(root)))
