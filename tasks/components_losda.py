"""LO-SDA from components: the cards say the architecture, the tensors fill it."""

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from configs.schema import Losda
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.methods.losda import LOSDA, PRESETS, LOSDASettings
from models.normalization import Statistics
from models.state import StateSpec
from tasks.registry import LoadedComponent

__all__ = ["losda", "losda_settings"]

SOLVER = ("outer", "inner", "anchor_scale")
Module = TypeVar("Module", bound=nn.Module)


def losda(
    options: Losda,
    statistics: Statistics,
    spec: StateSpec,
    autoencoder: LoadedComponent,
    denoiser: LoadedComponent,
) -> LOSDA:
    """Return the method.

    Args:
        options: The configuration.
        statistics: Climatology and error sizes.
        spec: Layout of the states.
        autoencoder: The autoencoder, verified.
        denoiser: The prior, verified.

    Raises:
        ValueError: A component does not fit its card, or the states.
    """
    latent = _autoencoder(autoencoder)
    if (latent.shape.fields, *latent.shape.grid) != spec.shape:
        raise ValueError(
            f"autoencoder {autoencoder.digest[:12]} is of states with the shape "
            f"{(latent.shape.fields, *latent.shape.grid)}, but the reference has {spec.shape}"
        )
    area = spec.grid.cell_area_weights()
    return LOSDA(statistics, latent, _denoiser(denoiser), area, losda_settings(options))


def losda_settings(options: Losda) -> LOSDASettings:
    """Return the settings of a preset with the configuration's changes."""
    changes = options.model_dump(exclude={"kind", "preset", "members"}, exclude_none=True)
    solver = {key: changes.pop(key) for key in SOLVER if key in changes}
    settings = PRESETS[options.preset]
    return replace(settings, solver=replace(settings.solver, **solver), **changes)


def _autoencoder(component: LoadedComponent) -> Autoencoder:
    card = _architecture(component)
    shape = AutoencoderShape(**card)
    static = torch.zeros(shape.features, *shape.grid)
    return _filled(Autoencoder(shape, torch.ones(shape.fields), static), component)


def _denoiser(component: LoadedComponent) -> LatentDenoiser:
    shape = DenoiserShape(**_architecture(component))
    return _filled(LatentDenoiser(shape, torch.zeros(shape.features, *shape.grid)), component)


def _architecture(component: LoadedComponent) -> dict[str, Any]:
    """Return the arguments of a shape; JSON knows no tuples."""
    card: dict[str, Any] = dict(component.card.architecture)
    return card | {"grid": tuple(card["grid"])}


def _filled(module: Module, component: LoadedComponent) -> Module:
    """Load the tensors of a component into the module that its card describes."""
    try:
        module.load_state_dict(component.tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        name = f"{component.component} {component.digest[:12]}"
        raise ValueError(f"{name} does not fit its card: {reason}") from None
    return module.requires_grad_(False).eval()
