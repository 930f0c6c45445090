"""Forecast models and methods on an accelerator, between states that stay on the processor.

What a process keeps warm lies on the device; a state goes there and its forecast or analysis comes
back, so nothing outside has to know. Random numbers are drawn on the processor (`models.randomness`)
and are the same on every device; results differ by rounding.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.forecast import Around, ForecastModel, ValidTime
from models.methods.base import Analysis, AssimilationMethod
from models.observations.batch import Observations

__all__ = ["CPU", "ForecastOnDevice", "MethodOnDevice", "copied_to", "device_of", "name_of"]

CPU = torch.device("cpu")
Module = TypeVar("Module", bound=nn.Module)


def device_of(name: str, setting: str = "device") -> torch.device:
    """Return the device of a setting.

    Args:
        name: `auto` for the first CUDA device if there is one and else the processor; or the
            device's name.
        setting: Name of the setting.

    Raises:
        ValueError: There is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else CPU
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        here = ", ".join(["auto", "cpu", *(f"cuda:{k}" for k in range(count))])
        raise ValueError(f"{setting}: {name!r}; allowed here: {here}")
    return device


def name_of(device: torch.device) -> str:
    """Return a device with its name for people."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})"
        if device.type == "cuda"
        else str(device)
    )


def copied_to(module: Module, device: torch.device) -> Module:
    """Return the module itself if it is on the device, else a copy there."""
    there = all(tensor.device == device for tensor in module.state_dict().values())
    return module if there else copy.deepcopy(module).to(device)


class ForecastOnDevice(Around):
    """A forecast model whose tensors are on a device."""

    def __init__(self, model: ForecastModel, device: torch.device) -> None:
        """Wrap a model that is there."""
        super().__init__(model)
        self.device = device

    def step(
        self, x: Float[Tensor, "batch field lat lon"], valid_time: ValidTime, lead: pd.Timedelta
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states `lead` after `valid_time`, on the device of `x` (see `ForecastModel`)."""
        return self.model.step(x.to(self.device), valid_time, lead).to(x.device)


class MethodOnDevice:
    """An assimilation method whose tensors are on a device."""

    def __init__(self, method: AssimilationMethod, device: torch.device) -> None:
        """Wrap a method that is there."""
        self.method, self.device = method, device

    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis, on the device of `x_b` (see `AssimilationMethod`)."""
        there = x_b.to(self.device), observations.to(self.device)
        analysis = self.method(there[0], valid_time, there[1], generators)
        error = analysis.background_error
        return replace(
            analysis,
            x_a=analysis.x_a.to(x_b.device),
            background_error=None if error is None else error.to(x_b.device),
        )
