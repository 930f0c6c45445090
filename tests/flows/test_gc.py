"""`losda gc`: what nobody needs goes, here and in Prefect, and all goes on."""

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")


def flow_runs(root: Path) -> list[str]:
    """Return the flow runs of an experiment that Prefect knows, of the last 200 of all."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        last = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC)
        found = [run for run in last if "experiment" in run.parameters]
    roots = {r.id: r.parameters["experiment"] for r in found}
    return [str(i) for i, e in roots.items() if isinstance(e, dict) and e["root"] == str(root)]


def deployed_runs(*roots: Path) -> list[str]:
    """Let Prefect know of a run of a deployment that ended, for each address of an experiment."""
    from prefect.client.orchestration import get_client

    made = []
    with get_client(sync_client=True) as client:
        flow = client._client.post("/flows/", json={"name": "cycle"}).json()["id"]
        for root in roots:
            known = {"parameters": {"experiment": str(root)}, "tags": ["experiment:tiny"]}
            asked = {"flow_id": flow, "state": {"type": "RUNNING"}} | known
            run = client._client.post("/flow_runs/", json=asked).json()["id"]
            ended = {"state": {"type": "COMPLETED"}, "force": True}
            client._client.post(f"/flow_runs/{run}/set_state", json=ended)
            made.append(str(run))
    return made


def test_what_prefect_recorded_of_old_runs_goes_and_that_of_others_stays(
    losda: Losda, run: Losda, copy: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert run(copy)[0] == run(other, "--cycles", 1)[0] == 0
    (own,) = flow_runs(copy)
    deployed = deployed_runs(copy, other)
    command = ("gc", copy, "--json", "--keep-runs")
    runs = json.loads(losda(*command, "P1D")[1])["runs"]
    assert runs == {"keep": "P1D", "flow_runs": 0, "artifacts": 0}
    runs = json.loads(losda(*command, "PT0S", "--dry-run")[1])["runs"]
    assert runs["flow_runs"] == 2 and runs["artifacts"] >= 3 and flow_runs(copy) == [own]
    assert json.loads(losda(*command, "PT0S")[1])["runs"] == runs
    assert flow_runs(copy) == [] and len(flow_runs(other)) == 1
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        assert client.read_flow_run(uuid.UUID(deployed[1])).name
        with pytest.raises(ObjectNotFound):
            client.read_flow_run(uuid.UUID(deployed[0]))
        assert not [a for a in client.read_artifacts() if str(a.flow_run_id) == own]
        logs = {"logs": {"flow_run_id": {"any_": [own]}}}
        ended = time.monotonic() + 30
        while client._client.post("/logs/filter", json=logs).json():
            assert time.monotonic() < ended
            time.sleep(0.1)
    assert losda(*command, "PT0S")[0] == 0


def test_gc_keeps_what_the_settings_say_and_an_option_wins(
    losda: Losda, tiny: "Tiny", tmp_path: Path
) -> None:
    root = tmp_path / "e"
    clock = ("kind=mapped", "at=2020-01-01T00:00", "rate=1e6")
    options = [word for one in clock for word in ("--set", f"operations.clock.{one}")]
    rules = ("--set", "operations.retention.attempts=PT6H")
    rules += ("--set", "operations.retention.runs=P2D")
    code, _, err = losda("drive", tiny.config, "--out", root, "--cycles", 3, *options, *rules)
    assert code == 0, err
    document = json.loads(losda("gc", root, "--dry-run", "--json")[1])
    assert (document["keep"], document["runs"]["keep"]) == ("PT6H", "P2D")
    assert {one["cycle_time"] for one in document["removed"]} == {"2001-01-03T00:00:00"}
    document = json.loads(losda("gc", root, "--keep", "P7D", "--dry-run", "--json")[1])
    assert (document["keep"], document["removed"]) == ("P7D", [])


def test_a_server_that_does_not_answer_keeps_nothing_else_from_going(
    losda: Losda, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import recorded

    def away(self: object, restarts: int = 2) -> None:
        raise ConnectionError("the Prefect API does not answer")

    monkeypatch.setattr(recorded.server.PrefectApi, "wait", away)
    code, out, err = losda("gc", copy, "--keep", "PT0S", "--json")
    document = json.loads(out)
    assert code == 1 and "does not answer" in err and err.count("\n") == 1
    assert document["removed"] and "does not answer" in document["runs"]["failed"]


def test_clean_up_frees_what_nobody_needs_and_all_goes_on(
    losda: Losda, run: Losda, copy: Path, tmp_path: Path
) -> None:
    assert run(tmp_path / "whole", "--cycles", 4)[0] == 0
    before = {str(p) for p in copy.rglob("*") if p.is_file()}
    code, out, _ = losda("gc", copy, "--keep", "PT0S", "--dry-run", "--json")
    planned = json.loads(out)
    assert code == 0 and {str(p) for p in copy.rglob("*") if p.is_file()} == before
    assert json.loads(losda("gc", copy, "--json")[1])["removed"] == []
    document = json.loads(losda("gc", copy, "--keep", "PT0S", "--json")[1])
    assert document == planned | {"dry_run": False}
    assert len(document["removed"]) == 6 and document["bytes"] > 10_000
    assert losda("report", copy)[0] == 0
    assert json.loads(losda("status", copy, "--json")[1])["complete"] == 3
    assert run(copy, "--cycles", 4)[0] == 0
    assert archive_of(copy) == archive_of(tmp_path / "whole")
    code, out, _ = losda("gc", copy, "--keep", "PT0S")
    assert code == 0 and "4 attempts" in out and "published" in out
    code, _, err = losda("rerun", copy, CYCLES[2])
    assert code == 2 and f"begin at cycle {CYCLES[0]}" in err


def test_a_keep_time_that_is_none_is_refused(losda: Losda, finished: Path) -> None:
    code, _, err = losda("gc", finished, "--keep=-P1D")
    assert code == 2 and "--keep" in err and "P7D" in err and err.count("\n") == 1
