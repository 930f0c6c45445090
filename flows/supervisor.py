"""Keep processes running: start them in order, start again what dies, end all of them.

Each child leads a session of its own, so that Ctrl-C reaches it through this process alone, and asks
the kernel for a signal should this process die, be it of kill -9. What a child leaves behind becomes
a child of this process (a subreaper), so that at the end nothing stays. Linux only.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Service", "Supervisor", "plain_environment"]

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE = 120.0
"""A service answers within so many seconds, or has failed."""
GRACE = 15.0
"""A child that was asked to end does so within so many seconds."""
CALM = 60.0
"""A child that lived so long is started again at once; others after 1, 2, 4, … seconds."""
LONGEST = 30.0
POLL = 0.2
LONGEST_LOG = 32 * 2**20
"""A log that is longer [bytes] is put beside, in the place of the one before, and begun anew."""
LOGS_EVERY = 60.0


@dataclass(frozen=True)
class Service:
    """One process that is to run.

    Attributes:
        name: Its name for people; its log is called so.
        command: What to run.
        environment: Its whole environment.
        is_ready: Whether it answers.
        end_with: The signal that asks it to end.
        user: Who it runs as; None for who runs this.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool]
    end_with: signal.Signals = signal.SIGTERM
    user: str | None = None


@dataclass
class _Child:
    service: Service
    process: "subprocess.Popen[bytes]"
    began: float
    deaths: int = 0
    again_at: float | None = None


@dataclass
class Supervisor:
    """The processes that run, with their logs in a folder."""

    logs: Path
    children: list[_Child] = field(default_factory=list)
    others: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Become the parent of whatever a child leaves behind; what runs below already is not ours."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.others = frozenset(_descendants())
        _prctl(PR_SET_CHILD_SUBREAPER, 1)

    def start(self, *services: Service) -> None:
        """Start services side by side and return when all answer.

        Raises:
            ConnectionError: One ended, or does not answer.
        """
        new = [_Child(service, self._spawn(service), time.monotonic()) for service in services]
        self.children += new
        for child in new:
            self._await(child)

    def keep(self, is_over: Callable[[float], bool]) -> None:
        """Start again what dies, until it is over.

        Args:
            is_over: Waits so many seconds, and returns whether to end.
        """
        looked = time.monotonic()
        while not is_over(POLL):
            if time.monotonic() - looked > LOGS_EVERY:
                looked = time.monotonic()
                self.turn_logs()
            for child in self.children:
                self._look_after(child)
            _reap_orphans({child.process.pid for child in self.children} | self.others)

    def turn_logs(self, longest: int = LONGEST_LOG) -> None:
        """Put logs that grew too long beside; what is written meanwhile may be lost.

        The children hold their logs open to append, so they write on at the new beginning.
        """
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > longest:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)

    def stop(self) -> None:
        """End everything that was started, the last first, and what it left behind."""
        for child in reversed(self.children):
            if child.process.poll() is None:
                child.process.send_signal(child.service.end_with)
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(GRACE)
        while left := _descendants(self.others):
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(process, 0)
        _prctl(PR_SET_CHILD_SUBREAPER, 0)

    def _look_after(self, child: _Child) -> None:
        code = child.process.poll()
        if code is None:
            return
        now = time.monotonic()
        if child.again_at is None:
            child.deaths = 0 if now - child.began > CALM else child.deaths + 1
            delay = min(LONGEST, 2.0 ** (child.deaths - 1)) if child.deaths else 0.0
            child.again_at = now + delay
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            sys.stderr.write(
                f"losda: {child.service.name} ended ({how}), starts again in {delay:.0f} s; "
                f"log: {self._log(child.service)}\n"
            )
        elif now >= child.again_at:
            child.process, child.began, child.again_at = self._spawn(child.service), now, None

    def _spawn(self, service: Service) -> "subprocess.Popen[bytes]":
        def prepare() -> None:
            # a worker that inherits an ignored SIGINT would ignore SIGTERM for ever
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _prctl(PR_SET_PDEATHSIG, service.end_with)

        with self._log(service).open("ab") as log:
            return subprocess.Popen(
                service.command,
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - two system calls, nothing that takes a lock
                user=service.user,
                cwd="/" if service.user else None,
            )

    def _await(self, child: _Child) -> None:
        ended = time.monotonic() + PATIENCE
        while time.monotonic() < ended and child.process.poll() is None:
            if child.service.is_ready():
                return
            time.sleep(POLL)
        lines = self._log(child.service).read_text(errors="replace").strip().splitlines()
        why = f": {lines[-1]}" if lines else ""
        raise ConnectionError(
            f"{child.service.name} did not start{why} (log: {self._log(child.service)})"
        )

    def _log(self, service: Service) -> Path:
        return self.logs / f"{service.name}.log"


def plain_environment() -> dict[str, str]:
    """Return an environment without anything of losda, Prefect or S3."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in keep if name in os.environ}


def _prctl(option: int, value: int) -> None:
    LIBC.prctl(option, value, 0, 0, 0)


def _parents() -> dict[int, int]:
    """Return the parent of every process of this host."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # the name in brackets may hold anything
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
    return found


def _descendants(without: Collection[int] = ()) -> list[int]:
    """Return all processes below this one, without some and what is below them."""
    parents, found = _parents(), [os.getpid()]
    for process in found:
        below = (child for child, parent in parents.items() if parent == process)
        found += [child for child in below if child not in without]
    return found[1:]


def _reap_orphans(known: set[int]) -> None:
    """Take note of the end of what children left behind."""
    me = os.getpid()
    for process, parent in _parents().items():
        if parent == me and process not in known:
            with suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
