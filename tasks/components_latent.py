"""Latent methods from components: the cards say the architecture, the tensors fill it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from configs.methods import Latent
from configs.methods import LocalError as LocalOptions
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.local_error import LocalError
from models.methods.dps import DPS, DPSSettings
from models.methods.l3dvar import L3DVAR
from models.methods.l3dvar import PRESETS as L3DVAR_PRESETS
from models.methods.latent import LatentMethod
from models.methods.losda import LOSDA
from models.methods.losda import PRESETS as LOSDA_PRESETS
from models.methods.mmps import MMPS, MMPSSettings
from models.methods.repaint import Repaint, RepaintSettings
from models.normalization import Statistics
from models.state import StateSpec
from tasks.registry import LoadedComponent

__all__ = [
    "LATENT",
    "autoencoder_of",
    "filled",
    "latent_method",
    "latent_space",
    "local_error",
    "settings_of",
]

LATENT: Mapping[str, tuple[type[LatentMethod[Any]], Mapping[str, Any]]] = {
    "losda": (LOSDA, LOSDA_PRESETS),
    "l3dvar": (L3DVAR, L3DVAR_PRESETS),
    "dps": (DPS, {"": DPSSettings()}),
    "mmps": (MMPS, {"": MMPSSettings()}),
    "repaint": (Repaint, {"": RepaintSettings()}),
}
"""The class of each kind of method, and its presets, one without a name where there are none."""
NESTED = {
    "solver": ("outer", "inner", "tolerance", "anchor_scale"),
    "likelihood": ("likelihood", "gamma", "zeta"),
}
"""Settings that are attributes of an attribute."""
Module = TypeVar("Module", bound=nn.Module)


def latent_method(
    options: Latent,
    statistics: Statistics,
    spec: StateSpec,
    parts: Mapping[str, LoadedComponent],
    chunk: int | None = None,
) -> LatentMethod[Any]:
    """Return the method.

    Args:
        options: The configuration.
        statistics: Climatology and error sizes.
        spec: Layout of the states.
        parts: Autoencoder and denoiser, verified.
        chunk: Members that are computed at once; None for all.

    Raises:
        ValueError: A component does not fit its card, or the states.
    """
    device = statistics.std.device
    latent, prior = latent_space(spec, parts, device)
    area = spec.grid.cell_area_weights().to(device)
    made = LATENT[options.kind][0]
    local = local_error(options.local, spec, latent.shape.latent_grid, device)
    return made(statistics, latent, prior, area, settings_of(options), chunk, local)


def local_error(
    options: LocalOptions | None, spec: StateSpec, cells: tuple[int, int], device: torch.device
) -> LocalError | None:
    """Return what estimates the expected error in each cell, if that is asked for."""
    if options is None:
        return None
    return LocalError.of(spec.grid, cells, options.unobserved, options.length).to(device)


def latent_space(
    spec: StateSpec, parts: Mapping[str, LoadedComponent], device: torch.device
) -> tuple[Autoencoder, LatentDenoiser]:
    """Return autoencoder and prior, on a device.

    Raises:
        ValueError: The autoencoder is of other states.
    """
    latent = autoencoder_of(parts["autoencoder"], spec)
    return latent.to(device), _denoiser(parts["denoiser"]).to(device)


def settings_of(options: Latent) -> Any:  # noqa: ANN401  (of the method's own class)
    """Return the settings of a preset with the configuration's changes."""
    changes = options.model_dump(exclude={"kind", "preset", "members", "local"}, exclude_none=True)
    settings = LATENT[options.kind][1][getattr(options, "preset", "")]
    for part, names in NESTED.items():
        inner = {name: changes.pop(name) for name in names if name in changes}
        if "likelihood" in inner:
            inner["kind"] = inner.pop("likelihood")
        if inner:
            changes[part] = replace(getattr(settings, part), **inner)
    return replace(settings, **changes)


def autoencoder_of(component: LoadedComponent, spec: StateSpec) -> Autoencoder:
    """Return the autoencoder of a component, on the CPU.

    Raises:
        ValueError: It is of other states.
    """
    shape = AutoencoderShape(**_architecture(component))
    if (shape.fields, *shape.grid) != spec.shape:
        raise ValueError(
            f"autoencoder {component.digest[:12]} is of states with the shape "
            f"{(shape.fields, *shape.grid)}, but the reference has {spec.shape}"
        )
    static = torch.zeros(shape.features, *shape.grid)
    return filled(Autoencoder(shape, torch.ones(shape.fields), static), component)


def _denoiser(component: LoadedComponent) -> LatentDenoiser:
    shape = DenoiserShape(**_architecture(component))
    return filled(LatentDenoiser(shape, torch.zeros(shape.features, *shape.grid)), component)


def _architecture(component: LoadedComponent) -> dict[str, Any]:
    """Return the arguments of a shape; JSON knows no tuples."""
    card: dict[str, Any] = dict(component.card.architecture)
    return card | {"grid": tuple(card["grid"])}


def filled(module: Module, component: LoadedComponent) -> Module:
    """Load the tensors of a component into the module that its card describes."""
    try:
        module.load_state_dict(component.tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        name = f"{component.component} {component.digest[:12]}"
        raise ValueError(f"{name} does not fit its card: {reason}") from None
    return module.requires_grad_(False).eval()
