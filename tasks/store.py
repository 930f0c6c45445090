"""Files at addresses, which are local paths or ``s3://``: whole or absent, never torn.

A file is written under a hidden name and then named: renamed where it may replace another, hard
linked where it must be the first of its name (link(2) fails if the name is taken). On S3 a PUT is
atomic by itself and ``If-None-Match: *`` makes it exclusive. So whoever reads a name reads all of
the bytes, whatever was killed when. A hidden file is locked by its writer (flock(2), which ends
with the process), so `sweep` can tell what a dead writer left behind.

How S3 is reached, and what is said when it is not: `tasks.remote`.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import fsspec

from configs.hiding import hide, without_credentials
from tasks.remote import explained, s3_options

if TYPE_CHECKING:
    import xarray as xr
    from fsspec import AbstractFileSystem

__all__ = [
    "create_exclusive",
    "digest",
    "digests",
    "entries",
    "exists",
    "files",
    "is_remote",
    "join",
    "names",
    "open_dataset",
    "read_bytes",
    "read_many",
    "remove",
    "remove_tree",
    "s3_options",
    "sweep",
    "sync",
    "write_bytes",
    "write_many",
]

Address = str | os.PathLike[str]
P = ParamSpec("P")
Result = TypeVar("Result")

PART = ".part"
READERS = 8
CONFLICT_RETRIES = 20


def _told(
    function: Callable[Concatenate[Address, P], Result],
) -> Callable[Concatenate[Address, P], Result]:
    """Let a function say in one line what is wrong with object storage, see `tasks.remote`."""

    @wraps(function)
    def wrapped(address: Address, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        with explained(address):
            return function(address, *args, **kwargs)

    return wrapped


@contextmanager
def _bucket_of(address: Address) -> Iterator[None]:
    """Name the bucket where a write finds none."""
    try:
        yield
    except FileNotFoundError:
        bucket = str(address).removeprefix("s3://").split("/")[0]
        raise ValueError(f"{address}: there is no bucket {bucket!r}; make it first") from None


def is_remote(address: Address) -> bool:
    """Return whether the address is on S3.

    Raises:
        ValueError: The address has a scheme other than s3, or holds credentials.
    """
    scheme, separator, _ = str(address).partition("://")
    if separator and scheme != "s3":
        raise ValueError(f"address {address}: scheme {scheme!r}; allowed: a local path or s3://")
    if separator and "@" in str(address):
        try:
            without_credentials(str(address))
        except ValueError as error:
            raise ValueError(f"address {hide(str(address))}: {error}") from None
    return bool(separator)


def join(address: Address, *parts: str) -> str:
    """Join an address and path parts with single slashes."""
    return "/".join([str(address).rstrip("/"), *(part.strip("/") for part in parts)])


def _s3() -> "AbstractFileSystem":
    return fsspec.filesystem("s3", **s3_options())


@_told
def exists(address: Address) -> bool:
    """Return whether a file (or a non-empty folder) is at the address."""
    return bool(_s3().exists(address)) if is_remote(address) else os.path.exists(address)


@_told
def read_bytes(address: Address) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileNotFoundError: Nothing is at the address.
    """
    return bytes(_s3().cat_file(address)) if is_remote(address) else Path(address).read_bytes()


@_told
def read_many(address: Address, names: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of files below an address by their names, read side by side.

    Raises:
        FileNotFoundError: One is not there.
    """
    paths = {name: join(address, name) for name in names}
    if not is_remote(address):
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda path: Path(path).read_bytes(), paths.values())
            return dict(zip(paths, found, strict=True))
    client = _s3()
    objects = client.cat(list(paths.values()))
    return {name: bytes(objects[client._strip_protocol(path)]) for name, path in paths.items()}


@_told
def write_bytes(
    address: Address, data: bytes, *, durable: bool = True, staging: Address | None = None
) -> None:
    """Write a file atomically, replacing what is there.

    Args:
        address: Where to.
        data: All of the content.
        durable: Whether to wait until the disk has it (a power cut loses nothing). Without it
            the write survives the death of the process only; `create_exclusive` can vouch later.
        staging: Local folder on the same file system for the hidden file; the target's own folder
            if not given. On S3 it has no meaning.
    """
    if is_remote(address):
        with _bucket_of(address):
            _s3().pipe_file(address, data)
    else:
        target = Path(address)
        write_many(target.parent, {target.name: data}, durable=durable, staging=staging)


@_told
def write_many(
    address: Address,
    *batches: Mapping[str, bytes],
    durable: bool = True,
    staging: Address | None = None,
) -> None:
    """Write files below an address, each atomically, batch by batch; else as `write_bytes`."""
    if is_remote(address):
        with _bucket_of(address):
            for batch in batches:
                _s3().pipe({join(address, name): data for name, data in batch.items()})
        return
    contents = {Path(address) / name: data for batch in batches for name, data in batch.items()}
    folders = {folder for target in contents for folder in _make_folder(target.parent)}
    with ExitStack() as stack:
        hidden = {
            target: stack.enter_context(_hidden(Path(staging or target.parent), data))
            for target, data in contents.items()
        }
        if durable:
            sync(hidden.values())
        for target, path in hidden.items():
            path.replace(target)
    if durable:
        sync(folders)


def create_exclusive(
    address: Address, data: bytes, *, vouches_for: Iterable[Address] = ()
) -> bool:
    """Create a file unless it exists, atomically and with all its content.

    Args:
        address: Where to.
        data: All of the content.
        vouches_for: Local files and folders that must be on disk before the file is.

    Returns:
        True for the one caller that created it, False if it was there.
    """
    if is_remote(address):
        return _create_on_s3(str(address), data)
    target = Path(address)
    folders = _make_folder(target.parent)
    with _hidden(target.parent, data) as hidden:
        sync([hidden, *vouches_for])
        try:
            os.link(hidden, target)
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


@_told
def _create_on_s3(address: Address, data: bytes) -> bool:
    for attempt in range(CONFLICT_RETRIES):
        try:
            with _bucket_of(address):
                _s3().pipe_file(str(address), data, mode="create")
            return True
        except FileExistsError:
            return False
        except OSError as error:
            # 412 without its condition's name, and 409: another conditional PUT is under way.
            if error.errno == errno.EINVAL and exists(address):
                return False
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.02 * (attempt + 1))
    raise TimeoutError(f"{address}: {CONFLICT_RETRIES} conditional writes met another one")


@contextmanager
def _hidden(folder: Path, data: bytes) -> Iterator[Path]:
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


def sweep(folder: Address) -> None:
    """Remove the hidden files that dead writers left in a local folder."""
    if is_remote(folder) or not os.path.isdir(folder):
        return
    for path in Path(folder).glob(f".*{PART}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def sync(paths: Iterable[Address]) -> None:
    """Wait until local files and folders are on disk.

    One after the other: the first flush mostly serves the others, and threads made it slower.
    """
    for path in paths:
        if is_remote(path):
            continue
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with _named(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@_told
def names(address: Address) -> tuple[str, ...]:
    """Return the sorted names in a folder without the hidden ones; empty if it is not there.

    An S3 server may list folders whose files were all removed (SeaweedFS does).
    """
    try:
        found = _s3().ls(address, detail=False) if is_remote(address) else os.listdir(address)
    except FileNotFoundError:
        return ()
    bare = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in found}
    return tuple(sorted(name for name in bare if not name.startswith(".")))


@_told
def files(address: Address) -> tuple[str, ...]:
    """Return the sorted relative paths of all files below a folder without the hidden ones."""
    if is_remote(address):
        found = _s3().find(address)  # of a folder without files: the folder itself
        below = len(str(address).removeprefix("s3://").rstrip("/")) + 1
        relative = (str(path)[below:] for path in found)
    else:
        below = len(str(address).rstrip("/")) + 1
        walked = os.walk(address)
        relative = (join(folder, name)[below:] for folder, _, names in walked for name in names)
    return tuple(sorted(p for p in relative if p and not p.rsplit("/", 1)[-1].startswith(".")))


@_told
def entries(address: Address) -> dict[str, tuple[int, float]]:
    """Return size [bytes] and time of the last change [s since 1970] of `files` below a folder."""
    if not is_remote(address):
        found = {}
        for name in files(address):
            with suppress(FileNotFoundError):  # removed since it was listed
                status = os.stat(join(address, name))
                found[name] = status.st_size, status.st_mtime
        return found
    listed = _s3().find(address, detail=True)
    below = len(str(address).removeprefix("s3://").rstrip("/")) + 1
    return {
        str(path)[below:]: (int(about["size"]), about["LastModified"].timestamp())
        for path, about in sorted(listed.items())
        if str(path)[below:] and "LastModified" in about
    }


@_told
def remove(address: Address) -> None:
    """Remove a file; nothing happens if it is not there."""
    with suppress(FileNotFoundError):
        if is_remote(address):
            _s3().rm_file(str(address))
        else:
            os.unlink(address)


@_told
def remove_tree(address: Address) -> None:
    """Remove a folder and all below it; nothing happens if it is not there."""
    if is_remote(address):
        with suppress(FileNotFoundError):
            _s3().rm(address, recursive=True)
    else:
        shutil.rmtree(address, ignore_errors=True)


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digests(address: Address) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by relative path."""
    return {name: digest(read_bytes(join(address, name))) for name in files(address)}


def open_dataset(address: Address) -> "xr.Dataset":
    """Open a Zarr store lazily, its times decoded."""
    import xarray as xr

    options = s3_options() if is_remote(address) else None
    dataset: xr.Dataset = xr.open_zarr(
        str(address), chunks=None, consolidated=True, storage_options=options
    )
    return dataset
