"""The commands of the registry: list, show, push, alias."""

from typing import Any

from tasks.components import open_registry
from tasks.registry import LoadedComponent, Registry

__all__ = ["entries", "push", "show"]


def entries(address: str) -> list[dict[str, Any]]:
    """Return every component that can be had: kind, digest, aliases."""
    return [
        {"component": e.component, "digest": e.digest, "aliases": list(e.aliases)}
        for e in open_registry(address).list()
    ]


def show(address: str, component: str, reference: str) -> dict[str, Any]:
    """Return the card of a component, verified, and its tensors' shapes."""
    loaded = open_registry(address).load(component, reference)
    shapes = {name: list(tensor.shape) for name, tensor in loaded.tensors.items()}
    return {"digest": loaded.digest, "card": loaded.card.model_dump(), "tensors": shapes}


def push(source: str, target: str, component: str, reference: str, alias: str | None) -> str:
    """Copy a component, verified, to another registry; return its digest, which stays the same."""
    loaded: LoadedComponent = open_registry(source).load(component, reference)
    registry = Registry(target)
    digest = registry.publish(component, loaded.tensors, loaded.card)
    if digest != loaded.digest:
        raise ValueError(f"{component} {loaded.digest}: {target} gives it the digest {digest}")
    if alias:
        registry.alias(component, alias, digest)
    return digest
