"""The LETKF from its configuration and components."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from configs.methods import Letkf
from models.inflation import Inflation
from models.localization import ObservationLocalization
from models.methods.base import AssimilationMethod
from models.methods.corrected import Corrected
from models.methods.letkf import LETKF, LETKFSettings
from models.normalization import Statistics
from models.state import StateSpec
from models.static_members import Draws, StaticMembers
from tasks.components_variational import covariance_of, known_error
from tasks.registry import LoadedComponent

__all__ = ["letkf"]

ADAPTIVE = (0.8, 2.0)
HUMIDITY = "q"


def letkf(
    options: Letkf,
    statistics: Statistics,
    spec: StateSpec,
    parts: Mapping[str, LoadedComponent],
) -> AssimilationMethod:
    """Return the method.

    Args:
        options: The configuration.
        statistics: Climatology and error sizes.
        spec: Layout of the states.
        parts: The covariance of 3DVar for additive inflation and static members; autoencoder and
            denoiser for a correction of the background.
    """
    names = ("factor", "additive", "to_perturbations", "to_spread")
    chosen = {name: getattr(options, name) for name in names}
    inflation = Inflation(**chosen, adaptive=ADAPTIVE if options.adaptive else None)
    single = {} if options.half_width_q is None else {HUMIDITY: options.half_width_q}
    localization = ObservationLocalization(options.half_width, single, options.vertical)
    static = StaticMembers(options.static_members or 0, options.static)
    settings = LETKFSettings(localization, inflation, static, options.coarsen)
    drawn = options.additive or options.static_members
    draws = model_error(parts["background_error"], statistics, spec) if drawn else None
    method = LETKF(spec, settings, statistics, draws)
    if not options.corrected:
        return method
    return Corrected(method, statistics, known_error(spec, parts, statistics.std.device))


def model_error(component: LoadedComponent, statistics: Statistics, spec: StateSpec) -> Draws:
    """Return draws from the covariance of 3DVar [SI]."""
    covariance = covariance_of(component, statistics, spec)

    def draw(generators: Sequence[torch.Generator]) -> Tensor:
        return covariance.sample(generators) * statistics.std[:, None, None]

    return draw
