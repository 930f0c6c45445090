"""Files to read: found at a path, in a folder, by a pattern or below s3://; opened as streams.

gzip, bzip2, xz and zip (of one file) are seen by their first bytes and decompressed on the way, up to a limit: what
unpacks to far more than any data do is refused. A stream that breaks ends there and says why.
"""

import bz2
import glob
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import fsspec

from tasks import store

__all__ = ["File", "Stream", "Unreadable", "find_files"]

MAGIC: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"PK\x03\x04": lambda raw: _zip(raw),  # defined below
}
BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
LEAST_LIMIT, RATIO = 1 << 26, 100
HEAD = 1 << 14


class Unreadable(ValueError):
    """A file, or the rest of it, that cannot be read; the message says why."""


class Stream(io.RawIOBase):
    """Bytes of a file, decompressed; `fault` says why it ended early, `count` how many they were."""

    def __init__(self, raw: BinaryIO, limit: int | None) -> None:
        """Wrap an open file; `limit` is the most it may decompress to."""
        self._raw, self._left, self.fault, self.count = raw, limit, "", 0
        self._read = getattr(raw, "read1", raw.read)  # read() loses what came before a fault

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        """Fill a buffer; 0 at the end."""
        if self.fault:
            return 0
        try:
            data = self._read(len(buffer))
        except BROKEN as error:
            if self._left is None and isinstance(error, OSError):
                raise
            self.fault = f"compressed data are damaged ({str(error) or type(error).__name__})"
            return 0
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.fault = "decompresses to far more than data do"
                return 0
        self.count += len(data)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()


@dataclass(frozen=True)
class File:
    """A file at an address, local or on S3.

    Attributes:
        address: Where it is.
        size: How large it was when it was found [bytes], as it is stored; None if nobody looked.
    """

    address: str
    size: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Last part of the address, without the ending of a compression."""
        bare = self.address.rstrip("/").rsplit("/", 1)[-1]
        return (
            bare.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz").removesuffix(".zip")
        )

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """Open the file as a stream of its decompressed bytes."""
        with _raw(self.address) as raw:
            head = raw.read(8)
            raw.seek(0)
            unpack = next((u for magic, u in MAGIC.items() if head.startswith(magic)), None)
            if unpack is None:
                yield Stream(raw, None)
                return
            raw.seek(0, io.SEEK_END)
            limit = max(LEAST_LIMIT, RATIO * raw.tell())
            raw.seek(0)
            with _unpacked(unpack, raw) as inner:
                yield Stream(inner, limit)

    def head(self, size: int = HEAD) -> bytes:
        """Return the first decompressed bytes.

        Raises:
            Unreadable: There are none, as the compressed data are damaged.
        """
        with self.open() as stream:
            found = io.BufferedReader(stream).read(size)
            if stream.fault and not found:
                raise Unreadable(stream.fault)
            return found

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Have the decompressed file as a local one, for libraries that need a path.

        Raises:
            Unreadable: Its compressed data are damaged.
        """
        with self.open() as stream:
            plain = stream._left is None
            if plain and not store.is_remote(self.address):
                yield Path(self.address)
                return
            with tempfile.TemporaryDirectory(prefix="losda-") as folder:
                path = Path(folder) / self.name
                with path.open("wb") as target:
                    shutil.copyfileobj(io.BufferedReader(stream), target, 1 << 20)
                if stream.fault:
                    raise Unreadable(stream.fault)
                yield path


def _unpacked(unpack: Callable[[BinaryIO], object], raw: BinaryIO) -> BinaryIO:
    try:
        return cast(BinaryIO, unpack(raw))
    except (*BROKEN, NotImplementedError, RuntimeError) as error:
        raise Unreadable(f"compressed data are damaged ({error})") from error


def _zip(raw: BinaryIO) -> IO[bytes]:
    """Open the one file of a zip archive, as IGRA's are."""
    archive = zipfile.ZipFile(raw)
    names = archive.namelist()
    if len(names) != 1:
        raise Unreadable(f"zip archive of {len(names)} files; allowed: of one")
    return archive.open(names[0])


def _raw(address: str) -> BinaryIO:
    if store.is_remote(address):
        return cast(BinaryIO, fsspec.filesystem("s3", **store.s3_options()).open(address, "rb"))
    return open(address, "rb")


def find_files(addresses: Iterable[str]) -> tuple[File, ...]:
    """Return the files at addresses, each once, sorted within each address.

    Raises:
        ValueError: Nothing is at one of them.
    """
    found: dict[str, int] = {}
    for address in addresses:
        sizes = _remote(address) if store.is_remote(address) else _local(address)
        if not sizes:
            allowed = "a file, a folder, a pattern such as 'day/*.bufr', or an s3:// prefix"
            raise ValueError(f"{address}: there is no such file; allowed: {allowed}")
        found |= sizes
    return tuple(File(name, size) for name, size in found.items())


def _local(address: str) -> dict[str, int]:
    path = Path(address)
    if path.is_file():
        names = [address]
    elif path.is_dir():
        names = [store.join(address, name) for name in store.files(address)]
    else:
        names = sorted(n for n in glob.glob(address, recursive=True) if Path(n).is_file())
    sizes = {}
    for name in names:
        with suppress(FileNotFoundError):  # removed since it was listed
            sizes[name] = Path(name).stat().st_size
    return sizes


def _remote(address: str) -> dict[str, int]:
    system = fsspec.filesystem("s3", **store.s3_options())
    system.invalidate_cache()  # what was listed before knows nothing of later files
    if any(sign in address for sign in "*?["):
        return _sizes(system.glob(address, detail=True))
    if system.isfile(address):
        return {address: int(system.info(address)["size"])}
    parent, _, prefix = address.rpartition("/")
    below = _sizes(system.find(address, detail=True))
    return below or _sizes(system.find(parent, prefix=prefix, detail=True))


def _sizes(listed: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the sizes of listed files by their addresses, in order."""
    files = ((n, about) for n, about in sorted(listed.items()) if about["type"] == "file")
    return {f"s3://{n}": int(about["size"]) for n, about in files if not n.endswith("/")}
