"""Promote: join the streams of a reprocess into the one archive that people read.

Each cycle comes from the stream whose own part it is in; spin-ups are left out. What is there
already is not copied again, so it can be repeated at any time: after a kill, or when cycles of a
stream were made again. `published/CYCLE.json` is the last file of a cycle, as in a stream.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pandas as pd

from tasks import store
from tasks.archive_join import Archive, require_same
from tasks.archive_zarr import Document
from tasks.experiment import Experiment, cycle_name
from tasks.streams import Reprocessing, Stream

__all__ = ["promote", "require_complete"]

ARCHIVES, TABLES = ("background", "analysis"), ("feedback", "scores")
COPIES = 8  # cycles copied at the same time: on S3 most of it is waiting


def require_complete(found: Reprocessing) -> None:
    """Require that all cycles of all streams are published.

    Raises:
        ValueError: Some are not, or a stage is stale.
    """
    for stream in found.streams:
        if left := stream.unfinished():
            raise ValueError(
                f"stream {stream.name} of {found.root}: {len(left)} of {len(stream.times)} cycles "
                f"are not done, the first {cycle_name(left[0])}; `losda reprocess` goes on"
            )


def promote(found: Reprocessing, show: Callable[[int, int], None] | None = None) -> int:
    """Join the streams and return how many cycles were copied.

    Args:
        found: What was reprocessed.
        show: Is told how many cycles of how many are there.

    Raises:
        ValueError: A stream is not complete, or does not fit the others.
    """
    require_complete(found)
    for name in ARCHIVES:
        require_same([Archive(stream.root, name) for stream in found.streams])
    whole, copied, done = found.whole, 0, 0
    with ThreadPoolExecutor(COPIES) as pool:
        for stream in found.streams:
            for is_new in pool.map(_Join.of(whole, stream).copy, stream.own_times):
                copied, done = copied + is_new, done + 1
                if show is not None:
                    show(done, whole.config.cycles)
    for name in ARCHIVES:
        part = Archive(found.streams[0].root, name)
        Archive(found.root, name).finish(part, whole.start, whole.step, whole.config.cycles)
    return copied


@dataclass(frozen=True)
class _Join:
    """How the cycles of one stream come into the whole.

    Attributes:
        whole: The whole.
        stream: The stream.
        groups: The metadata of the stream's archives.
    """

    whole: Experiment
    stream: Stream
    groups: Mapping[str, Document]

    @classmethod
    def of(cls, whole: Experiment, stream: Stream) -> "_Join":
        return cls(whole, stream, {name: Archive(stream.root, name).group() for name in ARCHIVES})

    def copy(self, time: pd.Timestamp) -> bool:
        """Copy a cycle, unless what the stream committed is there already."""
        published = f"published/{cycle_name(time)}.json"
        record = store.read_bytes(store.join(self.stream.root, published))
        target = store.join(self.whole.root, published)
        if _is(target, record):
            return False
        index = (time - self.stream.experiment.start) // self.whole.step
        to = (time - self.whole.start) // self.whole.step
        for name, group in self.groups.items():
            part = Archive(self.stream.root, name)
            Archive(self.whole.root, name).copy(part, group, int(index), int(to))
        for folder in TABLES:
            file = f"{folder}/{cycle_name(time)}.parquet"
            data = store.read_bytes(store.join(self.stream.root, file))
            store.write_bytes(store.join(self.whole.root, file), data, durable=False)
        store.write_bytes(target, record, durable=False)
        return True


def _is(address: str, data: bytes) -> bool:
    try:
        return store.read_bytes(address) == data
    except FileNotFoundError:
        return False
