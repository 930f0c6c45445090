import errno
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import local_files, store

Start = Callable[..., "subprocess.Popen[str]"]

RACE = """
import sys
from tasks import store
address, name = sys.argv[1:]
store.exists(address)
print("ready", flush=True)
sys.stdin.readline()
print(store.create_exclusive(address, name.encode() * 100_000))
"""

REWRITE = """
import sys
from tasks import store
letter = 0
while True:
    letter = (letter + 1) % 26
    store.write_bytes(sys.argv[1], bytes([65 + letter]) * 400_000, durable=False)
"""


def test_what_is_written_is_read(root: str) -> None:
    address = store.join(root, "a", "b.bin")
    assert not store.exists(address)
    store.write_bytes(address, b"one")
    store.write_bytes(address, b"two")
    assert store.exists(address)
    assert store.read_bytes(address) == b"two"


def test_many_files_are_written_and_listed(root: str) -> None:
    contents = {"x": b"1", "deep/er/y": b"2", "deep/z": b"3"}
    store.write_many(root, contents)
    assert store.files(root) == tuple(sorted(contents))
    assert store.names(root) == ("deep", "x")
    assert store.digests(root) == {name: store.digest(data) for name, data in contents.items()}


def test_a_missing_file_is_not_found(root: str) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes(store.join(root, "nothing"))
    assert store.names(store.join(root, "nothing")) == ()
    assert store.files(store.join(root, "nothing")) == ()


def test_a_removed_tree_is_gone_and_may_be_removed_again(root: str) -> None:
    folder = store.join(root, "folder")
    store.write_many(folder, {"x": b"1", "y/z": b"2"})
    store.write_bytes(store.join(root, "other"), b"stays")
    for _ in range(2):
        store.remove_tree(folder)
        assert store.files(root) == ("other",)


def test_exclusive_creation_never_replaces(root: str) -> None:
    address = store.join(root, "folder", "marker")
    assert store.create_exclusive(address, b"first")
    assert not store.create_exclusive(address, b"second")
    assert store.read_bytes(address) == b"first"
    assert store.names(store.join(root, "folder")) == ("marker",)


def test_of_many_processes_exactly_one_creates(root: str, run_python: Start) -> None:
    address = store.join(root, "marker")
    processes = [run_python(RACE, address, letter) for letter in "abcd"]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(results) == ["False\n", "False\n", "False\n", "True\n"]
    winner = "abcd"[results.index("True\n")]
    assert store.read_bytes(address) == winner.encode() * 100_000


def test_a_reader_never_sees_a_torn_file_and_a_killed_writer_leaves_none(
    tmp_path: Path, run_python: Start
) -> None:
    target = tmp_path / "file"
    process = run_python(REWRITE, str(target))
    deadline = time.monotonic() + 30
    while not target.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(300):
        content = target.read_bytes()
        assert (len(content), len(set(content))) == (400_000, 1)
    process.kill()
    process.communicate()
    assert len(set(target.read_bytes())) == 1
    store.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_sweep_removes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    (tmp_path / ".dead.part").write_bytes(b"torn")
    (tmp_path / "file").write_bytes(b"stays")
    with local_files.hidden(tmp_path, b"alive") as living:
        store.sweep(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([living.name, "file"])
    store.sweep(tmp_path / "missing")
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        store.write_bytes(tmp_path / "folder", b"data")
    assert os.listdir(tmp_path) == ["folder"]


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gs://bucket/x: scheme 'gs'; allowed"):
        store.read_bytes("gs://bucket/x")


@pytest.mark.parametrize("address", ["s3://bucket/a", "s3://bucket/a/", "/a", "a/"])
def test_join_puts_single_slashes(address: str) -> None:
    assert store.join(address, "/b/", "c") == address.rstrip("/") + "/b/c"


def test_a_folder_that_is_closed_is_named_and_not_taken_for_object_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(local_files, "names", closed)
    with pytest.raises(PermissionError, match=f"Permission denied: '{tmp_path}'"):
        store.names(tmp_path)
