"""Cycles on an archive: backgrounds anew from the reference, another orientation, going on after a fault."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tasks import archive

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
HALF_DAY = pd.Timedelta(hours=12)


def test_backgrounds_from_the_reference_do_not_depend_on_analyses(
    losda: Losda, tiny: "Tiny", tmp_path: Path
) -> None:
    settings = ("--set", "background.kind=reference", "--set", "background.lead=PT12H")
    code, _, err = losda("run", tiny.config, "--out", tmp_path / "e", "--no-report", *settings)
    assert code == 0, err
    truth = xr.open_zarr(tiny.data, consolidated=False)
    background = archive.open_archive(str(tmp_path / "e"), "background")
    for time in background["time"].values:  # the forecast model is persistence
        before = truth.sel(time=pd.Timestamp(time) - HALF_DAY)
        np.testing.assert_array_equal(background["t"].sel(time=time), before["t"])


def test_an_archive_from_the_other_side_gives_the_same_cycles(
    losda: Losda, tiny: "Tiny", tmp_path: Path
) -> None:
    """The statistics' card says on which grid they were trained; here it says nothing."""
    ds = xr.open_zarr(tiny.data, consolidated=False).load()
    west = (ds["longitude"] + 180) % 360 - 180
    ds.assign_coords(longitude=west).sortby("longitude").drop_encoding().to_zarr(
        tmp_path / "turned.zarr", zarr_format=3, consolidated=False
    )
    found = []
    for name, data in (("a", tiny.data), ("b", tmp_path / "turned.zarr")):
        option = ("--set", f"reference.address={data}", "--cycles", 2)
        code, _, err = losda("run", tiny.config, "--out", tmp_path / name, "--no-report", *option)
        assert code == 0, err
        found.append(archive.open_archive(str(tmp_path / name), "analysis").load())
    xr.testing.assert_equal(found[0], found[1])


def test_cycles_go_on_where_a_missing_chunk_stopped_them(
    losda: Losda, tiny: "Tiny", tmp_path: Path
) -> None:
    ds = xr.open_zarr(tiny.data, consolidated=False).load().drop_encoding()
    encoding = {name: {"chunks": (1, *v.shape[1:])} for name, v in ds.data_vars.items()}
    data = tmp_path / "truth.zarr"
    ds.to_zarr(data, zarr_format=3, consolidated=False, encoding=encoding)
    option = ("--out", tmp_path / "e", "--no-report", "--set", f"reference.address={data}")
    assert losda("run", tiny.config, *option, "--cycles", 1)[0] == 0
    chunk = next((data / "msl" / "c").glob("9/*/*"))  # the second cycle's state
    kept = chunk.read_bytes()
    chunk.unlink()
    code, _, err = losda("run", tiny.config, *option, "--cycles", 3)
    assert code == 2 and "chunk 'msl/c/9/0/0' is missing; the copy is incomplete" in err
    assert len(err.strip().splitlines()) == 1
    chunk.write_bytes(kept)
    code, _, err = losda("run", tiny.config, *option, "--cycles", 3)
    assert code == 0, err
    assert archive.open_archive(str(tmp_path / "e"), "analysis").sizes["time"] == 3


@pytest.mark.s3
def test_refused_credentials_end_a_command_with_one_line(
    losda: Losda, tiny: "Tiny", tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    code, _, err = losda("run", tiny.config, "--out", f"{s3_root}/e", "--no-report")
    s3fs.S3FileSystem.clear_instance_cache()
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert "the credentials of AWS_ACCESS_KEY_ID were refused" in err
