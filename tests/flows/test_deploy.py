"""`losda deploy` on a Prefect server: everything once, and nothing twice."""

import asyncio
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from pydantic import ValidationError

from configs.deployment import HEARTBEAT, DeploymentFile
from flows import server
from flows.automations import standing, wake
from flows.deployments import read_file
from tasks.announcing import resource_id

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]


@pytest.fixture
def deploy(losda: Losda, api: server.PrefectApi, monkeypatch: pytest.MonkeyPatch) -> Losda:
    """Deploy and return the changes by name."""
    monkeypatch.setenv("PREFECT_API_URL", api.url)
    return lambda *arguments: losda("deploy", *arguments)


def changes(found: tuple[int, str, str]) -> dict[str, str]:
    code, out, err = found
    assert code == 0, err
    return {c["kind"] + " " + c["name"]: c["change"] for c in json.loads(out)["changes"]}


def test_the_second_time_nothing_changes(deploy: Losda) -> None:
    first = changes(deploy("--json"))
    assert {"deployment drive/cpu", "deployment cycle/gpu", "work pool gpu"} <= set(first)
    for kind in ("late", "failed", "stalled", "zombie"):
        assert f"automation losda: {kind} run" in first
    assert set(changes(deploy("--json")).values()) == {"unchanged"}


def test_what_somebody_changed_is_put_right_and_said(deploy: Losda) -> None:
    changes(deploy("--json"))

    async def meddle() -> None:
        async with get_client() as client:
            queue = await client.read_work_queue_by_name("verify", work_pool_name="cpu")
            await client.update_work_queue(queue.id, concurrency_limit=77)

    asyncio.run(meddle())
    dry = deploy("--json", "--dry-run")
    assert changes(dry)["work queue cpu/verify"] == "changed"
    found = json.loads(deploy("--json")[1])["changes"]
    changed = [c for c in found if c["change"] != "unchanged"]
    assert [(c["name"], c["what"]) for c in changed] == [("cpu/verify", "concurrency_limit")]
    code, out, _ = deploy()
    assert code == 0 and "work queue cpu/verify" in out and "unchanged" in out


def test_an_experiment_has_one_schedule(deploy: Losda, tiny: "Tiny", tmp_path: Path) -> None:
    root = tmp_path / "scheduled"
    found = changes(deploy(tiny.config, "--out", root, "--json"))
    assert found["schedule scheduled"] == "created"
    assert found["automation losda: wake scheduled"] == "created"
    assert set(changes(deploy(root, "--json")).values()) == {"unchanged"}
    assert (
        changes(deploy(root, "--cron", "0 * * * *", "--json"))["schedule scheduled"] == "changed"
    )
    assert _experiments() == {"scheduled": str(root)}
    code, _, err = deploy(
        *(tiny.config, "--out", tmp_path / "x" / "scheduled"), "--set", "seed=7", "--json"
    )
    assert code == 2 and f"{root} is driven under this name" in err
    assert set(changes(deploy(root, "--remove", "--json")).values()) == {"removed"}
    code, _, err = deploy(root, "--remove", "--json")
    assert code == 2 and "the server has no schedule of this experiment" in err


def _experiments() -> dict[str | None, str]:
    """Return which experiment each schedule of the drive is about."""

    async def read() -> dict[str | None, str]:
        async with get_client() as client:
            there = await client.read_deployment_by_name("drive/cpu")
            return {s.slug: s.parameters["experiment"] for s in there.schedules}

    return asyncio.run(read())


def test_whom_it_notifies_it_goes_on_to_notify(deploy: Losda) -> None:
    from prefect.blocks.notifications import SlackWebhook
    from pydantic import SecretStr

    url = "https://hooks.example/pl4nted-Passw0rd"
    changes(deploy("--json"))
    SlackWebhook(url=SecretStr(url)).save("ops", overwrite=True, _sync=True)  # type: ignore[call-arg]
    found = changes(deploy("--notify", "slack-webhook/ops", "--json"))
    assert found["automation losda: failed run"] == "changed"
    assert set(changes(deploy("--json")).values()) == {"unchanged"}

    async def kept() -> str:
        async with get_client() as client:
            there = await client.read_automations_by_name("losda: failed run")
            return there[0].model_dump_json()

    text = asyncio.run(kept())
    assert "send-notification" in text and url not in text
    code, _, err = deploy("--notify", "slack-webhook/nobody")
    assert code == 2 and "no such block" in err


def test_without_a_server_it_says_what_is_missing(
    losda: Losda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", "/nonexistent")
    code, out, err = losda("deploy", "--json")
    assert (code, out) == (2, "") and "PREFECT_API_URL is not set" in err and "losda up" in err
    code, _, err = losda("wake", "/nonexistent/e")
    assert code == 2 and "PREFECT_API_URL" in err


def test_entrypoints_are_flows_of_their_names_with_checked_parameters() -> None:
    for spec in read_file().deployments:
        module, _, name = spec.entrypoint.rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        assert isinstance(flow, Flow) and flow.name == spec.flow_name
        assert flow.should_validate_parameters and "losda" in spec.tags
        assert spec.work_pool.job_variables["env"] == {
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT)
        }


def test_a_wake_up_while_another_drives_loads_nothing_heavy() -> None:
    code = "import sys, flows.deployed; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_a_forecast_does_not_wait_for_what_draws_to_be_loaded() -> None:
    code = "import sys, flows.deployed, flows.driving; print('matplotlib' in sys.modules)"
    done = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiment": "relative/path", "cycle": "20010103T00"},
        {"experiment": "s3://key:secret@bucket/e", "cycle": "20010103T00"},
        {"experiment": "/e", "cycle": "2001-01-03"},
        {"experiment": "/e", "cycle": "20010103T00", "stages": ["everything"]},
        {"experiment": "/e", "cycle": "20010103T00", "attempt": 0},
    ],
)
def test_parameters_of_a_run_are_checked(wrong: dict[str, object]) -> None:
    from prefect.exceptions import ParameterTypeError

    from flows.deployed import cycle

    with pytest.raises(ParameterTypeError):
        cycle.validate_parameters(wrong)


def test_a_deployment_on_a_queue_that_is_not_there_is_refused() -> None:
    document = read_file().model_dump(mode="json")
    document["deployments"][0]["work_pool"]["work_queue_name"] = "nowhere"
    with pytest.raises(ValidationError, match="no queue cpu/nowhere; allowed: cpu/drive"):
        DeploymentFile.model_validate(document)


def test_zombies_are_told_from_runs_by_three_heartbeats() -> None:
    zombie = next(a for a in standing(None) if "zombie" in a.name)
    assert zombie.trigger.within.total_seconds() == 3 * HEARTBEAT


def test_what_the_drive_ingests_does_not_wake_it() -> None:
    from uuid import uuid4

    automation = wake("e", "s3://b/e", uuid4())
    match = automation.trigger.match
    assert match["losda.driven"] == ["no"]
    assert match["prefect.resource.id"] == [resource_id("s3://b/e")]
