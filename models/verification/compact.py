"""A few numbers for each analysis, for comparisons of many methods over many cycles.

For each variable `mse_climatology`, the mean over its levels of the area-weighted mean square error
of the ensemble mean over the climatological anomaly variance. Over all fields (variable `all`) the
same, and in units of the 24 h background-error variance σ_24², over the fields that count,

    mse    ⟨(x̄ − x)²⟩/σ_24²,     variance ⟨Σ_k (x_k − x̄)²/(m − 1)⟩/σ_24²,     crps  ⟨CRPS⟩/σ_24,

the last two for ensembles only. Spread over error, corrected for the ensemble's size, is
√((m + 1)/m · variance/mse) of the means over the cycles. `rank_k` is the share of the points whose
truth is larger than exactly k members.

References:
    | Ferro (2014), Fair scores for ensemble forecasts, doi 10.1002/qj.2270
    | Hamill (2001), Interpretation of rank histograms for verifying ensemble forecasts,
    | doi 10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.normalization import Statistics
from models.state import StateSpec

__all__ = ["compact_scores", "fair_crps"]

Scores = dict[tuple[str, str], float]


def compact_scores(
    x: Float[Tensor, "member field lat lon"],
    truth: Float[Tensor, "field lat lon"],
    spec: StateSpec,
    statistics: Statistics,
) -> Scores:
    """Return value by (variable, metric).

    Args:
        x: States, one for each member [SI].
        truth: The truth [SI].
        spec: Their layout.
        statistics: Scales of the fields.
    """
    area = spec.grid.cell_area_weights()
    std = statistics.std[:, None, None]
    departures = (x.double() - truth.double()) / std
    square = area_mean(departures.mean(0) ** 2, area)
    scores = {("all", "mse_climatology"): float(square.mean())}
    for variable, part in spec.slices.items():
        scores[variable, "mse_climatology"] = float(square[part].mean())
    mask, unit = statistics.error_mask, statistics.error_std.double()
    scores["all", "mse"] = float((square / unit**2)[mask].mean())
    if len(x) > 1:
        variance, crps = area_mean(departures.var(0), area), area_mean(fair_crps(departures), area)
        scores["all", "variance"] = float((variance / unit**2)[mask].mean())
        scores["all", "crps"] = float((crps / unit)[mask].mean())
        for rank, share in enumerate(rank_shares(departures[:, mask], area)):
            scores["all", f"rank_{rank:02d}"] = share
    return scores


def area_mean(
    value: Float[Tensor, "*batch lat lon"], area: Float[Tensor, "lat"]
) -> Float[Tensor, "*batch"]:
    """Return the area-weighted mean over the points; `area` has the mean 1."""
    mean: Tensor = (value * area[:, None]).mean((-2, -1))
    return mean


def fair_crps(departure: Float[Tensor, "member *rest"]) -> Float[Tensor, "*rest"]:
    """Return E|X − y| − ½ E|X − X'| of X − y, with distinct members X and X'.

    With sorted members x_(i), Σ_{i<j} |x_i − x_j| = Σ_i (2 i − m − 1) x_(i).
    """
    m = len(departure)
    ordered = departure.sort(0).values
    rank = 2 * torch.arange(1, m + 1, dtype=departure.dtype, device=departure.device) - m - 1
    pairs = torch.tensordot(rank, ordered, 1)
    crps: Tensor = departure.abs().mean(0) - pairs / (m * (m - 1))
    return crps


def rank_shares(
    departure: Float[Tensor, "member field lat lon"], area: Float[Tensor, "lat"]
) -> list[float]:
    """Return the share of points, by area, whose truth is larger than exactly k members."""
    rank = (departure < 0).sum(0).flatten()
    weight = area[:, None].expand(departure.shape[1:]).double().flatten()
    counts = torch.bincount(rank, weight, minlength=len(departure) + 1)
    return [float(share) for share in counts / weight.sum()]
