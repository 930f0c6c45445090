"""The passwords of `losda up`: made once, kept in a file that only its owner can read.

    DIR/environment    KEY=VALUE lines: `set -a; . DIR/environment; set +a` lets every command
                       of a shell talk to the services

They are handed to processes by environment alone: no command line and no log holds one.
"""

import os
import secrets
from pathlib import Path

__all__ = ["FILE", "read_or_make", "write"]

FILE = "environment"
LENGTH = 24


def read_or_make(folder: Path, names: tuple[str, ...]) -> tuple[dict[str, str], bool]:
    """Return the values of a folder, and whether they are new; what is missing is made.

    Raises:
        ValueError: Others can read the file.
    """
    path = folder / FILE
    there: dict[str, str] = {}
    if path.exists():
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise ValueError(f"{path}: mode {mode:o}; allowed is 600, as it holds passwords")
        lines = [line for line in path.read_text().splitlines() if "=" in line]
        there = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    made = {name: secrets.token_urlsafe(LENGTH) for name in names if name not in there}
    return there | made, bool(made)


def write(folder: Path, values: dict[str, str]) -> Path:
    """Keep values in a folder; nobody else can read them at any time."""
    path = folder / FILE
    hidden = path.with_suffix(".new")
    hidden.unlink(missing_ok=True)
    descriptor = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("".join(f"{name}={value}\n" for name, value in values.items()))
    hidden.replace(path)
    return path
