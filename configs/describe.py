"""One line for a mistake in a configuration: the field, its value, what was allowed."""

from collections.abc import Iterator
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from configs.hiding import hide

Models = list[type[BaseModel]]


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line for the first mistake of a validation, and the number of the others."""
    details = error.errors(include_url=False)
    line = _line(details[0], model)
    return hide(line if len(details) == 1 else f"{line} (and {len(details) - 1} more)")


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path, owner, options = _locate(detail["loc"], model)
    key, found, context = ".".join(map(str, path)) or "config", detail["input"], detail.get("ctx")
    match detail["type"]:
        case "extra_forbidden":
            return (
                f"{key}: unknown key (value {found!r}); allowed: {', '.join(owner.model_fields)}"
            )
        case "missing":
            return f"{key}: missing; it has no default"
        case "union_tag_invalid" if context:
            return f"{key}.kind: {context['tag']!r}; allowed: {context['expected_tags']}"
        case "union_tag_not_found":
            kinds = ", ".join(repr(_tag(option)) for option in options)
            return f"{key}.kind: missing (value {found!r}); allowed: {kinds}"
        case "literal_error" if context:
            return f"{key}: {found!r}; allowed: {context['expected']}"
        case "model_type" | "model_attributes_type":
            return f"{key}: {found!r}; must be a mapping of keys to values"
    message = detail["msg"].removeprefix("Value error, ")
    if isinstance(found, dict):
        return message if ":" in message else f"{key}: {message}"
    return f"{key}: {found!r}; {message[0].lower()}{message[1:]}"


def _locate(
    location: tuple[int | str, ...], model: type[BaseModel]
) -> tuple[list[int | str], type[BaseModel], Models]:
    """Return the keys without the tags of unions, the last one's owner, what may stand there."""
    path: list[int | str] = []
    owner, options, mapping = model, [model], False
    for part in location:
        if mapping:  # a name that the user chose
            path.append(part)
            mapping = False
            continue
        if len(options) > 1:
            options = [option for option in options if _tag(option) == part]
            continue
        path.append(part)
        if isinstance(part, int):
            continue
        owner = options[0]
        field = owner.model_fields.get(part)
        options = list(_models(field.annotation)) if field else []
        mapping = field is not None and get_origin(field.annotation) is dict
    return path, owner, options


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _tag(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    return str(get_args(field.annotation)[0]) if field else ""
