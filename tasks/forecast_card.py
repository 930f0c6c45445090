"""What the card of a component `forecast_model` says: whose model it is, and how it is laid out.

    format      tensors of the component (H is a step in hours)
    onnx        model.H, the bytes of the file
    program     graph.H, JSON; weights.H.NAME, the parameters, buffers and constants
    torchscript model.H, the bytes of the file
    earth2studio  the model's own state, if it has one; the class and its package are in the card

`center` and `scale` are the channels' normalization, if the model is given normalized channels.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.foreign.layouts import LAYOUTS, Channels, Layout
from tasks.messages import first_error
from tasks.registry import LoadedComponent

__all__ = ["COMPONENT", "ForecastCard", "card_of"]

COMPONENT = "forecast_model"
Hours = Annotated[int, Field(ge=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Axis = Annotated[tuple[float, ...], Field(min_length=2)]


class ForecastCard(BaseModel):
    """The architecture in the card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["onnx", "program", "torchscript", "earth2studio"]
    """How the model is kept."""
    layout: Literal["pangu", "fengwu", "channels"] = "channels"
    """Its inputs and outputs (see `models.foreign.layouts`)."""
    channels: tuple[str, ...] = ()
    """Names of its channels, if the layout has none of its own."""
    units: dict[str, str] = {}
    """Units of channels that are not those of earth2studio's lexicon."""
    latitude: Axis | None = None
    """Its rows [degrees_north]."""
    longitude: Axis | None = None
    """Its columns [degrees_east]."""
    steps: tuple[Hours, ...] = ()
    """Steps of its models [h]."""
    model: str | None = None
    """Class of a prognostic model, as module:Class."""
    package: str | None = None
    """Address from which the prognostic model loads itself; `default` is its own."""
    arguments: dict[str, Any] = {}
    """Arguments of the class, if it is made without a package."""
    states: Annotated[int, Field(ge=1, le=2)] = 1
    """Number of states that the model takes."""

    @property
    def made(self) -> Layout:
        """The layout."""
        return LAYOUTS.get(self.layout, Channels(self.channels, self.states))

    @property
    def history(self) -> pd.Timedelta | None:
        """How long before the states of a forecast others are needed."""
        memory = self.made.states > 1 and self.steps
        return pd.Timedelta(hours=min(self.steps)) if memory else None


def card_of(component: LoadedComponent) -> ForecastCard:
    """Return what the card of a component says.

    Raises:
        ValueError: It says something else.
    """
    return validated(component.card.architecture, f"{COMPONENT} {component.digest[:12]}")


def validated(architecture: Mapping[str, Any], name: str) -> ForecastCard:
    """Return a card's architecture, checked."""
    try:
        card = ForecastCard.model_validate(dict(architecture))
    except ValidationError as error:
        place, reason = first_error(error)
        raise ValueError(f"{name}: card: {place}: {reason}") from None
    needed = ("model",) if card.format == "earth2studio" else ("latitude", "longitude", "steps")
    for key in needed:
        if not getattr(card, key):
            raise ValueError(f"{name}: card: {key}: needed with format {card.format!r}")
    return card
