"""Many files → one account, and one table if it is asked for; memory bounded by a batch.

Quality control belongs between a batch and `TableFile.add`: no reader judges a value.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext

from tasks.readers.account import Account, Batch
from tasks.readers.files import File, find_files
from tasks.readers.formats import FORMATS, read_file
from tasks.readers.table_file import table_file

__all__ = ["FileAccount", "read_batches", "read_files"]

FileAccount = tuple[str, Account]


def read_batches(
    addresses: Iterable[str], form: str | None = None
) -> Iterator[tuple[File, Batch]]:
    """Yield all batches of all files, file by file.

    Args:
        addresses: Paths, folders, patterns or s3:// prefixes.
        form: Format of all files; seen by their first bytes if None.

    Raises:
        ValueError: Nothing is at an address, or there is no such format.
    """
    yield from _batches(_checked(addresses, form), form)


def _checked(addresses: Iterable[str], form: str | None) -> tuple[File, ...]:
    if form is not None and form not in FORMATS:
        raise ValueError(f"format {form!r}; allowed: {', '.join(FORMATS)}")
    return find_files(addresses)


def _batches(files: Iterable[File], form: str | None) -> Iterator[tuple[File, Batch]]:
    for file in files:
        for batch in read_file(file, form):
            yield file, batch


def read_files(
    addresses: Iterable[str],
    form: str | None = None,
    out: str | None = None,
    progress: Callable[[str], None] = lambda address: None,
) -> list[FileAccount]:
    """Read files, write their table, and return the account of each.

    Args:
        addresses: Paths, folders, patterns or s3:// prefixes.
        form: Format of all files; seen by their first bytes if None.
        out: Parquet file of all rows, local or on S3.
        progress: Called with each file before it is read.

    Raises:
        ValueError: Nothing is at an address, or there is no such format.
    """
    accounts: dict[str, Account] = {}
    files = _checked(addresses, form)  # before the table is among them
    with nullcontext() if out is None else table_file(out) as table:
        for file, batch in _batches(files, form):
            if file.address not in accounts:
                progress(file.address)
            own = accounts.setdefault(file.address, Account())
            own.add(batch.account)
            if table is not None:
                table.add(batch.table)
        if table is not None and table.dropped and accounts:
            last = next(reversed(accounts.values()))
            for name in sorted(table.dropped):
                last.leave("column", f"{name}: not written to the table")
    return list(accounts.items())
