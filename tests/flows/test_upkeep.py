"""`losda rerun` and `losda gc`, a full disk, and two runs of one experiment."""

import errno
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tasks import ledger_lease, store, work
from tasks.experiment import STAGES, cycle_time
from tasks.ledger_rerun import reopen
from tasks.plan import Plan
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]

CYCLES = ("20010103T00", "20010103T06", "20010103T12")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def run(losda: Losda, tiny: "Tiny") -> Losda:
    def start(root: Path, *arguments: object) -> tuple[int, str, str]:
        return losda("run", tiny.config, "--out", root, "--no-report", *arguments)

    return start


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


@pytest.fixture
def fewer_observations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half of the observations of a cycle be missing."""
    import tasks.ingest

    draw = tasks.ingest.draw
    monkeypatch.setattr(tasks.ingest, "draw", lambda *given: draw(*given).iloc[::2])


def reopened(out: str) -> list[tuple[str, str]]:
    return [(one["cycle_time"][:13], one["stage"]) for one in json.loads(out)["reopened"]]


def test_a_rerun_reopens_and_the_next_run_ends_with_the_same_archive(
    losda: Losda, run: Losda, copy: Path
) -> None:
    before = archive_of(copy)
    command = ("rerun", copy, CYCLES[1], "--stage", "analysis", "--reason", "a test")
    code, out, _ = losda(*command, "--dry-run", "--json")
    assert code == 0 and len(reopened(out)) == 5
    assert not list(copy.glob("ledger/*/*reopened*"))
    assert losda(*command, "--json")[1].replace("false", "true") == out
    status = json.loads(losda("status", copy, "--json")[1])
    assert [cycle["published"] for cycle in status["cycles"]] == [True, False, False]
    assert (status["committed"], status["stale"]) == (7, 0)
    assert run(copy)[0] == 0
    assert archive_of(copy) == before
    assert len(list(copy.glob("ledger/*/*.2.json"))) == 5


def test_the_archive_follows_a_rerun_with_other_observations(
    losda: Losda, run: Losda, copy: Path, fewer_observations: None
) -> None:
    before = archive_of(copy)
    assert losda("rerun", copy, CYCLES[1], "--stage", "observations")[0] == 0
    assert run(copy)[0] == 0
    changed = {name for name, data in archive_of(copy).items() if before[name] != data}
    tables = {f"{folder}/{c}.parquet" for folder in ("scores", "feedback") for c in CYCLES[1:]}
    fields = {f"analysis.zarr/{name}" for name in ("t/c.1.0.0.0", "t/c.2.0.0.0")}
    assert tables | fields <= changed
    assert not any(CYCLES[0] in name or "/c.0." in name for name in changed)
    assert "background.zarr/t/c.1.0.0.0" not in changed
    counts = [len(pd.read_parquet(copy / "feedback" / f"{cycle}.parquet")) for cycle in CYCLES]
    assert counts[1] == (counts[0] + 1) // 2
    assert json.loads(losda("status", copy, "--json")[1])["complete"] == 3


def test_a_rerun_of_one_stage_leaves_the_others_stale_only_if_it_comes_out_other(
    losda: Losda, run: Losda, copy: Path, request: pytest.FixtureRequest
) -> None:
    command = ("rerun", copy, CYCLES[1], "--stage", "observations", "--only")
    assert losda(*command)[0] == 0
    assert run(copy)[0] == 2  # the analysis was made from what is open now
    request.getfixturevalue("fewer_observations")
    assert losda("rerun", copy, "--stale", "--stage", "analysis")[0] == 0
    assert run(copy)[0] == 0


def test_a_run_with_changed_code_goes_on_after_a_rerun_of_what_is_stale(
    losda: Losda, run: Losda, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.runtime import _build

    before = archive_of(copy)
    monkeypatch.setattr("tasks.plan.code_digest", lambda: "another")
    _build.cache_clear()
    code, _, err = run(copy)
    assert code == 2 and "losda rerun --stale" in err
    assert len(reopened(losda("rerun", copy, "--stale", "--json")[1])) == 12
    assert run(copy)[0] == 0
    assert archive_of(copy) == before
    _build.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["20010103T18"], ["20010103T18", "20010103T00 to 20010103T12"]),
        (["yesterday"], ["'yesterday'", "allowed"]),
        ([], ["which cycle", "--stale"]),
        (["20010103T00", "--stage", "analyses"], ["'analyses'", "analysis"]),
    ],
)
def test_what_cannot_be_reopened_is_said_in_one_line(
    losda: Losda, finished: Path, arguments: list[str], words: list[str]
) -> None:
    code, out, err = losda("rerun", finished, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert all(word in err for word in words), err


def test_a_run_goes_back_to_cycles_that_are_reopened_meanwhile(
    losda: Losda, run: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, verify, asked = tmp_path / "e", work.verify_work, threading.Event()

    def verify_and_reopen(runtime: object, time: pd.Timestamp, attempt: object) -> object:
        if time == cycle_time(CYCLES[1]) and not asked.is_set():
            asked.set()
            wanted = [(time, "analysis"), (cycle_time(CYCLES[0]), "verification")]
            list(reopen(Plan.read(str(root)), wanted, "in the midst"))
        return verify(runtime, time, attempt)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "verify_work", verify_and_reopen)
    code, _, err = run(root)
    assert code == 0, err
    assert archive_of(root) == archive_of(finished)
    remade = {path.name for path in root.glob("ledger/*/*.2.json")}
    assert {"analysis.2.json", "verification.2.json"} <= remade


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


@pytest.mark.parametrize("full", ["write_bytes", "create_exclusive"])
@pytest.mark.parametrize("stage", ["observations", "analysis"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    run: Losda, finished: Path, tmp_path: Path, full: str, stage: str
) -> None:
    root, write = tmp_path / "e", getattr(store, full)

    def fail(address: object, data: bytes, **options: object) -> object:
        if f"20010103T06/{stage}" in str(address):
            raise OSError(errno.ENOSPC, "No space left on device", str(address))
        return write(address, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, full, fail)
        for module in ("tasks.assimilate", "tasks.tables"):
            patch.setattr(f"{module}.write_bytes", fail, raising=False)
        for task in (work.ingest, work.assimilate):
            patch.setattr(task, "retries", 0)
        code, out, err = run(root, "--json")
    assert (code, out) == (1, "")
    lines = [line for line in err.splitlines() if line.startswith("losda: ")]
    assert len(lines) == 1 and "No space left on device" in lines[0] and stage in lines[0]
    assert "Traceback" not in err
    assert not (root / "ledger" / CYCLES[1] / f"{stage}.json").exists()
    assert (root / "ledger" / CYCLES[0] / f"{stage}.json").exists()
    assert run(root)[0] == 0
    assert archive_of(root) == archive_of(finished)


def test_a_run_waits_for_another_and_takes_over_when_that_one_dies(
    run: Losda, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_lease, "EXPIRES", 2.0)
    root = tmp_path / "e"
    lease = ledger_lease.lease_of("a1-there").model_copy(update={"host": "elsewhere"})
    path = root / "attempts" / CYCLES[0] / STAGES[0] / "lease.json"
    store.write_bytes(path, lease.model_dump_json().encode())
    code, _, err = run(root)
    assert code == 0
    waiting = [line for line in err.splitlines() if line.endswith("waiting for it")]
    assert len(waiting) == 1 and "forecast of cycle 20010103T00" in waiting[0]
    assert "elsewhere" in waiting[0]
    assert archive_of(root) == archive_of(finished)


def test_two_runs_of_one_experiment_share_the_work(
    losda_process: Callable[..., object], tiny: "Tiny", finished: Path, tmp_path: Path
) -> None:
    root = tmp_path / "e"
    command = ("run", tiny.config, "--out", root, "--no-report", "--json")
    runs = [losda_process(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in runs]  # type: ignore[attr-defined]
    assert [process.returncode for process in runs] == [0, 0], outputs  # type: ignore[attr-defined]
    assert all(err.count("waiting for it") <= 1 for _, err in outputs), outputs
    means = [json.loads(out)["mean"] for out, _ in outputs]
    assert means[0] == means[1]
    assert archive_of(root) == archive_of(finished)
    assert not list(root.glob("attempts/*/*/lease.json"))
