"""Files at addresses, which are local paths or ``s3://``: whole or absent, never torn.

How that comes about: `tasks.local_files` on disk, `tasks.object_files` on S3.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from configs.hiding import hide, without_credentials
from tasks import local_files, object_files
from tasks.remote import explained, s3_options

if TYPE_CHECKING:
    import xarray as xr

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


def _told(
    function: Callable[Concatenate[Address, P], Result],
) -> Callable[Concatenate[Address, P], Result]:
    """Let a function say in one line what is wrong with object storage, see `tasks.remote`."""

    @wraps(function)
    def wrapped(address: Address, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        with explained(address):
            return function(address, *args, **kwargs)

    return wrapped


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


@_told
def exists(address: Address) -> bool:
    """Return whether a file (or a non-empty folder) is at the address."""
    if is_remote(address):
        return object_files.exists(str(address))
    return local_files.exists(address)


@_told
def read_bytes(address: Address) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileNotFoundError: Nothing is at the address.
    """
    return object_files.read(str(address)) if is_remote(address) else local_files.read(address)


@_told
def read_many(address: Address, names: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of files below an address by their names, read side by side.

    Raises:
        FileNotFoundError: One is not there.
    """
    if is_remote(address):
        return object_files.read_many(str(address), names)
    return local_files.read_many(address, names)


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
        object_files.write_many({str(address): data})
    else:
        local_files.write_many({Path(address): data}, durable, staging)


@_told
def write_many(
    address: Address,
    *batches: Mapping[str, bytes],
    durable: bool = True,
    staging: Address | None = None,
) -> None:
    """Write files below an address, each atomically, batch by batch; else as `write_bytes`."""
    if is_remote(address):
        for batch in batches:
            object_files.write_many({join(address, name): data for name, data in batch.items()})
        return
    contents = {Path(address) / name: data for batch in batches for name, data in batch.items()}
    local_files.write_many(contents, durable, staging)


@_told
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
        return object_files.create(str(address), data)
    local = [path for path in vouches_for if not is_remote(path)]
    return local_files.create(Path(address), data, local)


def sweep(folder: Address) -> None:
    """Remove the hidden files that dead writers left in a local folder."""
    if not is_remote(folder):
        local_files.sweep(Path(folder))


def sync(paths: Iterable[Address]) -> None:
    """Wait until local files and folders are on disk."""
    local_files.sync(path for path in paths if not is_remote(path))


@_told
def names(address: Address) -> tuple[str, ...]:
    """Return the sorted names in a folder without the hidden ones; empty if it is not there."""
    try:
        remote = is_remote(address)
        found = object_files.names(str(address)) if remote else local_files.names(address)
    except FileNotFoundError:
        return ()
    return tuple(sorted({name for name in found if not name.startswith(".")}))


@_told
def files(address: Address) -> tuple[str, ...]:
    """Return the sorted relative paths of all files below a folder without the hidden ones."""
    remote = is_remote(address)
    found = object_files.files(str(address)) if remote else local_files.files(address)
    return tuple(sorted(path for path in found if not _is_hidden(path)))


@_told
def entries(address: Address) -> dict[str, tuple[int, float]]:
    """Return size [bytes] and time of the last change [s since 1970] of `files` below a folder."""
    remote = is_remote(address)
    found = object_files.entries(str(address)) if remote else local_files.entries(address)
    return {path: about for path, about in sorted(found.items()) if not _is_hidden(path)}


def _is_hidden(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(".")


@_told
def remove(address: Address) -> None:
    """Remove a file; nothing happens if it is not there."""
    with suppress(FileNotFoundError):
        if is_remote(address):
            object_files.remove(str(address))
        else:
            local_files.remove(address)


@_told
def remove_tree(address: Address) -> None:
    """Remove a folder and all below it; nothing happens if it is not there."""
    if is_remote(address):
        object_files.remove_tree(str(address))
    else:
        local_files.remove_tree(address)


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
