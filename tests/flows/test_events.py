"""Events of commits: once each, never in the way; and no secret in what a failure leaves."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client

from configs import load
from flows import deployed, server
from tasks import announcing, store, work
from tasks.driver import driving, save_settings
from tasks.experiment import Experiment

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
PASSWORD = "pl4nted-Passw0rd"


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """What is told to Prefect from now on: name, resource, payload and id."""
    found: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def emit(event: str, resource: dict[str, str], **others: Any) -> None:  # noqa: ANN401
        found.append((event, resource, others))

    monkeypatch.setattr(announcing, "emit_event", emit)
    return found


@pytest.fixture
def cycle_of(tiny: "Tiny", tmp_path: Path, api: server.PrefectApi) -> Callable[[], Path]:
    """Run the deployed flow `cycle` for the first cycle; return the experiment."""
    root = tmp_path / "e"
    save_settings(Experiment(root=str(root), config=load(str(tiny.config))))

    def run() -> Path:
        asyncio.run(deployed.cycle(str(root), "20010103T00"))
        return root

    return run


def test_each_commit_is_announced_once(
    cycle_of: Callable[[], Path], events: list[tuple[str, dict[str, str], dict[str, Any]]]
) -> None:
    root = cycle_of()
    assert [event for event, _, _ in events] == [announcing.OBSERVATIONS, announcing.ANALYSIS]
    for _, resource, others in events:
        assert resource["losda.experiment"] == str(root) and resource["losda.driven"] == "no"
        stage = others["payload"]["address"].split("/")[-2]
        commit = json.loads((root / "ledger" / "20010103T00" / f"{stage}.json").read_text())
        assert others["payload"]["attempt"] == commit["attempt"]
    ids = [others["id"] for _, _, others in events]
    cycle_of()
    assert [others["id"] for _, _, others in events] == ids, "what is done is not announced again"


def test_what_a_drive_commits_says_so(
    cycle_of: Callable[[], Path],
    tmp_path: Path,
    events: list[tuple[str, dict[str, str], dict[str, Any]]],
) -> None:
    with driving(str(tmp_path / "e")):
        cycle_of()
    assert {resource["losda.driven"] for _, resource, _ in events} == {"yes"}


def test_an_event_that_cannot_be_sent_fails_no_cycle(
    cycle_of: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **others: object) -> None:
        raise ConnectionError("the server is away")

    monkeypatch.setattr(announcing, "emit_event", fail)
    assert (cycle_of() / "ledger" / "20010103T00" / "analysis.json").exists()


def test_a_failure_leaves_no_secret(
    cycle_of: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)

    def fail(*arguments: object) -> object:
        raise PermissionError(f"http://user:{PASSWORD}@host/b refused the key {PASSWORD}")

    monkeypatch.setattr(work, "assimilate_work", fail)
    with pytest.raises(OSError, match=r"refused the key \*\*\*") as error:
        cycle_of()
    assert PASSWORD not in str(error.value)

    async def records() -> str:
        async with get_client() as client:
            found = [await client.read_flow_runs(), await client.read_task_runs()]
            found.append(await client.read_logs())
            return str(found)

    text = asyncio.run(records())
    assert "refused the key ***" in text and PASSWORD not in text
    for path in (tmp_path / "e").rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.s3
def test_no_object_of_an_experiment_holds_the_key(
    losda: Losda, tiny: "Tiny", s3_root: str
) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    code, _, err = losda("run", tiny.config, "--out", s3_root, "--cycles", 1)
    assert code == 0, err
    names = store.files(s3_root)
    assert "experiment.yaml" in names and "report.html" in names
    for name in names:
        assert secret.encode() not in store.read_bytes(store.join(s3_root, name)), name
    assert secret not in err
