"""An archive on S3 and Google storage: the local one, or a line that says what is refused or late."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import s3fs
import torch

from tasks import store
from tests.small_archive import Archive, archive_in, states


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_in(tmp_path)


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
