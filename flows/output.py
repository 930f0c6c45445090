"""What commands share: options, and standard output for the result alone, JSON if asked for."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

__all__ = ["Json", "Overrides", "absolute", "print_json", "standard_output"]

Json = Annotated[bool, Parameter(name="--json", negative="")]
Overrides = Annotated[list[str] | None, Parameter(name="--set", negative="")]


def absolute(address: str) -> str:
    """Return a local path that means the same in every working directory."""
    return address if "://" in address else str(Path(address).absolute())


@contextmanager
def standard_output(as_json: bool) -> Iterator[None]:
    """Keep standard output for the JSON document alone."""
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def print_json(document: object) -> None:
    """Print the one JSON document; there is no NaN in JSON."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
