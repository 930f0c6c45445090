"""Leases: an attempt says that it is under way, so that others need not do the same work.

    ROOT/attempts/CYCLE/STAGE/lease.json    whose attempt, since when, and its last sign of life
    ROOT/drive/lease.json                   the same of who drives the experiment

A lease only saves double work. It is written without waiting for the disk, renewed by a thread,
and removed at the end; it may be lost, torn, overwritten or ignored, and the exclusive commit still
decides alone. It is dead when its last sign of life is more than EXPIRES seconds away, or at once
when its process is gone from this host: a run that was killed is not waited for.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from tasks import store
from tasks.ledger_records import Attempt

__all__ = [
    "EXPIRES",
    "HEARTBEAT",
    "LEASE",
    "Lease",
    "StageBusyError",
    "dead",
    "held",
    "kept",
    "living",
]

LEASE = "lease.json"
HEARTBEAT, EXPIRES = 5.0, 30.0

_held: set[str] = set()


class Lease(BaseModel):
    """Who is at work on a stage, or drives the experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempt: str
    """Name of the attempt, or of the drive."""
    host: str
    """Where it runs."""
    process: int
    """Number of its process there."""
    process_began: str
    """When the process began, in the host's own count; numbers are used again."""
    started: AwareDatetime
    """When the attempt began."""
    beat: AwareDatetime
    """Its last sign of life."""

    def is_alive(self) -> bool:
        """Return whether the attempt is probably under way."""
        # A clock that is far ahead must not keep a lease alive for ever.
        if abs(datetime.now(UTC) - self.beat) > timedelta(seconds=EXPIRES):
            return False
        if self.host != socket.gethostname():
            return True
        if (self.process, self.process_began) == (os.getpid(), _began(os.getpid())):
            return self.attempt in _held
        return _began(self.process) == self.process_began


class StageBusyError(OSError):
    """Another attempt at the stage is under way."""

    def __init__(self, cycle: str, stage: str, lease: Lease) -> None:
        """Say who is at work."""
        since = lease.started.isoformat(timespec="seconds")
        where = f"process {lease.process} on {lease.host}"
        super().__init__(f"{stage} of cycle {cycle} is being made by {where} since {since}")
        self.lease = lease


@contextmanager
def held(attempt: Attempt) -> Iterator[None]:
    """Keep a lease for an attempt while the block runs."""
    with kept(attempt.address.removesuffix(attempt.name), lease_of(attempt.name)):
        yield


@contextmanager
def kept(folder: str, lease: Lease) -> Iterator[None]:
    """Keep a lease in a folder while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(folder, lease, stop), daemon=True)
    _held.add(lease.attempt)
    _write(folder, lease)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        with suppress(OSError):
            store.remove(store.join(folder, LEASE))
        _held.discard(lease.attempt)  # the other way round it would look dead for a moment


def living(folder: str) -> Lease | None:
    """Return the lease in a folder, if it is alive."""
    lease = _read(folder)
    return lease if lease and lease.is_alive() else None


def dead(folder: str) -> Lease | None:
    """Return the lease in a folder, if its process was killed: who ends otherwise removes it."""
    lease = _read(folder)
    return None if lease is None or lease.is_alive() else lease


def _read(folder: str) -> Lease | None:
    try:
        return Lease.model_validate_json(store.read_bytes(store.join(folder, LEASE)))
    except (OSError, ValidationError):
        return None


def lease_of(attempt: str) -> Lease:
    """Return a new lease of this process."""
    time, process = datetime.now(UTC), os.getpid()
    return Lease(
        attempt=attempt,
        host=socket.gethostname(),
        process=process,
        process_began=_began(process),
        started=time,
        beat=time,
    )


def _renew(folder: str, lease: Lease, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT):
        _write(folder, lease.model_copy(update={"beat": datetime.now(UTC)}))


def _write(folder: str, lease: Lease) -> None:
    with suppress(OSError):  # a disk that is full, say; the work itself will tell
        data = lease.model_dump_json(indent=1).encode() + b"\n"
        store.write_bytes(store.join(folder, LEASE), data, durable=False)


def _began(process: int) -> str:
    """Return when a process of this host began, in clock ticks; nothing if it is gone."""
    try:
        # The name in brackets may hold anything; the state and 18 numbers come before the time.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
