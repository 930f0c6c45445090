import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
STAGES = {"forecast", "observations", "analysis", "verification"}
ERRORS = {"analysis", "background", "free"}


@pytest.fixture
def finished(losda: Losda, tiny: "Tiny", tmp_path: Path) -> dict[str, Any]:
    code, out, err = losda("run", tiny.config, "--out", tmp_path / "e", "--json", "--no-report")
    assert code == 0, err
    return dict(json.loads(out))


def test_run_prints_one_json_document_with_the_errors_of_every_cycle(
    finished: dict[str, Any],
) -> None:
    assert finished["method"] == "losda"
    assert [c["cycle_time"][:13] for c in finished["cycles"]] == [
        "2001-01-03T00", "2001-01-03T06", "2001-01-03T12",
    ]  # fmt: skip
    for cycle in finished["cycles"]:
        assert set(cycle["seconds"]) == STAGES
        assert all(cycle[name] > 0 and cycle[f"{name}_wmse"] > 0 for name in ERRORS)
    assert set(finished["mean"]["variables"]) == {"t", "msl"}
    late = finished["cycles"][1:]
    for name in ERRORS:
        mean = sum(cycle[name] for cycle in late) / len(late)
        assert finished["mean"][name] == pytest.approx(mean)


def test_overhead_is_what_is_neither_model_nor_input_output(finished: dict[str, Any]) -> None:
    wall, busy = finished["wall_seconds"], finished["busy_seconds"]
    stages = sum(sum(cycle["seconds"].values()) for cycle in finished["cycles"])
    assert 0 < busy < wall
    assert busy >= 0.9 * stages
    assert finished["overhead"] == pytest.approx(1 - busy / wall)


def test_the_archive_is_plain_zarr_and_parquet(finished: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "e"
    for name in ("analysis", "background"):
        ds = xr.open_zarr(root / f"{name}.zarr", consolidated=False)
        assert ds["t"].dims == ("time", "level", "latitude", "longitude")
        assert ds.sizes["time"] == 3
        assert ds["t"].attrs["units"] == "K"
        assert bool(ds["t"].notnull().all())
    assert len(list((root / "feedback").iterdir())) == 3
    assert len(list((root / "scores").iterdir())) == 3
