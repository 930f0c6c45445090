"""The commands `losda registry list | show | push | alias | adopt`."""

import dataclasses
import sys
from typing import Annotated

from cyclopts import App, Parameter

from flows.adopting import adopt
from flows.errors import reported
from flows.output import Json, print_json

__all__ = ["registry"]

registry = App(name="registry", help="Trained components: list, show, push, alias, adopt.")
registry.command(adopt)

Address = Annotated[str, Parameter(name="--registry")]


@registry.command(name="list")
@reported
def list_components(*, address: Address = "packaged", as_json: Json = False) -> None:
    """List the components that can be had.

    Args:
        address: Registry that is searched before the package's own.
        as_json: Print one JSON document.
    """
    from tasks.components import open_registry

    found = open_registry(address).list()
    if as_json:
        print_json([dataclasses.asdict(entry) for entry in found])
        return
    from flows.tables import print_rows

    rows = [
        {"component": e.component, "digest": e.digest, "aliases": ", ".join(e.aliases)}
        for e in found
    ]
    print_rows(rows, f"components in {address}")


@registry.command
@reported
def show(component: str, reference: str, *, address: Address = "packaged") -> None:
    """Print the card of a component as JSON, after verifying it.

    Args:
        component: Kind of component, such as denoiser.
        reference: Alias, digest, or the first 8 or more digits of one.
        address: Registry that is searched before the package's own.
    """
    from tasks.components import open_registry

    loaded = open_registry(address).load(component, reference)
    shapes = {name: list(tensor.shape) for name, tensor in loaded.tensors.items()}
    print_json({"digest": loaded.digest, "card": loaded.card.model_dump(), "tensors": shapes})


@registry.command
@reported
def push(
    component: str,
    reference: str,
    target: str,
    *,
    alias: str | None = None,
    address: Address = "packaged",
) -> None:
    """Copy a component to another registry.

    Args:
        component: Kind of component, such as denoiser.
        reference: Alias, digest, or the first 8 or more digits of one.
        target: Address of the registry to copy to.
        alias: Let this name stand for it there.
        address: Registry that is searched before the package's own.
    """
    from tasks.components import open_registry
    from tasks.registry import Registry

    loaded, to = open_registry(address).load(component, reference), Registry(target)
    digest = to.publish(component, loaded.tensors, loaded.card)
    if alias:
        to.alias(component, alias, digest)
    sys.stdout.write(f"{digest}\n")


@registry.command
@reported
def alias(component: str, name: str, reference: str, *, address: Address) -> None:
    """Let a name stand for a component.

    Args:
        component: Kind of component, such as denoiser.
        name: The alias.
        reference: Alias, digest, or the first 8 or more digits of one.
        address: The registry.
    """
    from tasks.registry import Registry

    store = Registry(address)
    store.alias(component, name, store.resolve(component, reference))
