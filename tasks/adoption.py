"""Adopt a forecast model of others: from its files to a component of the registry with a card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from models.foreign.channels import channels_of
from models.foreign.layouts import LAYOUTS, Channels, regular_axes
from models.foreign.onnx_engine import OnnxEngine
from models.state import StateSpec
from tasks.adoption_files import read_model, read_numbers
from tasks.components_forecast import engine_of, prognostic
from tasks.forecast_card import COMPONENT, ForecastCard, validated
from tasks.registry import Card, Registry
from tasks.store import digest, read_bytes

__all__ = ["Source", "adopt_files", "adopt_prognostic"]

HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Source:
    """Where a model comes from, for its card.

    Attributes:
        licence: Licence of the weights.
        origin: Who published it, and where.
    """

    licence: str
    origin: str = ""


def adopt_files(
    registry: Registry,
    files: Mapping[int, str],
    layout: str,
    source: Source,
    spec: StateSpec | None = None,
    normalization: tuple[str, str] | None = None,
    states: int = 1,
) -> str:
    """Publish the files of a model as a component and return its digest.

    Args:
        registry: Where to.
        files: File of the model of each step [h].
        layout: `pangu` or `fengwu`, or `channels` for the fields of `spec` in their order.
        source: Where the model comes from.
        spec: The states that a model of layout `channels` was made for.
        normalization: NumPy files of the channels' means and standard deviations.
        states: Number of consecutive states that a model of layout `channels` takes.

    Raises:
        ValueError: A file is missing or none that can be run, or is laid out in another way.
    """
    made = LAYOUTS.get(layout)
    if made is None:
        if layout != "channels" or spec is None:
            allowed = ", ".join([*LAYOUTS, "channels (with --config, whose states it has)"])
            raise ValueError(f"layout {layout!r}: allowed: {allowed}")
        made = Channels(channels_of(spec), states)
    given = normalization is not None
    if made.normalized not in (None, given):
        needed = "needs" if made.normalized else "has no"
        raise ValueError(f"layout {layout!r}: {needed} normalization (--mean and --std)")
    found = {step: read_model(address, step) for step, address in files.items()}
    forms = {form for form, _ in found.values()}
    if len(forms) != 1:
        raise ValueError(f"files: {', '.join(files.values())}; allowed: one format for all steps")
    tensors = {name: tensor for _, own in found.values() for name, tensor in own.items()}
    if normalization is not None:
        for key, address in zip(("center", "scale"), normalization, strict=True):
            tensors[key] = read_numbers(address, len(made.channels))
    form = forms.pop()
    first = min(files)
    if layout == "channels" and spec is not None:
        axes = spec.grid.latitude, spec.grid.longitude
    elif form == "torchscript":
        axes = regular_axes(721, 1440)
    else:
        axes = regular_axes(*made.check(shapes_of(form, tensors, first, files[first])))
    architecture = {
        "format": form,
        "layout": layout,
        "channels": () if layout in LAYOUTS else made.channels,
        "latitude": axes[0],
        "longitude": axes[1],
        "steps": sorted(files),
        "states": made.states,
    }
    card = validated(architecture, files[first])
    for step, address in files.items():
        engine_of(card, tensors, step, address)
    kept = {str(step): about(address) for step, address in sorted(files.items())}
    return publish(registry, card, tensors, source, {"files": kept})


def about(address: str) -> dict[str, str]:
    """Return the name and the SHA-256 of a file."""
    return {"name": address.rpartition("/")[2], "sha256": digest(read_bytes(address))}


def shapes_of(form: str, tensors: Mapping[str, Tensor], step: int, name: str) -> Any:  # noqa: ANN401
    """Return the inputs' shapes of a model that says them itself."""
    if form == "onnx":
        return OnnxEngine(tensors[f"model.{step}"].numpy().tobytes(), name).shapes
    inputs = json.loads(tensors[f"graph.{step}"].numpy().tobytes())["inputs"]
    return {key: tuple(shape) for key, shape in inputs.items()}


def adopt_prognostic(
    registry: Registry,
    model: str,
    source: Source,
    package: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    modules: Sequence[str] = ("earth2studio.models.px",),
) -> str:
    """Publish a prognostic model of earth2studio as a component and return its digest.

    Args:
        registry: Where to.
        model: Its class, as module:Class.
        source: Where the model comes from.
        package: Address from which it loads itself, `default` for its own; None if it needs none.
        arguments: Arguments of the class, where it is made without a package.
        modules: Modules from which classes may come.

    Raises:
        ValueError: There is no such model, or it is of another protocol.
    """
    card = ForecastCard(
        format="earth2studio", model=model, package=package, arguments=dict(arguments or {})
    )
    made = prognostic(card, {}, tuple(modules), model)
    coords = made.input_coords()
    step = pd.Timedelta(made.output_coords(coords)["lead_time"][0])
    known = {"channels": [str(name) for name in coords["variable"]], "steps": [step // HOUR]}
    known["states"] = len(coords["lead_time"])
    card = validated(card.model_dump() | known, model)
    tensors = dict(made.state_dict()) if package is None and hasattr(made, "state_dict") else {}
    return publish(registry, card, tensors, source)


def publish(
    registry: Registry,
    card: ForecastCard,
    tensors: Mapping[str, Tensor],
    source: Source,
    configuration: Mapping[str, Any] | None = None,
) -> str:
    """Publish a component with its card."""
    architecture = card.model_dump(exclude_defaults=True) | {"format": card.format}
    return registry.publish(
        COMPONENT,
        tensors,
        Card(
            component=COMPONENT,
            architecture=architecture,
            configuration=dict(configuration or {}),
            training={"origin": source.origin} if source.origin else {},
            licence=source.licence,
        ),
    )
