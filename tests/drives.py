"""Drives of three cycles by a clock that is far ahead: their options, and what they have done."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Losda = Callable[..., tuple[int, str, str]]
Start = Callable[..., "subprocess.Popen[str]"]
CYCLES = ("20010103T00", "20010103T06", "20010103T12")
FAST = ("--set", "operations.clock.kind=mapped", "--set", "operations.clock.rate=1e6")
PROMPT = ("--set", "operations.retry_after=PT0.3S", "--every", "0.2s")


def mapped(at: str = "2020-01-01T00:00") -> tuple[str, ...]:
    """Return the options of a drive whose clock begins at a time and is a million times as fast."""
    return (*FAST, "--set", f"operations.clock.at={at}", *PROMPT)


def journal(root: Path) -> list[dict[str, Any]]:
    """Return the entries of an experiment's journal."""
    return [json.loads(path.read_text()) for path in sorted((root / "journal").glob("*.json"))]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds."""
    ended = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ended
        time.sleep(0.02)


def commits(root: Path) -> int:
    """Return the number of stages that are committed."""
    return len(list(root.glob("ledger/*/*.json")))
