"""What `losda up` keeps running, with small processes instead of servers."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import credentials
from flows.supervisor import Service, Supervisor

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
CODE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
PARENT = (sys.executable, "-c", CODE)


def service(name: str, command: tuple[str, ...] = SLEEP) -> Service:
    return Service(name, command, dict(os.environ), lambda: True)


def is_alive(process: int) -> bool:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    ended = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ended
        time.sleep(0.02)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(tmp_path / "logs")
    yield found
    found.stop()


def test_what_dies_is_started_again(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.start(service("one"), service("two"))
    first, other = (child.process.pid for child in supervisor.children)
    os.kill(first, signal.SIGKILL)
    looks = iter(range(600))
    supervisor.keep(
        lambda seconds: (
            time.sleep(seconds)
            or supervisor.children[0].process.pid != first
            or next(looks, None) is None
        )
    )
    assert is_alive(supervisor.children[0].process.pid)
    assert supervisor.children[1].process.pid == other
    assert "one ended (SIGKILL)" in capsys.readouterr().err


def test_what_dies_again_and_again_waits_longer_and_longer(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.start(service("one"))
    child, now = supervisor.children[0], [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    child.began, waits = now[0], []
    for _ in range(7):
        child.process.kill()
        child.process.wait()
        supervisor._look_after(child)
        assert child.again_at is not None
        waits.append(child.again_at - now[0])
        now[0] = child.again_at
        supervisor._look_after(child)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_log_that_grows_without_end_takes_no_more_than_twice_its_bound(
    supervisor: Supervisor,
) -> None:
    code = "import sys, time\nfor n in range(10**6): print(n, flush=True); time.sleep(1e-4)"
    supervisor.start(service("talker", (sys.executable, "-c", code)))
    log, before = supervisor.logs / "talker.log", supervisor.logs / "talker.log.1"
    largest = 0
    for _ in range(3):
        wait_for(lambda: log.stat().st_size > 2000)
        supervisor.turn_logs(2000)
        largest = max(largest, log.stat().st_size)
    assert largest < 2000 < before.stat().st_size
    wait_for(lambda: log.stat().st_size > 100)
    first = log.read_text().splitlines()[1]
    assert int(first) > int(before.read_text().splitlines()[-2])
    supervisor.turn_logs(10**9)
    assert log.stat().st_size > 100


def test_at_the_end_nothing_is_left_not_even_grandchildren(tmp_path: Path) -> None:
    other = subprocess.Popen((sys.executable, "-c", "import time; time.sleep(600)"))
    supervisor = Supervisor(tmp_path / "logs")
    supervisor.start(service("parent", PARENT))
    log = tmp_path / "logs" / "parent.log"
    wait_for(lambda: log.read_text().strip())
    child, grandchild = supervisor.children[0].process.pid, int(log.read_text())
    assert is_alive(child) and is_alive(grandchild)
    supervisor.stop()
    assert not is_alive(child) and not is_alive(grandchild)
    assert other.poll() is None  # not of the supervisor
    other.kill()
    other.wait()


def test_children_end_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os, time
        from pathlib import Path
        from flows.supervisor import Service, Supervisor
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        supervisor.start(Service("one", {SLEEP!r}, dict(os.environ), lambda: True))
        print(supervisor.children[0].process.pid, flush=True)
        time.sleep(600)
    """)
    repository = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        (sys.executable, "-c", code), stdout=subprocess.PIPE, text=True, cwd=repository
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert is_alive(child)
    process.kill()
    process.communicate()
    wait_for(lambda: not is_alive(child))


def test_a_service_that_does_not_start_says_why(supervisor: Supervisor) -> None:
    broken = (sys.executable, "-c", "raise SystemExit('the port is taken')")
    with pytest.raises(ConnectionError, match="one did not start: the port is taken"):
        supervisor.start(Service("one", broken, dict(os.environ), lambda: False))


def test_passwords_are_made_once_and_only_for_their_owner(tmp_path: Path) -> None:
    names = ("PREFECT_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    made, is_new = credentials.read_or_make(tmp_path, names)
    assert is_new and len(set(made.values())) == 2 and min(map(len, made.values())) >= 32
    path = credentials.write(tmp_path, made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert credentials.read_or_make(tmp_path, names) == (made, False)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="mode 644; allowed is 600"):
        credentials.read_or_make(tmp_path, names)
