from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from models.state import StateSpec
from tasks import archive, archive_join, archive_zarr
from tasks.archive_join import Archive, require_same

START, STEP = pd.Timestamp("2001-01-01"), pd.Timedelta(hours=6)
PARTS = {"a": range(5), "b": range(3, 9)}  # cycles of each part; from 5 on b's are taken


@pytest.fixture
def published(
    tmp_path: Path, small_spec: StateSpec, make_dataset: Callable[..., xr.Dataset],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """A whole series, and two parts of it, in chunks of four times."""
    for module in (archive_zarr, archive_join):
        monkeypatch.setattr(module, "TIMES", 4)
    x = small_spec.to_tensor(make_dataset(times=9))[:, None]
    for name, cycles in {"whole": range(9), **PARTS}.items():
        start = START + cycles.start * STEP
        for k in cycles:
            archive.publish(
                *(str(tmp_path / name), "analysis", small_spec, start, STEP),
                *(START + k * STEP, x[k]),
            )
    return tmp_path


def join(folder: Path, taken: dict[str, range]) -> None:
    whole = Archive(str(folder / "joined"), "analysis")
    for name, cycles in taken.items():
        part = Archive(str(folder / name), "analysis")
        for k in cycles:
            whole.copy(part, part.group(), k - PARTS[name].start, k)
    whole.finish(Archive(str(folder / "a"), "analysis"), START, STEP, 9)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_joined_parts_equal_the_series_published_at_once_byte_for_byte(published: Path) -> None:
    join(published, {"a": range(5), "b": range(5, 9)})
    assert files(published / "joined") == files(published / "whole")
    ds = xr.open_zarr(published / "joined" / "analysis.zarr", consolidated=False)
    assert ds["time"].to_index().equals(pd.date_range(START, periods=9, freq=STEP, name="time"))
    assert np.isfinite(ds["t"]).all()


def test_parts_with_another_layout_are_refused(published: Path, small_spec: StateSpec) -> None:
    parts = [Archive(str(published / name), "analysis") for name in ("a", "b")]
    require_same(parts)
    x = torch.zeros(2, *small_spec.shape) + 270
    archive.publish(str(published / "c"), "analysis", small_spec, START, STEP, START, x)
    with pytest.raises(ValueError, match="is unlike"):
        require_same([*parts, Archive(str(published / "c"), "analysis")])
    with pytest.raises(ValueError, match="nothing is published"):
        Archive(str(published / "none"), "analysis").group()
