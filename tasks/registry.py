"""The registry of trained components, content-addressed.

    REGISTRY/COMPONENT/DIGEST/weights.safetensors    tensors, sorted by name
    REGISTRY/COMPONENT/DIGEST/card.json              what they are, sorted keys
    REGISTRY/COMPONENT/aliases/NAME                  a file that holds a DIGEST

    DIGEST = SHA-256(card.json), and the card holds SHA-256(weights.safetensors) as `weights`,

so the address fixes every byte of both files and a mismatch names the file (`sha256sum` checks it
by hand). Every load verifies both; publishing the same component again changes nothing. A card
names the digests of the components that this one was trained with (its parents); another parent is
refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from pydantic import ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from tasks import store
from tasks.messages import first_error
from tasks.registry_card import Card

__all__ = [
    "Card",
    "ComponentNotFoundError",
    "Entry",
    "LoadedComponent",
    "Registry",
    "RegistryChain",
    "check_parents",
    "packaged_registry",
]

WEIGHTS, CARD, ALIASES = "weights.safetensors", "card.json", "aliases"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DIGEST = re.compile(r"[0-9a-f]{8,64}")


class ComponentNotFoundError(ValueError):
    """The registry has no such component, alias or digest."""


@dataclass(frozen=True)
class LoadedComponent:
    """A verified component: its card and its tensors by name."""

    component: str
    digest: str
    card: Card
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Entry:
    """One line of a registry's list: a component, a digest and its aliases."""

    component: str
    digest: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Registry:
    """A registry at one address, local or on S3."""

    root: str
    read_only: bool = False

    def publish(self, component: str, tensors: Mapping[str, Tensor], card: Card) -> str:
        """Store a component and return its digest; storing it again changes nothing.

        Raises:
            ValueError: The card is another component's, or what is stored there was altered.
        """
        self._require_writable(component)
        if card.component != component:
            raise ValueError(f"component {component!r}: its card is of {card.component!r}")
        copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        weights = save_tensors(copies)
        document = card.model_copy(update={"weights": store.digest(weights)}).to_bytes()
        digest = store.digest(document)
        for name, data in ((WEIGHTS, weights), (CARD, document)):
            store.create_exclusive(self._file(component, digest, name), data)
        self._verified(component, digest)
        return digest

    def alias(self, component: str, name: str, digest: str) -> None:
        """Let a name stand for a digest that is in the registry; it may be moved.

        Raises:
            ValueError: The name could be mistaken for a digest, or the digest is not there.
        """
        self._require_writable(component)
        if not NAME.fullmatch(name) or DIGEST.fullmatch(name):
            allowed = "letters, digits, '.', '_' and '-', and not 8 or more hexadecimal digits"
            raise ValueError(f"alias {name!r} of {component}: allowed are {allowed}")
        if digest not in self._digests(component):
            raise self._missing(component, digest)
        address = store.join(self.root, component, ALIASES, name)
        store.write_bytes(address, digest.encode() + b"\n")

    def resolve(self, component: str, ref: str) -> str:
        """Return the digest that an alias, a digest or its beginning stands for.

        Raises:
            ComponentNotFoundError: There is none.
            ValueError: More than one digest begins so.
        """
        if DIGEST.fullmatch(ref):
            found = [digest for digest in self._digests(component) if digest.startswith(ref)]
            if len(found) > 1:
                raise ValueError(f"{component} {ref!r} in {self.root} is ambiguous: {found}")
            if found:
                return found[0]
        elif NAME.fullmatch(ref) and NAME.fullmatch(component):
            try:
                return self._alias(component, ref)
            except FileNotFoundError:
                pass
        raise self._missing(component, ref)

    def load(self, component: str, ref: str) -> LoadedComponent:
        """Return a component, verified.

        Raises:
            ComponentNotFoundError: There is none of that name.
            ValueError: A byte of the weights or the card is not what was published.
        """
        digest = self.resolve(component, ref)
        card, weights = self._verified(component, digest)
        return LoadedComponent(component, digest, card, load_tensors(weights))

    def list(self) -> tuple[Entry, ...]:
        """Return every digest of every component with its aliases."""
        return tuple(
            Entry(component, digest, tuple(n for n, d in aliases.items() if d == digest))
            for component in store.names(self.root)
            for aliases in [self._aliases(component)]
            for digest in self._digests(component)
        )

    def _file(self, component: str, digest: str, name: str) -> str:
        if not NAME.fullmatch(component):
            allowed = "letters, digits, '.', '_' and '-'"
            raise ValueError(f"component {component!r}: allowed are {allowed}")
        return store.join(self.root, component, digest, name)

    def _digests(self, component: str) -> tuple[str, ...]:
        """Return the digests of a component; one without a card was never finished."""
        if not NAME.fullmatch(component):
            return ()
        found = store.names(store.join(self.root, component))
        digests = (name for name in found if DIGEST.fullmatch(name) and len(name) == 64)
        return tuple(d for d in digests if store.exists(self._file(component, d, CARD)))

    def _alias(self, component: str, name: str) -> str:
        address = store.join(self.root, component, ALIASES, name)
        digest = store.read_bytes(address).decode(errors="replace").strip()
        if not DIGEST.fullmatch(digest) or len(digest) != 64:
            raise ValueError(f"alias {address} holds {digest[:80]!r}; allowed: a SHA-256 digest")
        return digest

    def _aliases(self, component: str) -> dict[str, str]:
        names = store.names(store.join(self.root, component, ALIASES))
        return {name: self._alias(component, name) for name in names}

    def _verified(self, component: str, digest: str) -> tuple[Card, bytes]:
        """Return the card and the bytes of the weights if they are what the digest says."""
        document = self._read(component, digest, CARD, digest)
        try:
            card = Card.model_validate_json(document)
        except ValidationError as error:
            place, reason = first_error(error)
            address = self._file(component, digest, CARD)
            raise ValueError(f"{address} is no card: {place}: {reason}") from error
        return card, self._read(component, digest, WEIGHTS, card.weights)

    def _read(self, component: str, digest: str, name: str, expected: str) -> bytes:
        address = self._file(component, digest, name)
        try:
            data = store.read_bytes(address)
        except FileNotFoundError:
            raise ValueError(f"{address} is missing; its digest is {expected}") from None
        found = store.digest(data)
        if found != expected:
            raise ValueError(f"{address} was altered: digest {found}, expected {expected}")
        return data

    def _missing(self, component: str, ref: str) -> ComponentNotFoundError:
        allowed = [*(self._aliases(component) if self._digests(component) else ())]
        allowed += [digest[:12] for digest in self._digests(component)]
        return ComponentNotFoundError(
            f"registry {self.root}: no {component} {ref!r}; "
            f"allowed: {', '.join(allowed) or f'nothing, {component} has no entry'}"
        )

    def _require_writable(self, component: str) -> None:
        if self.read_only:
            raise ValueError(f"registry {self.root} is read-only: {component} cannot be written")


@dataclass(frozen=True)
class RegistryChain:
    """Registries asked in order; the first that has the component answers.

    An altered component is an error and never a reason to ask the next registry.
    """

    registries: Sequence[Registry]

    def resolve(self, component: str, ref: str) -> str:
        """Return the digest that an alias, a digest or its beginning stands for."""
        return self._first(component, ref)[1]

    def load(self, component: str, ref: str) -> LoadedComponent:
        """Return a component, verified."""
        registry, digest = self._first(component, ref)
        return registry.load(component, digest)

    def list(self) -> tuple[Entry, ...]:
        """Return the entries of all registries in order."""
        return tuple(entry for registry in self.registries for entry in registry.list())

    def _first(self, component: str, ref: str) -> tuple[Registry, str]:
        reasons = []
        for registry in self.registries:
            try:
                return registry, registry.resolve(component, ref)
            except ComponentNotFoundError as error:
                reasons.append(str(error))
        raise ComponentNotFoundError("; ".join(reasons) or f"no registry to find {component} in")


def packaged_registry() -> Registry:
    """Return the read-only registry that ships with the package; it may be empty."""
    return Registry(str(resources.files("models").joinpath("registry")), read_only=True)


def check_parents(loaded: LoadedComponent, others: Iterable[LoadedComponent]) -> None:
    """Require that a component was trained with these others, as far as it names them.

    Raises:
        ValueError: It was trained with another one.
    """
    for other in others:
        expected = loaded.card.parents.get(other.component)
        if expected is not None and expected != other.digest:
            raise ValueError(
                f"{loaded.component} {loaded.digest[:12]} was trained with "
                f"{other.component} {expected[:12]}, not with {other.digest[:12]}"
            )
