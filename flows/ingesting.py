"""`losda ingest`: what was read by type and variable, kept, left out by reason, and damaged."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from flows.tables import print_rows
from tasks.readers.account import Account
from tasks.readers.formats import FORMATS
from tasks.readers.reading import FileAccount, read_files

__all__ = ["document_of", "ingest_files", "print_ingest"]

SHOWN = 10
FIELD, NAMED = "field", 3


def ingest_files(addresses: Sequence[str], form: str | None, out: str | None) -> dict[str, Any]:
    """Read files and return the account of all as a document.

    Raises:
        ValueError: No file could be read at all.
    """
    start = time.monotonic()
    document = document_of(read_files(addresses, form, out))
    return document | {"out": out, "seconds": round(time.monotonic() - start, 3)}


def document_of(accounts: Sequence[FileAccount]) -> dict[str, Any]:
    """Return the account of files as a document.

    Raises:
        ValueError: No file could be read at all.
    """
    unread = [(name, own) for name, own in accounts if _unread(own)]
    if len(unread) == len(accounts):
        name, own = unread[0]
        reason = next(reason for what, reason in own.left if what == "file")
        raise ValueError(f"{name}: {reason}; allowed: {', '.join(FORMATS)}")
    return _document(accounts)


def _unread(account: Account) -> bool:
    return not account.messages and any(what == "file" for what, _ in account.left)


def _document(accounts: Sequence[FileAccount]) -> dict[str, Any]:
    total = Account()
    damaged: list[dict[str, Any]] = []
    for name, own in accounts:
        total.add(own)
        damaged += [{"file": name, "offset": o, "reason": r} for o, r in own.damaged]
    return {
        "files": len(accounts),
        "messages": total.messages,
        "reports": total.reports,
        "values": total.values,
        "kept": sum(total.kept.values()),
        "by_type": _nested(total.kept),
        "left": _nested(total.left),
        "damaged": {
            "count": sum(total.damages.values()),
            "reasons": dict(total.damages.most_common()),
            "messages": damaged,
        },
        "unread": [
            {"file": name, "reason": reason}
            for name, own in accounts
            for what, reason in own.left
            if what == "file"
        ],
    }


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = defaultdict(dict)
    for (outer, inner), count in sorted(counts.items()):
        nested[outer][inner] = count
    return dict(nested)


def print_ingest(document: Mapping[str, Any]) -> None:
    """Print the account for people."""
    names = sorted({name for counts in document["by_type"].values() for name in counts})
    rows = [
        {"type": type_, **{name: str(counts.get(name, "")) for name in names}}
        for type_, counts in document["by_type"].items()
    ]
    title = (
        f"{document['files']} files, {document['messages']} messages or lines, "
        f"{document['reports']} reports: {document['kept']} of {document['values']} values kept"
    )
    print_rows(rows, title)
    left = [
        {"left out": reason, "of": what, "count": str(count)}
        for what, reasons in document["left"].items()
        for reason, count in _most_first(_summed(reasons) if what == FIELD else reasons)
    ]
    damaged = [
        {"left out": reason, "of": "damaged message or line", "count": str(count)}
        for reason, count in document["damaged"]["reasons"].items()
    ]
    if left or damaged:
        sys.stdout.write("\n")
        print_rows([*left, *damaged], "left out, by reason")
    for one in document["unread"][:SHOWN]:
        sys.stdout.write(f"not read: {one['file']}: {one['reason']}\n")
    for one in document["damaged"]["messages"][:SHOWN]:
        sys.stdout.write(f"damaged: {one['file']} at byte {one['offset']}: {one['reason']}\n")
    if document["out"]:
        sys.stdout.write(f"\ntable  {document['out']}\n")


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def _summed(fields: Mapping[str, int]) -> dict[str, int]:
    """Return many fields as one, with the names of the most frequent."""
    names = [name.removesuffix(": not read") for name, _ in _most_first(fields)[:NAMED]]
    few = len(fields) <= NAMED
    text = f"not read: {', '.join(names)}{'' if few else ', … (all: --json)'}"
    return {
        f"{len(fields)} {'field' if len(fields) == 1 else 'fields'} {text}": sum(fields.values())
    }
