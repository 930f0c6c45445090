"""The account of what was read: nothing is lost without a reason and a count.

Laws, which the tests check: reports + nothing = those with a row + those left out, and
values = kept + left out. A damaged message is named with its offset in the (decompressed) file.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import pandas as pd

from models.observations.reports import Reports
from models.observations.tabulate import Tabulated, tabulate
from tasks.readers.files import File, Unreadable

__all__ = ["Account", "Batch", "Reader", "Unreadable", "batch_of"]

MOST_NAMED = 1000


@dataclass
class Account:
    """Counts of what was read and of what is not in the table.

    Attributes:
        messages: Messages, or lines of text, that were found.
        reports: Reports in them; of soundings each level.
        values: Observed values of sound reports for which the table has a variable.
        kept: Rows of the table by report type and variable.
        left: What is not in the table: counts by (what, reason).
        damages: Number of damaged messages or lines by reason.
        damaged: Offset and reason of the first of them.
    """

    messages: int = 0
    reports: int = 0
    values: int = 0
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    left: Counter[tuple[str, str]] = field(default_factory=Counter)
    damages: Counter[str] = field(default_factory=Counter)
    damaged: list[tuple[int, str]] = field(default_factory=list)

    def damage(self, offset: int, reason: str) -> None:
        """Count a damaged message or line."""
        self.damages[reason] += 1
        if len(self.damaged) < MOST_NAMED:
            self.damaged.append((offset, reason))

    def leave(self, what: str, reason: str, count: int = 1) -> None:
        """Count what is left out: a `message`, `report`, `level`, `value`, `other value`, `file`.

        An `other value` is one for which the table has no variable.
        """
        if count:
            self.left[what, reason] += count

    def add(self, other: "Account") -> None:
        """Add the counts of another account."""
        self.messages += other.messages
        self.reports += other.reports
        self.values += other.values
        self.kept.update(other.kept)
        self.left.update(other.left)
        self.damages.update(other.damages)
        self.damaged += other.damaged[: MOST_NAMED - len(self.damaged)]


class Batch(NamedTuple):
    """Part of a file: rows of the observation table, and their account."""

    table: pd.DataFrame
    account: Account


class Reader(Protocol):
    """What reads one format: a file → batches, memory bounded by a batch."""

    def __call__(self, file: File) -> Iterator[Batch]:
        """Yield the batches of a file.

        Raises:
            Unreadable: The file, or the rest of it, cannot be read.
        """


def batch_of(reports: Reports, source: str, account: Account, what: str = "report") -> Batch:
    """Return the table of reports with its counts added to the account."""
    result: Tabulated = tabulate(reports, source)
    account.reports += len(reports)
    account.values += result.candidates
    account.kept.update(zip(result.table["type"], result.table["variable"], strict=True))
    account.left.update({(what, reason): n for reason, n in result.reports_left.items()})
    account.left.update({("value", reason): n for reason, n in result.values_left.items()})
    return Batch(result.table, account)
