"""The digest of the science code: all modules and data files of `models`, without its registry."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

__all__ = ["code_digest"]


@cache
def code_digest() -> str:
    """Return the SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for name, file in sorted(walk("", resources.files("models")), key=lambda pair: pair[0]):
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def walk(name: str, item: Traversable) -> Iterator[tuple[str, Traversable]]:
    """Yield the files below a folder, neither caches nor the registry."""
    if item.is_file():
        yield name, item
        return
    for child in item.iterdir():
        if child.name != "__pycache__" and (name, child.name) != ("", "registry"):
            yield from walk(f"{name}/{child.name}", child)
