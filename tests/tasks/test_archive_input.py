"""What archives may be like, and what is said of those that cannot be used."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import s3fs
import torch
import xarray as xr

from configs.data import DataVariable
from models.grid import LatLonGrid
from models.training.losses import numpy_from
from models.training.objective import Batch, Objective
from models.training.processes import ALONE, Processes
from models.training.trainer import Trainer, TrainingSettings
from models.training.trajectories import Trajectories
from tasks import store
from tasks.archive_states import ArchiveStates
from tasks.read_ahead import ReadAhead
from tasks.reference_gridded import ZarrReference
from tasks.workshop import Workshop

HOURS, START = pd.Timedelta(hours=6), pd.Timestamp("2020-02-28")
TIMES = pd.date_range(START, periods=8, freq="6h")
VARIABLES = (
    DataVariable(name="z", standard_name="geopotential", units="m2 s-2", levels=(500.0, 850.0)),
    DataVariable(name="q", standard_name="specific_humidity", units="kg kg-1", levels=(850.0,)),
    DataVariable(name="t2m", standard_name="air_temperature", units="K"),
    DataVariable(name="msl", standard_name="air_pressure_at_mean_sea_level", units="Pa"),
)
Change = Callable[[xr.Dataset], xr.Dataset]
Archive = Callable[..., str]


def truth() -> xr.Dataset:
    """A small archive in the layout of WeatherBench 2."""
    latitude, longitude = np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5
    place = np.cos(np.radians(latitude)) * np.sin(np.radians(longitude))[:, None]
    place = place + 0.1 * latitude / 90 + 0.01 * np.arange(16)[:, None]
    drift = 1 + 0.1 * np.arange(len(TIMES))[:, None, None]
    wave = drift * place
    low = np.array([55_000.0, 14_000.0])[:, None, None]
    deep = ("time", "level", "longitude", "latitude")
    surface = ("time", "longitude", "latitude")
    ds = xr.Dataset(
        {
            "geopotential": (deep, low + 900 * wave[:, None], {"units": "m**2 s**-2"}),
            "specific_humidity": (
                deep,
                np.array([1e-3, 6e-3])[:, None, None] * (1 + 0.3 * wave[:, None]),
                {"units": "kg kg**-1"},
            ),
            "2m_temperature": (surface, 280 + 9 * wave, {"units": "K"}),
            "mean_sea_level_pressure": (surface, 1.01e5 + 900 * wave, {"units": "Pa"}),
        }
    ).astype(np.float32)
    return ds.assign_coords(time=TIMES, level=[500, 850], latitude=latitude, longitude=longitude)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    def make(change: Change = lambda ds: ds, name: str = "era5.zarr", chunk: int = 2) -> str:
        ds = change(truth()).drop_encoding()
        encoding = {str(n): {"chunks": (chunk, *v.shape[1:])} for n, v in ds.data_vars.items()}
        ds.to_zarr(tmp_path / name, zarr_format=2, consolidated=True, encoding=encoding)
        return str(tmp_path / name)

    return make


def states(address: str) -> torch.Tensor:
    reference = ZarrReference(address, VARIABLES)
    reference.check(TIMES[0], TIMES[-1], HOURS)
    return reference.states(list(TIMES))


def celsius_and_others(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"] = (ds["2m_temperature"] - 273.15).assign_attrs(units="degC")
    ds["mean_sea_level_pressure"] = (ds["mean_sea_level_pressure"] / 100).assign_attrs(units="hPa")
    ds["specific_humidity"] = (ds["specific_humidity"] * 1000).assign_attrs(units="g kg-1")
    ds["geopotential"] = (ds["geopotential"] / 9.80665).assign_attrs(units="gpm")
    return ds


def noleap(ds: xr.Dataset) -> xr.Dataset:
    ds = ds.assign_coords(time=("time", np.arange(8) * 6.0))
    ds["time"].attrs = {"units": "hours since 2019-02-28", "calendar": "noleap"}
    return ds


def turned(ds: xr.Dataset) -> xr.Dataset:
    east = (ds["longitude"] + 180) % 360 - 180
    return ds.assign_coords(longitude=east).sortby("longitude")


def with_last_column_again(ds: xr.Dataset) -> xr.Dataset:
    first = ds.isel(longitude=[0]).assign_coords(longitude=[360.0])
    return xr.concat([ds, first], "longitude")


RIGHT: dict[str, Change] = {
    "other units": celsius_and_others,
    "levels in another order": lambda ds: ds.isel(level=[1, 0]),
    "levels in Pa without units": lambda ds: ds.assign_coords(level=[50_000, 85_000]),
    "times in another order": lambda ds: ds.isel(time=[3, 0, 1, 2, 7, 5, 6, 4]),
    "longitudes from -180": turned,
    "a last column that is the first": with_last_column_again,
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_what_has_one_meaning_is_put_right(archive: Archive, change: Change) -> None:
    found, expected = states(archive(change)), states(archive(name="plain.zarr"))
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-9)


def test_reversed_rows_and_turned_columns_follow_the_grid_that_is_asked_for(
    archive: Archive,
) -> None:
    plain = ZarrReference(archive(name="plain.zarr"), VARIABLES)
    other = ZarrReference(
        archive(lambda ds: turned(ds.isel(latitude=slice(None, None, -1)))), VARIABLES
    )
    assert other.spec.grid.latitude == plain.spec.grid.latitude[::-1]
    time = TIMES[3]
    assert torch.equal(other.on(plain.spec.grid, "it").state(time), plain.state(time))
    with pytest.raises(ValueError, match=r"allowed: those of statistics abc, -80 to 80 \(8\)"):
        other.on(
            LatLonGrid(tuple(np.linspace(-80, 80, 8).tolist()), plain.spec.grid.longitude),
            "statistics abc",
        )


def test_blocks_are_averaged_by_area_and_keep_the_mean(archive: Archive) -> None:
    fine = ZarrReference(archive(), VARIABLES)
    coarse = ZarrReference(fine.sources[0].where, VARIABLES, coarsen=2)
    assert coarse.spec.grid.shape == (4, 8) and coarse.spec.grid.latitude[0] == -67.5
    means = [
        (r.state(TIMES[1]).double() * torch.from_numpy(r.spec.grid.area_fractions)[:, None])
        .mean(2)
        .sum(1)
        for r in (fine, coarse)
    ]
    torch.testing.assert_close(means[0], means[1], rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match=r"8 latitudes; reference\.coarsen 3 must divide them"):
        ZarrReference(fine.sources[0].where, VARIABLES, coarsen=3)


def test_a_calendar_without_leap_days_is_ours_where_the_days_are(archive: Archive) -> None:
    address = archive(noleap)
    reference = ZarrReference(address, VARIABLES)
    assert reference.times[0] == pd.Timestamp("2019-02-28")
    assert reference.times[4] == pd.Timestamp("2019-03-01")


def calendar_of_360_days(ds: xr.Dataset) -> xr.Dataset:
    ds = noleap(ds)
    ds["time"].attrs["calendar"] = "360_day"
    return ds


def in_feet(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"].attrs["units"] = "furlong"
    return ds


def wrong_unit(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"].attrs["units"] = "degC"
    return ds


WRONG: dict[str, tuple[Change, str]] = {
    "another calendar": (calendar_of_360_days, r"calendar '360_day', .* allowed: standard"),
    "a unit that is none": (in_feet, r"'2m_temperature' has units 'furlong'; allowed: 'K'"),
    "a unit that lies": (wrong_unit, r"'degC' taken as 'K'.*'t2m': 1024 of 1024 .* allowed: 140"),
    "a missing time": (
        lambda ds: ds.isel(time=[0, 1, 2, 4, 5, 6, 7]),
        r"lacks 1 of 8 times, the first 2020-02-28 18",
    ),
    "a time twice": (
        lambda ds: ds.isel(time=[0, 1, 1, 2, 3, 4, 5, 6, 7]),
        r"2020-02-28 06:00:00 comes twice",
    ),
    "a level that is missing": (lambda ds: ds.isel(level=[0]), r"no level 850 hPa; present: 500"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_said_in_one_line(
    archive: Archive, change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        states(archive(change))
    assert "\n" not in str(error.value) and "era5.zarr" in str(error.value)


@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_a_missing_chunk_is_not_zeros(archive: Archive, fill: float) -> None:
    def filled(ds: xr.Dataset) -> xr.Dataset:
        return ds

    address = archive(filled)
    metadata = Path(address) / "2m_temperature" / ".zarray"
    metadata.write_text(
        metadata.read_text().replace('"fill_value": null', f'"fill_value": {fill}')
    )
    os.unlink(Path(address) / "2m_temperature" / "1.0.0")
    reference = ZarrReference(address, VARIABLES)
    reference.state(TIMES[0])
    with pytest.raises(ValueError, match=r"chunk '2m_temperature/1\.0\.0' is missing"):
        reference.state(TIMES[2])


def test_states_read_ahead_are_the_states_and_only_some_are_kept(archive: Archive) -> None:
    plain = ZarrReference(archive(), VARIABLES)
    ahead = ReadAhead(plain, HOURS, budget=8 * plain.state_bytes)
    assert ahead.block == 2
    for time in [*TIMES, TIMES[0], TIMES[5]]:
        assert torch.equal(ahead.state(time), plain.state(time))
    assert len(ahead._blocks) <= 4


def test_a_bad_state_ahead_does_not_spoil_those_before(archive: Archive) -> None:
    def broken(ds: xr.Dataset) -> xr.Dataset:
        ds["2m_temperature"].values[1, 0, 0] = np.nan
        return ds

    ahead = ReadAhead(ZarrReference(archive(broken), VARIABLES), HOURS)
    assert torch.isfinite(ahead.state(TIMES[0])).all()
    with pytest.raises(ValueError, match="2020-02-28 06:00:00"):
        ahead.state(TIMES[1])


def test_batches_of_an_archive_are_its_states_in_any_order(archive: Archive) -> None:
    reference = ZarrReference(archive(), VARIABLES)
    lazy, whole = ArchiveStates(reference, TIMES), reference.states(list(TIMES)).numpy()
    pairs = [(5, 0), (1, 0), (5, 0), (7, 0)]
    lazy.expect(pairs)
    np.testing.assert_array_equal(lazy.batch(pairs), whole[[5, 1, 5, 7]])
    np.testing.assert_array_equal(lazy[3, 0], whole[3])
    assert lazy.shape == (8, 1, *reference.spec.shape)


@pytest.fixture
def on_s3(archive: Archive, s3_root: str) -> str:
    source = Path(archive())
    files = [path for path in source.rglob("*") if path.is_file()]
    address = store.join(s3_root, "era5.zarr")
    store.write_many(address, {str(p.relative_to(source)): p.read_bytes() for p in files})
    return address


@pytest.mark.s3
def test_an_archive_on_s3_or_google_storage_is_the_local_one(
    on_s3: str, archive: Archive, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = states(archive(name="local.zarr"))
    assert torch.equal(states(on_s3), expected)
    monkeypatch.setenv("GS_ENDPOINT_URL", s3_server)
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"GS_{name}", os.environ[f"AWS_{name}"])
    assert torch.equal(states(on_s3.replace("s3://", "gs://")), expected)


@pytest.mark.s3
def test_refused_or_missing_credentials_and_buckets_are_named(
    on_s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = on_s3.split("/")[2]
    absent = on_s3.replace(bucket, "no-such-bucket-" + on_s3.split("/")[3][:8])
    with pytest.raises(ValueError, match="there is no bucket 'no-such-bucket-"):
        states(absent)
    with pytest.raises(ValueError, match=r"era5\.zarr/none: no Zarr group"):
        states(f"{on_s3}/none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()  # a process knows its credentials from the start
    with pytest.raises(
        ValueError, match="the credentials of AWS_ACCESS_KEY_ID were refused; set AWS_"
    ):
        states(on_s3)
    with pytest.raises(
        ValueError, match="the credentials of AWS_ACCESS_KEY_ID were refused; set AWS_"
    ):
        store.write_bytes(f"{on_s3}/x", b"1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ValueError, match="no credentials; set AWS_ACCESS_KEY_ID and"):
        states(on_s3)
    s3fs.S3FileSystem.clear_instance_cache()


class Slow(BaseHTTPRequestHandler):
    """A server that lets the first requests wait, then serves a folder."""

    protocol_version = "HTTP/1.1"
    folder: Path
    patience: int
    asked: int

    def do_GET(self) -> None:
        """Answer, or not."""
        kind = type(self)
        kind.asked += 1
        if kind.asked <= kind.patience:
            threading.Event().wait(0.8)
        path = kind.folder / self.path.split("?")[0].lstrip("/").partition("/")[2]
        found = path.is_file()
        data = path.read_bytes() if found else b"<Error><Code>NoSuchKey</Code></Error>"
        try:
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)
        except OSError:
            pass

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Say that there is no such bucket."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b"<Error><Code>NoSuchBucket</Code><Message>no bucket</Message></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow_server(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[int], str]]:
    monkeypatch.setenv("LOSDA_S3_TIMEOUT", "0.3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    folder = Path(archive())
    handler = type("Handler", (Slow,), {"folder": folder.parent, "patience": 0, "asked": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")

    def start(patience: int) -> str:
        handler.patience = patience
        return f"s3://bucket/{folder.name}"

    yield start
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)


def test_a_read_that_times_out_is_tried_again(slow_server: Callable[[int], str]) -> None:
    assert states(slow_server(2)).shape == (8, 5, 8, 16)


def test_a_write_to_a_bucket_that_is_not_there_names_it(
    slow_server: Callable[[int], str],
) -> None:
    slow_server(0)
    for write in (store.write_bytes, store.create_exclusive):
        with pytest.raises(ValueError, match="there is no bucket 'absent'; make it first"):
            write("s3://absent/x", b"1")


def test_a_server_that_never_answers_is_said_in_one_line(
    slow_server: Callable[[int], str],
) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 0\.3 s .* tried 5 times"):
        states(slow_server(10_000))


class Mean(Objective):
    """One number, which learns the mean of the states, from batches of 2."""

    def __init__(self, trajectories: Trajectories) -> None:
        super().__init__(2)
        self.trajectories, self.value = trajectories, torch.nn.Parameter(torch.zeros(()))

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        return (self.trajectories.x(*self.trajectories.draw(2, numpy_from(generator))),)

    def forward(self, batch: Batch) -> torch.Tensor:
        return (self.value - batch[0][:, 3].mean() / 280).square()


def training(
    reference: ZarrReference, folder: Path, times: pd.DatetimeIndex = TIMES
) -> tuple[Mean, ArchiveStates]:
    """Train, keeping every second iteration."""
    lazy = ArchiveStates(reference, times)
    module = Mean(Trajectories(lazy, (times[0],), HOURS))
    settings = TrainingSettings(iterations=8, warm_up=1, ahead=1)
    trainer = Trainer(module, module, settings)
    Workshop(folder).train("mean", trainer, lambda _: None, every=2)
    return module, lazy


def test_batches_are_read_while_the_one_before_is_used(archive: Archive, tmp_path: Path) -> None:
    names: list[str] = []

    class Watched(ZarrReference):
        def states(self, times: Sequence[pd.Timestamp]) -> torch.Tensor:
            names.append(threading.current_thread().name)
            return super().states(times)

    training(Watched(archive(), VARIABLES), tmp_path / "work")
    assert len(names) == 8
    assert all(name.startswith("prefetch") for name in names)


def test_a_training_goes_on_where_a_missing_chunk_stopped_it(
    archive: Archive, tmp_path: Path
) -> None:
    expected = training(ZarrReference(archive(), VARIABLES), tmp_path / "whole")[0].value
    address = archive(name="broken.zarr", chunk=1)
    chunk = Path(address) / "2m_temperature" / "5.0.0"
    chunk.rename(tmp_path / "kept")
    with pytest.raises(ValueError, match="is missing; the copy is incomplete"):
        training(ZarrReference(address, VARIABLES), tmp_path / "work")
    assert (tmp_path / "work" / "mean.partial.safetensors").exists()
    (tmp_path / "kept").rename(chunk)
    found = training(ZarrReference(address, VARIABLES), tmp_path / "work")[0].value
    assert torch.equal(found, expected)
