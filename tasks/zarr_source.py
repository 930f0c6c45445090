"""A Zarr store of data that is read with care: a chunk that is missing is an error.

Zarr takes a chunk that is not there for one full of the fill value, so an incomplete copy reads as
zeros or NaN. Here it is refused by its name; the coordinates are left out, as one that is all zero
(a single time, say) is legitimately not written. What is wrong with object storage is said in one
line (`tasks.remote`).
"""

from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from tasks.remote import client_address, explained, remote_options

__all__ = ["CompleteStore", "MissingChunkError", "data_store"]

METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


class MissingChunkError(ValueError):
    """A chunk of a store is missing."""


class CompleteStore(WrapperStore[Store]):
    """Any store, whose chunks must all be there."""

    def __init__(
        self, store: Store, address: str = "", exempt: frozenset[str] = frozenset()
    ) -> None:
        """Wrap a store.

        Args:
            store: The store.
            address: Its address, for messages.
            exempt: Arrays whose chunks may be missing.
        """
        super().__init__(store)
        self.address, self.exempt = address, exempt

    def _with_store(self, store: Store) -> "CompleteStore":
        return type(self)(store, self.address, self.exempt)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key, None if metadata are not there.

        Raises:
            MissingChunkError: A chunk is not there.
        """
        with explained(self.address):
            kind = prototype or default_buffer_prototype()
            found: Buffer | None = await self._store.get(key, kind, byte_range)
        array, _, name = key.partition("/")
        chunk = key.rsplit("/", 1)[-1] not in METADATA
        if found is None and name and chunk and array not in self.exempt:
            raise MissingChunkError(
                f"{self.address}: chunk {key!r} is missing; the copy is incomplete"
            )
        return found


def data_store(address: str, exempt: frozenset[str]) -> CompleteStore:
    """Return the store at a local path, an s3:// or a gs:// address, for reading.

    Args:
        address: Where the store is.
        exempt: Arrays whose chunks may be missing.
    """
    if "://" not in address:
        return CompleteStore(LocalStore(address, read_only=True), address, exempt)
    options: dict[str, Any] = remote_options(address)
    store = FsspecStore.from_url(client_address(address), storage_options=options, read_only=True)
    return CompleteStore(store, address, exempt)
