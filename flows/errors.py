"""What the command line says when something is wrong: one line, and the exit code.

0: done. 1: it failed. 2: the input is wrong; nothing was changed. Mistakes in the input are
ValueErrors everywhere, failures are OSErrors (input and output) or ArithmeticErrors (a state blew
up). Any other exception is a mistake in the program and shows its traceback; LOSDA_TRACEBACK=1
shows it always.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from cyclopts import CycloptsError

from configs.hiding import hide

__all__ = ["reported"]

P = ParamSpec("P")


def reported(command: Callable[P, int | None]) -> Callable[P, int]:
    """Turn the exceptions of a command into one line and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs) or 0
        except (ValueError, OSError, ArithmeticError) as error:
            if os.environ.get("LOSDA_TRACEBACK"):
                raise
            sys.stderr.write(f"losda: {one_line(error)}\n")
            return 2 if isinstance(error, ValueError) else 1

    return wrapped


def one_line(error: BaseException) -> str:
    """Return the message of an exception as one line."""
    text = hide(" ".join(str(error).split()))
    return (
        text
        if isinstance(error, (ValueError, CycloptsError))
        else f"{type(error).__name__}: {text}"
    )
