"""`losda up` for real: PostgreSQL, S3, workers, and cycles through them; `make services`.

Every process is real: PostgreSQL and SeaweedFS, the Prefect server behind its password, two workers,
a drive woken by cron, one that an event wakes. A secret is planted everywhere and looked for.
"""

import json
import os
import signal
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.running_services import RunningServices

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.services

SETTINGS = (
    *("--set", "operations.clock.kind=mapped", "--set", "operations.clock.rate=1e6"),
    *("--set", "operations.clock.at=2020-01-01T00:00", "--set", "operations.retry_after=PT1S"),
)
PATIENCE = 600


def complete(services: RunningServices, root: str) -> int:
    """Return the number of complete cycles."""
    return int(services.losda("status", root)["complete"])


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:  # noqa: ANN401
    ended = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ended, "nothing happened"
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def services(environment: dict[str, str]) -> Iterator[RunningServices]:
    from tasks.ports import free_ports

    # pytest's own folders are closed to the database's user
    with tempfile.TemporaryDirectory(prefix="losda-up-") as folder:
        Path(folder).chmod(0o755)
        port = free_ports(("server",))["server"]
        found = RunningServices(Path(folder) / "services", environment, port, "postgresql")
        yield found
        found.stop()


def test_the_server_asks_for_its_password(services: RunningServices) -> None:
    assert services.document["database"] == "postgresql"
    assert "password" not in services.document
    assert services.ask("/work_pools/filter", {})
    with pytest.raises(urllib.error.HTTPError, match="401"):
        services.ask("/work_pools/filter", {}, password="guess")
    pools = {pool["name"] for pool in services.ask("/work_pools/filter", {})}
    assert {"cpu", "gpu"} <= pools


def test_cron_drives_cycles_on_s3_and_an_event_the_next(
    services: RunningServices, tiny: "Tiny"
) -> None:
    root = "s3://losda/cron"
    end = ("--set", "operations.end=2001-01-03T06:00")
    services.losda("deploy", tiny.config, "--out", root, *SETTINGS, *end, "--cron", "* * * * *")
    wait_for(lambda: complete(services, root) == 2)
    never = ("--cron", "0 0 29 2 *", "--set", "operations.end=2001-01-03T12:00")
    services.losda("deploy", root, *never)
    services.losda("wake", root)
    wait_for(lambda: complete(services, root) == 3)
    body = {"filter": {"event": {"name": ["losda.analysis.committed"]}}, "limit": 50}
    cycles = [e["payload"]["cycle"] for e in services.ask("/events/filter", body)["events"]]
    assert sorted(cycles) == ["20010103T00", "20010103T06", "20010103T12"]
    runs = services.ask("/flow_runs/filter", {"flows": {"name": {"any_": ["cycle"]}}})
    assert len(runs) == 3 and all(run["work_pool_name"] == "gpu" for run in runs)


def test_services_that_are_killed_come_back_and_lose_nothing(
    services: RunningServices, tiny: "Tiny"
) -> None:
    root = "s3://losda/killed"
    end = ("--set", "operations.end=2001-01-03T06:00")
    services.losda("deploy", tiny.config, "--out", root, *SETTINGS, *end, "--cron", "* * * * *")
    time.sleep(20)
    before = services.children()
    for process in before.values():
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: len(services.children()) == len(before))
    assert not set(services.children().values()) & set(before.values())
    wait_for(lambda: _quietly(lambda: complete(services, root)) == 2)


def _quietly(ask: Callable[[], int]) -> int:
    try:
        return ask()
    except AssertionError:  # the S3 server is coming back
        return 0


def test_no_secret_is_in_logs_records_or_objects(services: RunningServices) -> None:
    secrets = [
        services.secrets[name]
        for name in ("PREFECT_PASSWORD", "POSTGRES_PASSWORD", "AWS_SECRET_ACCESS_KEY")
    ]
    paged = {
        "/logs/filter": {"limit": 200},
        "/flow_runs/filter": {"limit": 200},
        "/task_runs/filter": {"limit": 200},
        "/artifacts/filter": {"limit": 200},
        "/deployments/filter": {},
        "/automations/filter": {},
        "/variables/filter": {},
        "/work_pools/filter": {},
    }
    texts = {path: json.dumps(services.ask(path, body)) for path, body in paged.items()}
    texts["/events"] = json.dumps(services.ask("/events/filter", {"filter": {}, "limit": 50}))
    assert len(texts["/logs/filter"]) > 1000
    allowed = {services.folder / "environment"}
    for path in services.folder.rglob("*"):
        if path.is_file() and path not in allowed:
            texts[str(path)] = path.read_bytes().decode("latin-1")
    assert any("postgres" in name for name in texts) and any("/s3/" in name for name in texts)
    for name, text in texts.items():
        for secret in secrets:
            assert secret not in text, name


def test_at_the_end_nothing_is_left(services: RunningServices) -> None:
    processes = services.children().values()
    assert len(processes) == 5
    assert services.stop() == 0
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
