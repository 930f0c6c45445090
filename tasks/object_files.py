"""Files on S3: a PUT is atomic by itself, and ``If-None-Match: *`` makes it exclusive.

How S3 is reached, and what is said when it is not: `tasks.remote`.
"""

import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import fsspec
from fsspec import AbstractFileSystem

from tasks.remote import s3_options

__all__ = [
    "client",
    "create",
    "entries",
    "exists",
    "files",
    "names",
    "read",
    "read_many",
    "remove",
    "remove_tree",
    "write_many",
]

CONFLICT_RETRIES = 20


def client() -> AbstractFileSystem:
    """Return the S3 client, from the environment."""
    return fsspec.filesystem("s3", **s3_options())


def exists(address: str) -> bool:
    """See `tasks.store.exists`."""
    return bool(client().exists(address))


def read(address: str) -> bytes:
    """See `tasks.store.read_bytes`."""
    return bytes(client().cat_file(address))


def read_many(address: str, names: Sequence[str]) -> dict[str, bytes]:
    """See `tasks.store.read_many`."""
    paths = {name: f"{address.rstrip('/')}/{name}" for name in names}
    objects = client().cat(list(paths.values()))
    return {name: bytes(objects[key_of(path)]) for name, path in paths.items()}


def write_many(contents: Mapping[str, bytes]) -> None:
    """Write objects side by side.

    Raises:
        ValueError: There is no such bucket.
    """
    for address in list(contents)[:1]:
        with _bucket_of(address):
            client().pipe(dict(contents))


def create(address: str, data: bytes) -> bool:
    """See `tasks.store.create_exclusive`."""
    for attempt in range(CONFLICT_RETRIES):
        try:
            with _bucket_of(address):
                client().pipe_file(address, data, mode="create")
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
def _bucket_of(address: str) -> Iterator[None]:
    """Name the bucket where a write finds none."""
    try:
        yield
    except FileNotFoundError:
        bucket = key_of(address).split("/")[0]
        raise ValueError(f"{address}: there is no bucket {bucket!r}; make it first") from None


def names(address: str) -> list[str]:
    """Return the names in a folder.

    A server may list folders whose files were all removed (SeaweedFS does).

    Raises:
        FileNotFoundError: It is not there.
    """
    found = client().ls(address, detail=False)
    return [str(path).rstrip("/").rsplit("/", 1)[-1] for path in found]


def files(address: str) -> list[str]:
    """Return the paths of all files below a folder, relative to it."""
    below = len(key_of(address)) + 1
    relative = (str(path)[below:] for path in client().find(address))
    return [name for name in relative if name]  # of a folder without files: the folder itself


def entries(address: str) -> dict[str, tuple[int, float]]:
    """Return size [bytes] and time of the last change [s since 1970] of the files below a folder."""
    below = len(key_of(address)) + 1
    return {
        str(path)[below:]: (int(about["size"]), about["LastModified"].timestamp())
        for path, about in client().find(address, detail=True).items()
        if str(path)[below:] and "LastModified" in about
    }


def remove(address: str) -> None:
    """Remove a file.

    Raises:
        FileNotFoundError: It is not there.
    """
    client().rm_file(address)


def remove_tree(address: str) -> None:
    """See `tasks.store.remove_tree`."""
    with suppress(FileNotFoundError):
        client().rm(address, recursive=True)


def key_of(address: str) -> str:
    """Return bucket and key."""
    return address.removeprefix("s3://").rstrip("/")
