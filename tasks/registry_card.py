"""The card of a component: what it is, where it comes from and how good it is.

A card is plain JSON with sorted keys, so the same card has the same bytes.
"""

import json
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
)

__all__ = ["Card"]


def _plain(value: object) -> object:
    """Return the value as JSON types, so that a card equals itself after a round trip."""
    return json.loads(json.dumps(value, allow_nan=False))


Document = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Card(BaseModel):
    """What a component is and where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    component: str
    """Kind of component, such as autoencoder."""
    architecture: Document
    """What builds the module."""
    configuration: Document = Field(default_factory=dict)
    """Configuration of the training."""
    training: Document = Field(default_factory=dict)
    """Training data: which, how much, from when."""
    scores: Document = Field(default_factory=dict)
    """Scores on held-out data."""
    licence: str = "Apache-2.0"
    """Licence of the weights."""
    parents: dict[str, Digest] = Field(default_factory=dict)
    """Digest of each component that this one was trained with, by component."""
    weights: str = ""
    """SHA-256 of the weights; set by `Registry.publish`."""

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        text = json.dumps(self.model_dump(), sort_keys=True, indent=1, allow_nan=False)
        return text.encode() + b"\n"
