"""The journal of an experiment: failures, holds, releases, reruns and alerts, in one order.

    ROOT/journal/000001.json    one entry, created exclusively, never changed

The ledger says what is done; the journal says what went wrong and what people want. Entries have
an order without any clock: a release counts for the failures with smaller numbers. Whoever loses
the creation of a number takes the next, so any number of processes may write.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from configs.hiding import hide
from tasks import store
from tasks.ledger_commits import now, user
from tasks.messages import first_error

__all__ = ["Entry", "Journal", "Kind"]

JOURNAL = "journal"
Kind = Literal["failure", "death", "hold", "release", "rerun", "alert", "late"]


class Entry(BaseModel):
    """One thing that happened, or that somebody wants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    """`failure`: an attempt raised an error. `death`: its process was killed. `late`: files of
    observations came after the cutoff."""
    text: Annotated[str, AfterValidator(hide)]
    """The error in one line, the reason, or the alert."""
    cycle: str = ""
    """The cycle's name; empty if it concerns the whole experiment. Of a rerun the first one."""
    stage: str = ""
    """The stage, of failures and alerts that concern one."""
    generation: int = 1
    """The stage's generation, of failures."""
    attempt: str = ""
    """Name of the attempt that failed, where it is known."""
    files: tuple[str, ...] = ()
    """The files that came late."""
    by: str = Field(default_factory=user)
    """Name of the user."""
    host: str = Field(default_factory=socket.gethostname)
    """Where."""
    created: AwareDatetime = Field(default_factory=now, validate_default=True)
    """When, UTC."""


@dataclass
class Journal:
    """The journal of the experiment at one address, local or on S3.

    Attributes:
        root: Address of the experiment.
        known: Entries that were read, in order; they never change.
    """

    root: str
    known: dict[str, Entry] = field(default_factory=dict)

    def entries(self) -> Sequence[Entry]:
        """Return all entries in order; only new ones are read.

        Raises:
            ValueError: One is damaged.
        """
        names = [n for n in store.names(store.join(self.root, JOURNAL)) if n.endswith(".json")]
        if list(self.known) != names[: len(self.known)]:
            self.known.clear()  # somebody changed the folder by hand
        for name in names[len(self.known) :]:
            self.known[name] = self._read(store.join(self.root, JOURNAL, name))
        return list(self.known.values())

    def write(self, entry: Entry) -> None:
        """Add an entry after all others."""
        data = entry.model_dump_json(indent=1).encode() + b"\n"
        names = store.names(store.join(self.root, JOURNAL))
        number = int(names[-1].removesuffix(".json")) if names else 0
        while True:
            number += 1
            address = store.join(self.root, JOURNAL, f"{number:06d}.json")
            if store.create_exclusive(address, data):
                return

    def _read(self, address: str) -> Entry:
        try:
            return Entry.model_validate_json(store.read_bytes(address))
        except ValidationError as error:
            place, reason = first_error(error)
            raise ValueError(f"{address} is no entry: {place}: {reason}") from error
