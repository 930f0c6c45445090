"""The automations on a Prefect server of their own: each is seen to fire, and to leave others alone."""

import asyncio
import http.server
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed, Pending, Running, Scheduled, State
from prefect.types._datetime import now

from flows import automations, server
from tasks.ports import free_ports

Losda = Callable[..., tuple[int, str, str]]
PATIENCE = 180
SHORTEST = timedelta(seconds=10)
"""The least that Prefect lets an automation wait for something that does not happen."""


@flow
def nothing() -> None:
    """Has runs whose states are set from outside."""


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, list[str]]]:
    """The address of somebody who is notified, and what he was told."""
    texts: list[str] = []

    class Somebody(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Somebody)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_address[1]}/", texts
    listener.shutdown()
    listener.server_close()


@pytest.fixture(scope="module")
def triggering(
    api: server.PrefectApi,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a server with all its services, as `losda up` starts it, but less patient."""
    port, home = free_ports(("server",))["server"], tmp_path_factory.mktemp("triggering")
    copy_database(Path(environment["PREFECT_HOME"]), home)
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
        **server.QUIET,
    }
    command = (
        *(sys.executable, "-m", "uvicorn", "--factory", "--log-level", "error"),
        *("--port", str(port), "flows.server:create_app"),
    )
    process = subprocess.Popen(command, env=environment | own)
    url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(lambda: server.PrefectApi(url)._answers())
        yield url
    finally:
        process.terminate()
        process.wait(60)


def copy_database(source: Path, target: Path) -> None:
    """Copy the database of a server that runs: to make a new one takes much longer."""
    with (
        closing(sqlite3.connect(source / "prefect.db")) as old,
        closing(sqlite3.connect(target / "prefect.db")) as new,
    ):
        old.backup(new)


@pytest.fixture
def deploy(
    triggering: str,
    told: tuple[str, list[str]],
    losda: Losda,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., None]]:
    """Let the server have the automations of `losda deploy`, some of which wait less long."""

    def command(**shorter: object) -> None:
        for name, value in shorter.items():
            monkeypatch.setattr(automations, name, value)
        code, _, err = losda("deploy", "--notify", "custom-webhook/ops", "--json")
        assert code == 0, err

    with at(triggering, monkeypatch):
        block = CustomWebhookNotificationBlock(
            name="ops", url=told[0], json_data={"text": "{{subject}}: {{body}}"}, secrets={}
        )
        block.save("ops", overwrite=True)
        yield command


@contextmanager
def at(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Talk to a server."""
    with monkeypatch.context() as patch, temporary_settings({PREFECT_API_URL: url}):
        patch.setenv("PREFECT_API_URL", url)
        yield


def wait_for(condition: Callable[[], object]) -> None:
    ended = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ended, "nothing happened"
        time.sleep(0.5)


def ask(question: Callable[[PrefectClient], Awaitable[object]]) -> object:
    """Ask the server."""

    async def asked() -> object:
        async with get_client() as client:
            return await question(client)

    return asyncio.run(asked())


def run_in(state: State, name: str, *tags: str) -> UUID:
    """Make a run and bring it to a state, return its id."""

    async def make(client: PrefectClient) -> UUID:
        begin = state if state.is_scheduled() else None
        made = await client.create_flow_run(nothing, name=name, tags=tags, state=begin)
        if begin is None:
            await client.set_flow_run_state(made.id, Running(), force=True)
            if not state.is_running():
                await client.set_flow_run_state(made.id, state, force=True)
        return made.id

    found = ask(make)
    assert isinstance(found, UUID)
    return found


def state_of(run: UUID) -> str:
    async def read(client: PrefectClient) -> str:
        state = (await client.read_flow_run(run)).state
        return "" if state is None else state.type.value

    return str(ask(read))


def heartbeat_of(run: UUID) -> None:
    """Send the sign of life that Prefect's engine sends for a run with the tag `losda`."""
    tag = {"prefect.resource.id": "prefect.tag.losda", "prefect.resource.role": "tag"}
    event = Event(
        event="prefect.flow-run.heartbeat",
        resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run}"}),
        related=[RelatedResource(tag)],
    )

    async def send(client: PrefectClient) -> None:
        answer = await client._client.post("/events", json=[event.model_dump(mode="json")])
        answer.raise_for_status()

    ask(send)


def test_somebody_is_told_of_runs_that_are_late_or_fail_and_of_no_others(
    deploy: Callable[..., None], told: tuple[str, list[str]]
) -> None:
    deploy()
    run_in(Failed(message="unknown"), "not-ours")
    run_in(Failed(message="the disk is full"), "20050101T00", "losda")
    run_in(Scheduled(scheduled_time=now() - timedelta(minutes=10)), "20050101T06", "losda")
    texts = told[1]
    wait_for(lambda: len(texts) >= 2)
    failed, late = sorted((json.loads(text)["text"] for text in texts), reverse=True)
    if "is late" in failed:
        failed, late = late, failed
    assert "20050101T00 failed" in failed and "the disk is full" in failed
    assert "20050101T06 is late" in late
    assert not any("not-ours" in text for text in texts)


def test_a_cycle_that_does_not_end_is_cancelled_and_a_drive_is_not(
    deploy: Callable[..., None],
) -> None:
    deploy(STALLED=SHORTEST)
    cycle = run_in(Running(), "20050101T00", "losda", "cycle")
    drive = run_in(Running(), "drive", "losda", "drive")
    wait_for(lambda: state_of(cycle) in ("CANCELLING", "CANCELLED"))
    assert state_of(drive) == "RUNNING"


def test_a_run_without_a_sign_of_life_is_crashed_and_one_with_it_goes_on(
    deploy: Callable[..., None],
) -> None:
    deploy(HEARTBEAT=2 * SHORTEST.total_seconds() / 3)  # a slow server sees heartbeats late
    alive = run_in(Running(), "alive", "losda")
    heartbeat_of(alive)
    zombie = run_in(Running(), "zombie", "losda")
    heartbeat_of(alive)
    dead = run_in(Running(), "dead before its first one", "losda")
    heartbeat_of(zombie)

    def crashed(run: UUID) -> bool:
        heartbeat_of(alive)
        return state_of(run) == "CRASHED"

    for run in (zombie, dead):
        wait_for(lambda run=run: crashed(run))
    assert state_of(alive) == "RUNNING"


def test_a_run_that_a_worker_took_and_did_not_begin_is_crashed(
    deploy: Callable[..., None],
) -> None:
    deploy(LOST=SHORTEST)
    lost = run_in(Pending(), "lost", "losda")
    wait_for(lambda: state_of(lost) == "CRASHED")
