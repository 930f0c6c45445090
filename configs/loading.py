"""Read a configuration: `--set` over the environment over YAML over defaults.

A preset is a YAML file of this package; `LOSDA_METHOD__PRESET=paper` in the environment and
`method.preset=paper` on the command line mean the same. Every mistake is one line that names the
field, its value and what is allowed.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from configs.benchmark import Benchmark, Search
from configs.describe import describe
from configs.reprocess import Reprocess
from configs.schema import Config

PREFIX = "LOSDA_"
RESERVED = frozenset({"LOSDA_CACHE", "LOSDA_PAGES", "LOSDA_S3_TIMEOUT", "LOSDA_TRACEBACK"})

Tree = dict[str, Any]
AnyModel = TypeVar("AnyModel", bound=BaseModel)


class ConfigError(ValueError):
    """A mistake in a configuration, told in one line."""


def presets(folder: str = "configs") -> list[str]:
    """Return the names of the packaged configurations."""
    files = resources.files(folder).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """Load a preset or a YAML file with overrides `key=value`.

    Args:
        name_or_path: Name of a packaged preset, or path of a YAML file.
        overrides: Dotted keys and YAML values, such as `method.preset=paper`; later ones win.

    Raises:
        ConfigError: One line that says what is wrong and what is allowed.
    """
    return load_text(_read(name_or_path), name_or_path, overrides)


def load_text(text: str, source: str, overrides: Sequence[str] = ()) -> Config:
    """Load a configuration's YAML, as `load` does.

    Args:
        text: The YAML.
        source: Where it was read.
        overrides: As for `load`.

    Raises:
        ConfigError: One line that says what is wrong and what is allowed.
    """
    tree = merge(default_kinds(Config), _parse(text, source))
    tree = merge(tree, nest(_environment(os.environ)))
    tree = merge(tree, nest(_pair(text) for text in overrides))
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe(error, Config)) from None


def load_benchmark(name_or_path: str) -> Benchmark:
    """Load a benchmark of the package, or a YAML file.

    Raises:
        ConfigError: One line that says what is wrong and what is allowed.
    """
    return _validated(name_or_path, "configs.benchmarks", Benchmark)


def load_search(name_or_path: str) -> Search:
    """Load the search for a method's settings of the package, or a YAML file.

    Raises:
        ConfigError: One line that says what is wrong and what is allowed.
    """
    return _validated(name_or_path, "configs.tuning", Search)


def load_reprocess(settings: Mapping[str, object]) -> Reprocess:
    """Return what is to be reprocessed.

    Raises:
        ConfigError: One line that says what is wrong and what is allowed.
    """
    try:
        return Reprocess.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(describe(error, Reprocess)) from None


def _validated(name_or_path: str, folder: str, model: type[AnyModel]) -> AnyModel:
    tree = _parse(_read(name_or_path, folder), name_or_path)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe(error, model)) from None


def merge(base: Tree, over: Tree) -> Tree:
    """Lay one tree over another; where the kind changes, the other kind's settings go."""
    merged = dict(base)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and _same_kind(below, value):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def nest(pairs: Iterable[tuple[str, Any]]) -> Tree:
    """Turn dotted keys into a tree; later pairs win."""
    tree: Tree = {}
    for key, value in pairs:
        for part in reversed(key.split(".")):
            value = {part: value}
        tree = merge(tree, value)
    return tree


def default_kinds(model: type[BaseModel]) -> Tree:
    """Return the kinds that a configuration has when it names none."""
    tree: Tree = {}
    for key, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            tree[key] = default_kinds(type(field.default))
        elif key == "kind" and field.default is not PydanticUndefined:
            tree[key] = field.default
    return {key: value for key, value in tree.items() if value}


def _same_kind(below: Tree, over: Tree) -> bool:
    return "kind" not in over or below.get("kind", over["kind"]) == over["kind"]


def _read(name_or_path: str, folder: str = "configs") -> str:
    if name_or_path in presets(folder):
        return resources.files(folder).joinpath(f"{name_or_path}.yaml").read_text()
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.read_text()
    raise ConfigError(
        f"config: {name_or_path!r} is neither a preset ({', '.join(presets(folder))}) "
        "nor the path of a YAML file"
    )


def _parse(text: str, source: str) -> Tree:
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{source}: must hold `key: value` lines, found {tree!r}")
    return tree


def _environment(variables: Mapping[str, str]) -> Iterable[tuple[str, Any]]:
    for name in sorted(variables):
        if name.startswith(PREFIX) and name not in RESERVED:
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            yield key, _value(variables[name], name)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text!r}: must be key=value, such as method.preset=paper")
    return key, _value(value, key)


def _value(text: str, key: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{key}: {text!r} is not a YAML value") from None
