"""Seconds of work: by part for a commit, and of the whole process for the overhead.

Overhead is 1 - (seconds in which model or input/output work was going on) / wall seconds; spans of
work that overlap count once.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch", "busy_seconds", "working"]

_spans: list[tuple[float, float]] = []
_lock = threading.Lock()


class Stopwatch:
    """Adds up seconds by part."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


@contextmanager
def working() -> Iterator[None]:
    """Record the block as a span of model or input/output work of this process."""
    began = time.perf_counter()
    try:
        yield
    finally:
        with _lock:
            _spans.append((began, time.perf_counter()))


def busy_seconds(since: float) -> float:
    """Return the length of the union of all spans of work after `since` (perf_counter)."""
    total, end = 0.0, since
    with _lock:
        spans = sorted(_spans)
    for began, ended in spans:
        total += max(0.0, ended - max(began, end))
        end = max(end, ended)
    return total
