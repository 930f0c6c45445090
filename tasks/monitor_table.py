"""The monitor's table: rows of cycles in files of HUNDRED, and one row for each full file.

    ROOT/monitor/000003.json    the rows of the cycles 300 to 399 of the experiment
    ROOT/monitor/blocks.json    the merged row of each file

A cycle changes one file of bounded size, so its cost does not grow with the number of cycles (that
of `blocks.json` does, by a row in a hundred cycles). All of it can be made again from the ledger.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from tasks import store
from tasks.experiment import cycle_time
from tasks.monitor_rows import Row, merged

__all__ = ["HUNDRED", "MonitorTable"]

MONITOR, BLOCKS, HUNDRED = "monitor", "blocks.json", 100
Rows = dict[str, Row]


@dataclass(frozen=True)
class MonitorTable:
    """The rows of the experiment at an address.

    Attributes:
        root: Address of the experiment.
        start: First cycle time.
        step: Time between cycles.
    """

    root: str
    start: pd.Timestamp
    step: pd.Timedelta

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows, or replace those of the same cycles."""
        by_block: dict[int, list[Row]] = {}
        for row in rows:
            by_block.setdefault(self.block_of(cycle_time(row["time"])), []).append(row)
        if not by_block:
            return
        blocks = self.blocks()
        for number, added in by_block.items():
            there = self.block(number) | {row["time"]: row for row in added}
            ordered = dict(sorted(there.items()))
            self._write(_name(number), ordered)
            blocks[_name(number)] = merged(list(ordered.values()))
        self._write(BLOCKS, dict(sorted(blocks.items())))

    def remove(self, cycles: Iterable[str]) -> None:
        """Take out the rows of cycles that are not published any more."""
        blocks = self.blocks()
        for cycle in cycles:
            number = self.block_of(cycle_time(cycle))
            left = {name: row for name, row in self.block(number).items() if name != cycle}
            self._write(_name(number), left)
            blocks.pop(_name(number), None)
            if left:
                blocks[_name(number)] = merged(list(left.values()))
            self._write(BLOCKS, blocks)

    def block_of(self, time: pd.Timestamp) -> int:
        """Return the number of a cycle's file."""
        return int((time - self.start) // self.step) // HUNDRED

    def block(self, number: int) -> Rows:
        """Return the rows of a file by cycle, in order; none if it is not there."""
        return self._read(_name(number))

    def blocks(self) -> Rows:
        """Return the merged row of each file by its name, in order."""
        return self._read(BLOCKS)

    def last(self, count: int) -> tuple[list[Row], list[Row]]:
        """Return the merged rows of long ago, and the rows of at least the last `count` cycles."""
        blocks = self.blocks()
        files = -(-count // HUNDRED) + 1
        recent = [row for name in list(blocks)[-files:] for row in self._read(name).values()]
        return list(blocks.values())[:-files], recent

    def _read(self, name: str) -> Rows:
        try:
            found: Rows = json.loads(store.read_bytes(store.join(self.root, MONITOR, name)))
        except FileNotFoundError:
            return {}
        except ValueError:  # damaged: it is made again
            return {}
        return found

    def _write(self, name: str, rows: Rows) -> None:
        data = json.dumps(rows, separators=(",", ":"), allow_nan=False).encode()
        store.write_bytes(store.join(self.root, MONITOR, name), data, durable=False)


def _name(number: int) -> str:
    return f"{number:06d}.json"
