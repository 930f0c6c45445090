"""Forecast models of others from components: the card says how they are laid out and run."""

import importlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from configs.forecast import Earth2Forecast as Earth2Options
from configs.forecast import ForeignForecast as Options
from configs.forecast import OnnxForecast, ProgramForecast
from models.foreign.earth2 import Earth2Forecast, Prognostic
from models.foreign.forecast import ForeignForecast, Normalization, hours, steps_to
from models.foreign.graph import GraphEngine
from models.foreign.layouts import Engine
from models.foreign.mapping import StateMap
from models.foreign.onnx_engine import OnnxEngine
from models.foreign.torchscript import TorchScriptEngine
from models.state import StateSpec
from tasks.forecast_card import COMPONENT, ForecastCard, card_of
from tasks.registry import LoadedComponent

__all__ = ["check_leads", "engine_of", "foreign_forecast", "prognostic"]

KINDS = {
    OnnxForecast: ("onnx",),
    ProgramForecast: ("program", "torchscript"),
    Earth2Options: ("earth2studio",),
}
Foreign = ForeignForecast | Earth2Forecast


def foreign_forecast(options: Options, component: LoadedComponent, spec: StateSpec) -> Foreign:
    """Return the forecast model of a component.

    Args:
        options: The configuration.
        component: The component, verified.
        spec: Layout of the states.

    Raises:
        ValueError: The component is of another kind, is not trusted, or does not fit the states.
    """
    name, card = f"{COMPONENT} {component.digest[:12]}", card_of(component)
    allowed = KINDS[type(options)]
    if card.format not in allowed:
        raise ValueError(
            f"forecast_model.kind: {options.kind!r}; {name} is {card.format!r}, "
            f"allowed: {' or '.join(repr(each) for each in allowed)}"
        )
    try:
        if isinstance(options, Earth2Options):
            model = prognostic(card, component.tensors, options.modules, name)
            return Earth2Forecast(model, spec, card.units)
        if card.format == "torchscript" and not getattr(options, "torchscript", False):
            raise ValueError(
                "is TorchScript, which may run any operator of torch; export it with "
                "torch.export.save, or trust it with forecast_model.torchscript=true"
            )
        axes = card.latitude or (), card.longitude or ()
        mapping = StateMap.between(spec, card.made.channels, *axes, card.units)
        engines = {
            pd.Timedelta(hours=step): engine_of(card, component.tensors, step, f"{name}, {step} h")
            for step in card.steps
        }
        return ForeignForecast(card.made, mapping, engines, normalization(component.tensors))
    except ValueError as error:
        line = str(error)
        raise ValueError(line if line.startswith(name) else f"{name}: {line}") from None


def engine_of(card: ForecastCard, tensors: Mapping[str, Tensor], step: int, name: str) -> Engine:
    """Return what runs the model of a step.

    Raises:
        ValueError: The model cannot be run, or its inputs are not those of the layout.
    """
    shape = len(card.latitude or ()), len(card.longitude or ())
    engine: Engine
    match card.format:
        case "onnx":
            engine = OnnxEngine(content(tensors, f"model.{step}", name), name)
        case "program":
            start = f"weights.{step}."
            own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            engine = GraphEngine(content(tensors, f"graph.{step}", name), own, name)
        case _:
            model = content(tensors, f"model.{step}", name)
            engine = TorchScriptEngine(model, card.made.expected(shape), name)
    try:
        found = card.made.check(engine.shapes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    free = any(n is None for lengths in engine.shapes.values() for n in lengths[-2:])
    if not free and found != shape:
        raise ValueError(f"{name}: its grid is {found}, the card's {shape}")
    return engine


def content(tensors: Mapping[str, Tensor], key: str, name: str) -> bytes:
    """Return a file that is kept as a tensor of bytes."""
    if key not in tensors:
        raise ValueError(f"{name}: the component has no {key!r}")
    return tensors[key].numpy().tobytes()


def normalization(tensors: Mapping[str, Tensor]) -> Normalization | None:
    """Return the normalization of the channels, if there is one."""
    if "center" not in tensors:
        return None
    return Normalization(tensors["center"].float(), tensors["scale"].float())


def check_leads(model: Foreign, leads: Mapping[str, pd.Timedelta]) -> None:
    """Refuse a configuration with leads that are no sums of the model's steps.

    Raises:
        ValueError: The message names the setting.
    """
    for setting, lead in leads.items():
        try:
            steps_to(lead, model.steps)
        except ValueError:
            own = ", ".join(hours(step) for step in model.steps)
            raise ValueError(
                f"{setting}: {hours(lead)}; the forecast model's steps are {own}; "
                "allowed: sums of them"
            ) from None


def prognostic(
    card: ForecastCard, tensors: Mapping[str, Tensor], modules: tuple[str, ...], name: str
) -> Prognostic:
    """Return the prognostic model that a card names.

    Raises:
        ValueError: Its module is not one that the configuration allows, or is not installed; or it
            is no prognostic model.
    """
    module, _, attribute = str(card.model).partition(":")
    if module not in modules:
        raise ValueError(
            f"forecast_model.modules: {', '.join(modules)}; {name} is of {module!r}, "
            "which must be among them"
        )
    try:
        made_of = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{name}: {card.model} cannot be imported ({error}); "
            "needed: pip install 'losda[earth2studio]', or the module on the path"
        ) from None
    model: object = made(made_of, card)
    if not isinstance(model, Prognostic):
        line = f"{name}: {card.model} is no prognostic model of earth2studio"
        raise ValueError(line)  # noqa: TRY004  (a mistake in the input)
    if tensors and isinstance(model, nn.Module):
        model.load_state_dict(dict(tensors))
    return model


def made(made_of: Callable[..., Any], card: ForecastCard) -> Any:  # noqa: ANN401
    """Return a model made from its package, or from the card's arguments."""
    if card.package is None:
        return made_of(**{name: argument(value) for name, value in card.arguments.items()})
    if card.package == "default":
        package = made_of.load_default_package()  # type: ignore[attr-defined]
    else:
        from earth2studio.models.auto import Package

        package = Package(card.package)
    return made_of.load_model(package)  # type: ignore[attr-defined]


def argument(value: object) -> object:
    """Return an argument from JSON; an object of lists is an ordered mapping of axes."""
    if isinstance(value, dict):
        return OrderedDict((key, np.asarray(axis)) for key, axis in value.items())
    return value
