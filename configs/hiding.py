"""No secret in what is kept or shown: messages, journals, states and logs of runs, configurations.

Secrets come from the environment (or from blocks of Prefect) and stay there. `hide` takes out of a
text what the environment says is secret, and what an address holds before its `@`; such an address
is refused in a configuration.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["Location", "hide", "hiding", "without_credentials"]

ACCOUNT = re.compile(r"(?<=://)[^/\s@'\"]+@")
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|AUTH_STRING|CONNECTION_URL|_KEY(_ID)?$")
SHORTEST = 6
"""Shorter values of such variables are not secret: `true`, `0`."""
STARS = "***"
KINDS = (OSError, ValueError, ArithmeticError)


def hide(text: str) -> str:
    """Return a text with its secrets replaced by stars."""
    for secret in sorted(_secrets(os.environ), key=len, reverse=True):
        text = text.replace(secret, STARS)
    return ACCOUNT.sub(f"{STARS}@", text)


@contextmanager
def hiding() -> Iterator[None]:
    """Replace an error whose message holds a secret by one of its kind that does not."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if hide(text) == text:
            raise
        kind = next((kind for kind in KINDS if isinstance(error, kind)), RuntimeError)
        raise kind(f"{type(error).__name__}: {hide(text)}") from None


def without_credentials(address: str) -> str:
    """Return an address.

    Raises:
        ValueError: It holds a user or a password.
    """
    if ACCOUNT.search(address):
        raise ValueError(
            "holds credentials; allowed are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "in the environment"
        )
    return address


Location = Annotated[str, AfterValidator(without_credentials)]
"""An address without credentials."""


def _secrets(environment: Mapping[str, str]) -> set[str]:
    found = set[str]()
    for name, value in environment.items():
        if SECRET.search(name):
            found |= {value, value.partition(":")[2] if "AUTH" in name else ""}
        for account in ACCOUNT.findall(value):
            found.add(account[:-1].partition(":")[2])
    return {value for value in found if len(value) >= SHORTEST}
