"""Observations as functions of normalized anomalies, with the scales that analyses need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.normalization import Statistics
from models.observations.batch import Observations
from models.sampler import randn

__all__ = ["AnomalyObservations", "of_anomalies"]


@dataclass(frozen=True)
class AnomalyObservations:
    """Observations of normalized anomalies, one set for each sample of a batch.

    Attributes:
        y: Observed values.
        error: Observation error, a standard deviation.
        unit: 24 h background error at the observations.
        weight: Share of the sphere of each observation.
        observe: Maps normalized anomalies to the observations' equivalents.
        gather: Adds values of the observations up in the cells of the grid that they are of.
    """

    y: Float[Tensor, "batch obs"]
    error: Float[Tensor, "batch obs"]
    unit: Float[Tensor, "batch obs"]
    weight: Float[Tensor, "batch obs"]
    observe: Callable[[Tensor], Tensor]
    gather: Callable[[Tensor], Tensor] | None = None


def of_anomalies(
    observations: Observations,
    statistics: Statistics,
    area: Float[Tensor, "lat"],
    times: Sequence[pd.Timestamp],
    generators: Sequence[torch.Generator] | None = None,
) -> AnomalyObservations:
    """Express observations of states as observations of their normalized anomalies.

    Args:
        observations: What is assimilated [SI].
        statistics: Climatology and scales.
        area: Cell-area weights of the latitudes, mean 1.
        times: Valid time of each sample of the batch, UTC.
        generators: One random generator for each sample, to perturb its observations; None leaves
            them as they are.
    """
    batch, count = len(times), len(observations.y)
    y, error = observations.y.expand(batch, count), observations.error.expand(batch, count)
    if generators is not None:
        y = y + error * randn(y.shape, generators, y.device)

    def observe(a: Tensor) -> Tensor:
        return observations.equivalents(statistics.denormalize(a, times))

    # absolute weights: a standard deviation does not change sign across a pole
    spread, shape = observations.operator.absolute(), (1, *observations.operator.shape)
    unit = (statistics.std * statistics.error_std)[None, :, None, None]
    unit = spread(unit.expand(shape).contiguous()).clamp(min=1e-30)
    weight = spread(area[None, None, :, None].expand(shape).contiguous())

    def gather(values: Tensor) -> Tensor:
        whole = spread(torch.ones(shape, dtype=values.dtype, device=values.device))
        return spread.adjoint(values / whole).sum(1)

    return AnomalyObservations(y, error, unit.expand(batch, -1), weight, observe, gather)
