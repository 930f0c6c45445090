import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tasks import ledger_lease, store
from tasks.ledger import Attempt, Commit, Ledger, StageBusyError, StageResult, run_stage

Start = Callable[..., "subprocess.Popen[str]"]

TIME = pd.Timestamp("2001-01-01T06:00")
FOLDER = "attempts/20010101T06/analysis"
LEASE = f"{FOLDER}/lease.json"

WORK = """
import sys
import pandas as pd
from tasks.ledger import Ledger, StageResult, run_stage
def work(attempt):
    print("ready", flush=True)
    sys.stdin.readline()
    return StageResult()
run_stage(Ledger(sys.argv[1]), pd.Timestamp("2001-01-01T06"), "analysis", fingerprint="f", inputs={}, work=work)
"""


def run(
    root: str, work: Callable[[Attempt], StageResult] = lambda attempt: StageResult()
) -> Commit:
    return run_stage(Ledger(root), TIME, "analysis", fingerprint="f", inputs={}, work=work)


def write_lease(root: str, **changes: object) -> None:
    lease = ledger_lease.lease_of("a1-elsewhere").model_copy(update={"host": "elsewhere"})
    document = lease.model_copy(update=changes).model_dump_json().encode()
    store.write_bytes(store.join(root, LEASE), document, durable=False)


def test_a_stage_that_is_being_made_is_busy_and_says_where(root: str) -> None:
    def work(attempt: Attempt) -> StageResult:
        with pytest.raises(
            StageBusyError, match=r"analysis of cycle 20010101T06 .* process \d+ on"
        ):
            run(root)
        return StageResult()

    commit = run(root, work)
    assert run(root) == commit
    assert not store.exists(store.join(root, LEASE))


def test_a_failed_attempt_leaves_no_lease(local_root: str) -> None:
    def work(attempt: Attempt) -> StageResult:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run(local_root, work)
    assert not store.exists(store.join(local_root, LEASE))


def test_a_killed_process_is_not_waited_for(local_root: str, run_python: Start) -> None:
    process = run_python(WORK, local_root)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(StageBusyError):
        run(local_root)
    process.kill()
    process.wait()
    assert store.exists(store.join(local_root, LEASE))
    run(local_root)


@pytest.mark.parametrize(
    ("age", "busy"), [(0, True), (25, True), (35, False), (-25, True), (-3600, False)]
)
def test_a_lease_of_another_host_holds_for_half_a_minute(
    local_root: str, age: int, busy: bool
) -> None:
    write_lease(local_root, beat=datetime.now(UTC) - timedelta(seconds=age))
    if busy:
        with pytest.raises(StageBusyError, match="on elsewhere"):
            run(local_root)
    else:
        run(local_root)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_torn_lease_is_none(local_root: str, content: bytes) -> None:
    store.write_bytes(store.join(local_root, LEASE), content)
    assert run(local_root).attempt.startswith("a1-")


def test_a_number_that_another_process_has_now_is_no_sign_of_life(local_root: str) -> None:
    own = ledger_lease.lease_of("a1-before")
    write_lease(local_root, host=own.host, process=1, process_began="long ago")
    run(local_root)


def test_a_lease_is_renewed_while_the_work_goes_on(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_lease, "HEARTBEAT", 0.01)
    address = store.join(local_root, LEASE)

    def work(attempt: Attempt) -> StageResult:
        before = ledger_lease.living(store.join(local_root, FOLDER))
        ended = time.monotonic() + 10
        while ledger_lease.living(store.join(local_root, FOLDER)) == before:
            assert time.monotonic() < ended
        store.remove(address)  # and comes back if it is lost
        while not store.exists(address):
            assert time.monotonic() < ended
        return StageResult()

    run(local_root, work)
    assert not store.exists(address)


def test_without_room_for_a_lease_the_work_is_done(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = store.write_bytes

    def full(address: str, data: bytes, **options: bool) -> None:
        if str(address).endswith("lease.json"):
            raise OSError(28, "No space left on device")
        write(address, data, **options)

    monkeypatch.setattr(store, "write_bytes", full)
    assert run(local_root) == Ledger(local_root).committed(TIME, "analysis")


def test_a_lease_that_ends_is_at_no_time_that_of_a_dead_process(
    local_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, seen = store.remove, list[bool]()

    def watched(address: str) -> None:
        seen.append(ledger_lease.dead(local_root) is None)
        remove(address)
        seen.append(ledger_lease.dead(local_root) is None)

    monkeypatch.setattr(store, "remove", watched)
    with ledger_lease.kept(local_root, ledger_lease.lease_of("a")):
        assert ledger_lease.living(local_root)
    assert seen == [True, True]
    assert ledger_lease.living(local_root) is None
