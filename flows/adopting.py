"""The command `losda registry adopt`: a forecast model of others becomes a component."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from flows.errors import reported
from flows.output import Overrides

__all__ = ["adopt"]

Address = Annotated[str, Parameter(name="--registry")]
Modules = Annotated[list[str] | None, Parameter(name="--module", negative="")]


@reported
def adopt(
    *models: str,
    address: Address,
    alias: str,
    licence: str,
    layout: str = "channels",
    origin: str = "",
    mean: str | None = None,
    std: str | None = None,
    config: str | None = None,
    overrides: Overrides = None,
    states: int = 1,
    package: str | None = None,
    arguments: str | None = None,
    modules: Modules = None,
) -> None:
    """Publish a forecast model of others as the component `forecast_model`.

    Files say their step in hours: `24=pangu_weather_24.onnx 6=pangu_weather_6.onnx`. They are
    ONNX (.onnx), programs of torch.export (.pt2) or TorchScript (.pt). A class such as
    `earth2studio.models.px:FCN3` is a prognostic model of earth2studio.

    Args:
        models: Files with their steps, or one class.
        address: The registry.
        alias: Name that stands for the component there.
        licence: Licence of the weights.
        layout: pangu, fengwu, or channels: the fields of the states of --config in their order.
        origin: Who published it, and where.
        mean: NumPy file of the channels' means, if the model is given normalized channels.
        std: NumPy file of their standard deviations.
        config: Configuration whose states a model of layout channels has.
        overrides: Settings of that configuration, such as reference.address=DIR.
        states: Consecutive states that a model of layout channels takes, 1 or 2.
        package: Address from which a prognostic model loads itself; `default` is its own.
        arguments: JSON object of the arguments of a class that needs no package.
        modules: Module from which a class may come; earth2studio.models.px if none is given.
    """
    from tasks.adoption import Source, adopt_files, adopt_prognostic
    from tasks.registry import Registry

    store, source = Registry(address), Source(licence, origin)
    if len(models) == 1 and "=" not in models[0] and ":" in models[0]:
        allowed = modules or ["earth2studio.models.px"]
        given = document(arguments)
        digest = adopt_prognostic(store, models[0], source, package, given, allowed)
    else:
        if (mean is None) != (std is None):
            raise ValueError("--mean and --std: give both or none")
        both = None if mean is None or std is None else (mean, std)
        spec = None if config is None else states_of(config, overrides or [])
        digest = adopt_files(store, steps(models), layout, source, spec, both, states)
    store.alias("forecast_model", alias, digest)
    sys.stdout.write(f"{digest}\n")


def steps(models: Sequence[str]) -> dict[int, str]:
    """Return the file of each step [h]."""
    found: dict[int, str] = {}
    for text in models:
        step, equals, file = text.partition("=")
        if not equals or not step.isdigit() or not int(step) or int(step) in found:
            raise ValueError(
                f"model {text!r}: allowed: each step in hours once, as in 6=model.onnx"
            )
        found[int(step)] = file
    if not found:
        raise ValueError(
            "no model; needed: files with their steps, as in 6=model.onnx, or a class"
        )
    return found


def document(text: str | None) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f"--arguments: not JSON: {error}") from None
    if not isinstance(found, dict):
        line = f"--arguments: {text!r}; allowed: a JSON object"
        raise ValueError(line)  # noqa: TRY004  (a mistake in the input)
    return found


def states_of(config: str, overrides: Sequence[str]) -> Any:  # noqa: ANN401  (torch comes later)
    """Return the states of a configuration."""
    from configs import load
    from tasks.components import Components
    from tasks.notebook import state_of

    return state_of(Components(load(config, overrides)))
