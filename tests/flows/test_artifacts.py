"""What a run and a drive leave in Prefect: tags and artifacts; and that they harm nothing."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows import artifacts as shown
from flows.artifacts import page_address
from tests.chaos import archive_of

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")
FAST = ("--set", "operations.clock.kind=mapped", "--set", "operations.clock.rate=1e6")
PAST = (*FAST, "--set", "operations.clock.at=2020-01-01T00:00")


def runs_of(name: str) -> list[Any]:
    """Return the flow runs with the tag of an experiment, oldest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters, sorting

    tag = filters.FlowRunFilterTags(all_=[f"experiment:{name}"])
    with get_client(sync_client=True) as client:
        return list(
            client.read_flow_runs(
                flow_run_filter=filters.FlowRunFilter(tags=tag),
                sort=sorting.FlowRunSort.START_TIME_ASC,
            )
        )


def artifacts_of(run: Any) -> list[Any]:  # noqa: ANN401
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters

    own = filters.ArtifactFilter(flow_run_id=filters.ArtifactFilterFlowRunId(any_=[run.id]))
    with get_client(sync_client=True) as client:
        return list(client.read_artifacts(artifact_filter=own))


@pytest.fixture
def named(losda: Losda, tiny: "Tiny", tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Run or drive the tiny experiment under a name of its own."""

    def start(command: str, name: str, *arguments: object) -> tuple[int, str, str]:
        out = ("--out", tmp_path / "e", "--set", f"name={name}")
        return losda(command, tiny.config, *out, *arguments)

    return start


def test_a_run_shows_its_cycles_by_tags_tables_and_pictures(named: Losda, tmp_path: Path) -> None:
    code, _, err = named("run", "Seen_1", "--no-report")
    assert code == 0, err
    (run,) = runs_of("Seen_1")
    assert run.name == "Seen_1-losda" and "method:losda" in run.tags
    found: dict[str, list[Any]] = {}
    for artifact in artifacts_of(run):
        found.setdefault(artifact.key, []).append(artifact)
    assert {key: len(these) for key, these in found.items()} == {
        "seen-1-progress": 1,
        "seen-1-pages": 1,
        "seen-1-observations": 3,
        "seen-1-pictures": 3,
        "seen-1-scores": 3,
        "seen-1-means": 1,
    }
    assert found["seen-1-progress"][0].data == 100.0
    for number, cycle in enumerate(CYCLES):
        for kind in ("observations", "pictures", "scores"):
            texts = sorted(one.description for one in found[f"seen-1-{kind}"])
            assert cycle in texts[number]
    assert found["seen-1-pictures"][0].data.count("](data:image/svg+xml;base64,") == 2
    assert "monitor.html" in found["seen-1-pages"][0].data
    rows = json.loads(found["seen-1-observations"][0].data)
    assert {row["variable"] for row in rows} == {"t", "msl"} and rows[0]["expected RMS"] != "–"


def test_each_cycle_of_a_drive_is_a_flow_run_with_its_name_tags_and_artifacts(
    named: Losda, tmp_path: Path
) -> None:
    code, _, err = named("drive", "driven", "--cycles", 1, *PAST)
    assert code == 0, err
    runs = runs_of("driven")
    assert {run.name for run in runs} == {f"driven-{CYCLES[0]}"}
    assert all(f"cycle:{CYCLES[0]}" in run.tags for run in runs)
    keys = {artifact.key for run in runs for artifact in artifacts_of(run)}
    assert {"driven-pictures", "driven-scores", "driven-observations"} <= keys
    assert all(a.data == 100.0 for run in runs for a in artifacts_of(run) if a.type == "progress")


@pytest.mark.parametrize("how", ["raise", "hang"])
def test_artifacts_that_fail_or_hang_keep_no_cycle_from_being_made(
    named: Losda,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    calls = []

    end = threading.Event()

    def wrong(*given: object) -> None:
        calls.append(given)
        if how == "hang":
            end.wait(120)
        raise RuntimeError("the server says no")

    monkeypatch.setattr(shown, "create", wrong)
    monkeypatch.setattr(shown, "PATIENCE", 1.0)
    began = time.perf_counter()
    code, _, err = named("run", "tiny", "--no-report")
    assert code == 0, err
    assert calls and time.perf_counter() - began < 100
    end.set()
    assert err.count("the server says no") == (how == "raise")
    assert archive_of(tmp_path / "e") == archive_of(finished)


def test_pages_are_linked_where_they_are_or_where_they_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOSDA_PAGES", raising=False)
    assert page_address("/data/e", "monitor.html") == "file:///data/e/monitor.html"
    assert page_address("s3://bucket/e", "report.html") == "s3://bucket/e/report.html"
    monkeypatch.setenv("LOSDA_PAGES", "https://weather.example/experiments/")
    served = "https://weather.example/experiments/e/report.html"
    assert page_address("s3://bucket/e", "report.html") == served
