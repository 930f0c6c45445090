import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    TaskRunFilter,
    TaskRunFilterName,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

from tasks import store

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
VERBS = ("forecast", "ingest", "assimilate", "verify", "publish")
STAGES = {"forecast", "observations", "analysis", "verification"}
ERRORS = {"analysis", "background", "free"}


@pytest.fixture
def document(finished: Path) -> dict[str, Any]:
    return dict(json.loads((finished.parent / "document.json").read_text()))


def test_the_document_has_the_errors_of_every_cycle(document: dict[str, Any]) -> None:
    assert document["method"] == "losda"
    assert [c["cycle_time"][:13] for c in document["cycles"]] == [
        "2001-01-03T00", "2001-01-03T06", "2001-01-03T12",
    ]  # fmt: skip
    for cycle in document["cycles"]:
        assert set(cycle["seconds"]) == STAGES
        assert all(cycle[name] > 0 and cycle[f"{name}_wmse"] > 0 for name in ERRORS)
    assert set(document["mean"]["variables"]) == {"t", "msl"}
    late = document["cycles"][1:]
    for name in ERRORS:
        mean = sum(cycle[name] for cycle in late) / len(late)
        assert document["mean"][name] == pytest.approx(mean)


def test_overhead_is_what_is_neither_model_nor_input_output(document: dict[str, Any]) -> None:
    wall, busy = document["wall_seconds"], document["busy_seconds"]
    stages = sum(sum(cycle["seconds"].values()) for cycle in document["cycles"])
    assert 0 < busy < wall
    assert busy >= 0.9 * stages
    assert document["overhead"] == pytest.approx(1 - busy / wall)


def test_the_archive_is_plain_zarr_and_parquet(finished: dict[str, Any], tmp_path: Path) -> None:
    root = finished
    for name in ("analysis", "background"):
        ds = xr.open_zarr(root / f"{name}.zarr", consolidated=False)
        assert ds["t"].dims == ("time", "level", "latitude", "longitude")
        assert ds.sizes["time"] == 3
        assert ds["t"].attrs["units"] == "K"
        assert bool(ds["t"].notnull().all())
    assert len(list((root / "feedback").iterdir())) == 3
    assert len(list((root / "scores").iterdir())) == 3


def test_standard_output_is_one_json_document_and_progress_is_elsewhere(
    losda: Losda, finished: Path, tiny: "Tiny"
) -> None:
    code, out, err = losda("run", tiny.config, "--out", finished, "--json", "--no-report")
    assert code == 0
    assert json.loads(out)["cycles"][2]["cycle_time"] == "2001-01-03T12:00:00"
    assert "20010103T12  3/3" in err
    code, out, err = losda("run", tiny.config, "--out", finished, "--no-report")
    assert code == 0
    assert "analysis" in out and "msl" in out and str(finished) in out


def test_prefect_recorded_the_run_and_its_tasks_by_name(finished: Path) -> None:
    from prefect.client.orchestration import get_client

    missing = {f"{verb}-20010103T{hour}" for verb in VERBS for hour in ("00", "06", "12")}
    completed = TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.COMPLETED]))
    flow = FlowRunFilter(name=FlowRunFilterName(any_=["tiny-losda"]))
    with get_client(sync_client=True) as client:
        ended = time.monotonic() + 30
        while missing and time.monotonic() < ended:
            for name in sorted(missing):  # other tests made hundreds, an answer has 200 at most
                task = TaskRunFilter(name=TaskRunFilterName(any_=[name]), state=completed)
                if client.read_task_runs(flow_run_filter=flow, task_run_filter=task, limit=1):
                    missing.remove(name)
    assert not missing


def test_losda_beats_its_background_with_an_untrained_prior(document: dict[str, Any]) -> None:
    mean = document["mean"]
    assert mean["analysis"] < mean["background"] < mean["free"]


@pytest.mark.s3
def test_a_run_on_s3_equals_one_on_the_disk(
    losda: Losda, tiny: "Tiny", finished: Path, s3_root: str
) -> None:
    code, out, err = losda("run", tiny.config, "--out", s3_root, "--no-report", "--json")
    assert code == 0, err
    assert json.loads(out)["experiment"] == s3_root
    for folder in ("analysis.zarr", "background.zarr", "feedback", "scores"):
        names = store.files(f"{s3_root}/{folder}")
        assert set(names) == {
            str(path.relative_to(finished / folder))
            for path in (finished / folder).rglob("*")
            if path.is_file()
        }
        for name in names:
            there = store.read_bytes(f"{s3_root}/{folder}/{name}")
            assert there == (finished / folder / name).read_bytes(), name
