"""3DVar from components."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from configs.methods import ThreeDVar as ThreeDVarOptions
from models.background_error.covariance import BackgroundCovariance
from models.latent_frame import LatentFrame
from models.methods.corrected import Center
from models.methods.threedvar import ThreeDVar, ThreeDVarSettings
from models.normalization import Statistics, time_basis
from models.state import StateSpec
from tasks.components_latent import filled, latent_space, local_error
from tasks.registry import LoadedComponent

COARSE = 16, 32
"""Most rows and columns of the grid on which errors are expected, that of the latent states of the embedded world."""

__all__ = ["covariance_of", "known_error", "three_d_var"]


def three_d_var(
    options: ThreeDVarOptions,
    statistics: Statistics,
    spec: StateSpec,
    parts: Mapping[str, LoadedComponent],
) -> ThreeDVar:
    """Return the method.

    Args:
        options: The configuration.
        statistics: Climatology and error sizes.
        spec: Layout of the states.
        parts: The covariance, and for a correction of the background autoencoder and denoiser.

    Raises:
        ValueError: A component does not fit its card, or the states.
    """
    excluded = {"kind", "members", "corrected", "local"}
    changes = options.model_dump(exclude=excluded, exclude_none=True)
    covariance = covariance_of(parts["background_error"], statistics, spec)
    device = statistics.std.device
    center = known_error(spec, parts, device) if options.corrected else None
    area = spec.grid.cell_area_weights().to(device)
    settings = replace(ThreeDVarSettings(), **changes)
    cells = min(spec.grid.shape[0], COARSE[0]), min(spec.grid.shape[1], COARSE[1])
    local = local_error(options.local, spec, cells, device)
    return ThreeDVar(statistics, covariance, area, settings, center, local)


def covariance_of(
    component: LoadedComponent, statistics: Statistics, spec: StateSpec
) -> BackgroundCovariance:
    """Return the static covariance of a component."""
    shape: dict[str, Any] = dict(component.card.architecture)
    covariance = filled(BackgroundCovariance(spec, statistics.std.cpu(), **shape), component)
    return covariance.to(statistics.std.device)


def known_error(
    spec: StateSpec, parts: Mapping[str, LoadedComponent], device: torch.device
) -> Center:
    """Return what takes the known part of the forecast model's error off background anomalies."""
    autoencoder, denoiser = latent_space(spec, parts, device)

    def center(a_b: Tensor, times: Sequence[pd.Timestamp]) -> Tensor:
        basis = time_basis(times, denoiser.shape.basis)
        season = torch.from_numpy(basis).to(denoiser.residual_scale)
        frame = LatentFrame.at(a_b, season, autoencoder, denoiser)
        return frame.anomaly(torch.zeros_like(frame.z_b))

    return center
