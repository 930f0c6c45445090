"""Files on disk: whole or absent, never torn.

A file is written under a hidden name and then named: renamed where it may replace another, hard
linked where it must be the first of its name (link(2) fails if the name is taken). So whoever reads
a name reads all of the bytes, whatever was killed when. A hidden file is locked by its writer
(flock(2), which ends with the process), so `sweep` can tell what a dead writer left behind.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

__all__ = [
    "create",
    "entries",
    "exists",
    "files",
    "hidden",
    "names",
    "read",
    "read_many",
    "remove",
    "remove_tree",
    "sweep",
    "sync",
    "write_many",
]

Address = str | os.PathLike[str]

PART = ".part"
READERS = 8


def exists(address: Address) -> bool:
    """See `tasks.store.exists`."""
    return os.path.exists(address)


def read(address: Address) -> bytes:
    """See `tasks.store.read_bytes`."""
    return Path(address).read_bytes()


def read_many(address: Address, names: Sequence[str]) -> dict[str, bytes]:
    """See `tasks.store.read_many`."""
    folder = Path(address)
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda name: (folder / name).read_bytes(), names)
        return dict(zip(names, found, strict=True))


def write_many(
    contents: Mapping[Path, bytes], durable: bool = True, staging: Address | None = None
) -> None:
    """Write files, each atomically; the arguments are those of `tasks.store.write_many`."""
    folders = {folder for target in contents for folder in _make_folder(target.parent)}
    with ExitStack() as stack:
        written = {
            target: stack.enter_context(hidden(Path(staging or target.parent), data))
            for target, data in contents.items()
        }
        if durable:
            sync(written.values())
        for target, path in written.items():
            path.replace(target)
    if durable:
        sync(folders)


def create(target: Path, data: bytes, vouches_for: Iterable[Address] = ()) -> bool:
    """See `tasks.store.create_exclusive`."""
    folders = _make_folder(target.parent)
    with hidden(target.parent, data) as path:
        sync([path, *vouches_for])
        try:
            os.link(path, target)
        except FileExistsError:
            return False
    sync(folders)
    return True


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder; return all folders whose entries that may have changed."""
    chain = [folder, folder.parent]
    while not chain[-1].is_dir():
        chain.append(chain[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    return chain


@contextmanager
def hidden(folder: Path, data: bytes) -> Iterator[Path]:
    """Hold data in a hidden file of a folder, which is gone at the end if it was not renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    path, descriptor = _open_hidden(folder)
    try:
        with _named(folder), os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield path
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def _named(address: Address) -> Iterator[None]:
    """Say where it was that a write failed (a full disk): a descriptor has no name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(address)
        raise


def _open_hidden(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f".{uuid.uuid4().hex}{PART}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # no sweep came between open and lock
                return path, descriptor
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """See `tasks.store.sweep`."""
    for path in folder.glob(f".*{PART}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def sync(paths: Iterable[Address]) -> None:
    """Wait until files and folders are on disk.

    One after the other: the first flush mostly serves the others, and threads made it slower.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with _named(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def names(address: Address) -> list[str]:
    """Return the names in a folder.

    Raises:
        FileNotFoundError: It is not there.
    """
    return os.listdir(address)


def files(address: Address) -> list[str]:
    """Return the paths of all files below a folder, relative to it."""
    walked = os.walk(address)
    return [
        os.path.relpath(os.path.join(folder, name), address)
        for folder, _, found in walked
        for name in found
    ]


def entries(address: Address) -> dict[str, tuple[int, float]]:
    """Return size [bytes] and time of the last change [s since 1970] of the files below a folder."""
    found = {}
    for name in files(address):
        with suppress(FileNotFoundError):  # removed since it was listed
            status = os.stat(os.path.join(address, name))
            found[name] = status.st_size, status.st_mtime
    return found


def remove(address: Address) -> None:
    """Remove a file.

    Raises:
        FileNotFoundError: It is not there.
    """
    os.unlink(address)


def remove_tree(address: Address) -> None:
    """See `tasks.store.remove_tree`."""
    shutil.rmtree(address, ignore_errors=True)
