"""What is in a report but has no place in the table and is not decoded: named, with how often it is there.

Values that are decoded and have no variable are counted as `other value`; a `field` is not looked
into, so its count is that of the reports that have room for it.
"""

from collections.abc import Iterable

from tasks.bufr.decode import Decoded
from tasks.bufr.sections import spelled
from tasks.readers.account import Account

__all__ = ["leave_elements", "leave_fields"]

QUALITY, LONGEST = 33, 60


def leave_fields(names: Iterable[str], count: int, account: Account) -> None:
    """Count fields that are not read.

    Args:
        names: Their names.
        count: Number of reports that have them.
        account: Where they are counted.
    """
    for name in names:
        account.leave("field", f"{_plain(name)}: not read", count)


def leave_elements(decoded: Decoded, count: int, account: Account) -> None:
    """Count the BUFR elements that are skipped; those of class 33 say how good others are.

    Args:
        decoded: Subsets of one template.
        count: Number of those subsets that are reports.
        account: Where they are counted.
    """
    for code in decoded.plan.unread:
        known = decoded.tables.elements.get(code)
        name = f"{spelled(code)} {_plain(known.name.lower()) if known else 'local element'}"
        quality = code // 1000 == QUALITY
        account.leave("quality information" if quality else "field", f"{name}: not read", count)
    if decoded.plan.associated:
        reason = "associated fields (operator 2 04): not read"
        account.leave("quality information", reason, count)


def _plain(name: str) -> str:
    """Return a name that a terminal can show."""
    text = "".join(sign if sign.isprintable() else " " for sign in name)
    return " ".join(text.split())[:LONGEST]
