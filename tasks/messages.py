"""What is wrong with a document, in one line."""

from pydantic import ValidationError

__all__ = ["difference", "first_error"]


def difference(there: object, here: object, path: str = "") -> str:
    """Return the first difference of two documents in words; nothing if they are equal."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            below = f"{path}.{key}" if path else str(key)
            found = difference(there.get(key, "absent"), here.get(key, "absent"), below)
            if found:
                return found
        return ""
    return "" if there == here else f"{path or 'it'} is {there!r} there and {here!r} here"


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return the place and the reason of the first thing that is wrong, each one line."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or "JSON", first["msg"]
