"""Join published archives of parts of a period into one, chunk by chunk, byte by byte.

A time is a chunk of every variable (`archive_zarr`), so a time of a part is copied by giving its
chunks another number. Nothing is decoded. The metadata come last: a reader sees all times or, as
long as the first join goes on, none. It may be interrupted at any instant and repeated.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from tasks import store
from tasks.archive_zarr import METADATA, TIMES, Document, chunk_key, dump, time_chunks
from tasks.messages import difference

__all__ = ["Archive", "require_same"]

STAGING = ".staging"


@dataclass(frozen=True)
class Archive:
    """A published archive: ROOT/NAME.zarr.

    Attributes:
        root: Address of the experiment.
        name: Name of the archive, such as analysis.
    """

    root: str
    name: str

    @property
    def address(self) -> str:
        """Its address."""
        return store.join(self.root, f"{self.name}.zarr")

    def group(self) -> Document:
        """Return its metadata.

        Raises:
            ValueError: Nothing is published there.
        """
        try:
            return cast(Document, json.loads(store.read_bytes(store.join(self.address, METADATA))))
        except FileNotFoundError:
            raise ValueError(f"{self.address}: nothing is published there") from None

    def copy(self, part: "Archive", group: Document, index: int, to: int) -> None:
        """Copy one time of a part.

        Args:
            part: Where from.
            group: The part's metadata.
            index: Its position there.
            to: Its position here.
        """
        chunks = {}
        for name, array in _growing(group):
            own = store.join(part.address, name, chunk_key(array, index))
            chunks[f"{name}/{chunk_key(array, to)}"] = store.read_bytes(own)
        self._write(chunks)

    def finish(
        self, part: "Archive", start: pd.Timestamp, step: pd.Timedelta, length: int
    ) -> None:
        """Write coordinates and metadata, taken from a part, for so many times from `start` on."""
        group = part.group()
        contents = {}
        for name, _ in _still(group):
            for file in store.names(store.join(part.address, name)):
                if file != METADATA:
                    contents[f"{name}/{file}"] = store.read_bytes(
                        store.join(part.address, name, file)
                    )
        for block in range((length - 1) // TIMES + 1):
            contents |= time_chunks(start, step, block)
        self._write(contents)
        whole = _resized(group, start, length)
        self._write({f"{n}/{METADATA}": dump(array) for n, array in _arrays(whole)})
        self._write({METADATA: dump(whole)})
        store.sweep(store.join(self.root, STAGING))

    def _write(self, contents: dict[str, bytes]) -> None:
        staging = store.join(self.root, STAGING)
        store.write_many(self.address, contents, durable=False, staging=staging)


def require_same(parts: list[Archive]) -> None:
    """Require that archives differ in nothing but their times.

    Raises:
        ValueError: They do.
    """
    start, first = pd.Timestamp(0), parts[0].group()
    for part in parts[1:]:
        found = difference(_resized(first, start, 0), _resized(part.group(), start, 0))
        if found:
            raise ValueError(f"{part.address} is unlike {parts[0].address}: {found}")


def _resized(group: Document, start: pd.Timestamp, length: int) -> Document:
    """Return the metadata of a group with other times."""
    whole: Any = json.loads(json.dumps(group))
    whole["attributes"]["start"] = start.isoformat()
    for _, array in _arrays(whole):
        if array.get("dimension_names", [])[:1] == ["time"]:
            array["shape"][0] = length
    return cast(Document, whole)


def _arrays(group: Document) -> Iterator[tuple[str, Any]]:
    inline: Any = group["consolidated_metadata"]
    yield from inline["metadata"].items()


def _growing(group: Document) -> Iterator[tuple[str, Any]]:
    """Yield the arrays with a dimension of time, without `time`."""
    for name, array in _arrays(group):
        if name != "time" and array.get("dimension_names", [])[:1] == ["time"]:
            yield name, array


def _still(group: Document) -> Iterator[tuple[str, Any]]:
    """Yield the arrays without a dimension of time."""
    for name, array in _arrays(group):
        if array.get("dimension_names", [])[:1] != ["time"]:
            yield name, array
