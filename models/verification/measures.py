"""Area-weighted measures that the library `scores` lacks; arrays end in (latitude, longitude).

With the cell-area mean ⟨·⟩ over all points, anomalies f' and o' from the climatology, an ensemble
of m members with the mean x̄, and departures d = y − H x_b:

    anomaly correlation  ⟨f' o'⟩ / √(⟨f'²⟩ ⟨o'²⟩)
    spread               √⟨Σ_k (x_k − x̄)² / (m − 1)⟩
    spread–skill ratio   √((m + 1) / m) · spread / rmse(x̄), 1 if truth and members are exchangeable
    χ²                   mean of d² / (σ_o² + σ_b²), 1 if the errors are as large as is believed

References:
    | Murphy & Epstein (1989), Skill scores and correlation coefficients in model verification,
    | doi 10.1175/1520-0493(1989)117<0572:SSACCI>2.0.CO;2
    | Fortin et al. (2014), Why should ensemble spread match the RMSE of the ensemble mean?,
    | doi 10.1175/JHM-D-14-0008.1
    | Talagrand (1999), A posteriori evaluation and verification of analysis and assimilation
    | algorithms, ECMWF workshop on diagnosis of data assimilation systems
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import NDArray

__all__ = ["anomaly_correlation", "area_mean", "chi_square", "spread", "spread_skill"]

Values = NDArray[np.float64]


def area_mean(
    x: Float[ndarray, "*batch lat lon"], area: Float[ndarray, "lat"]
) -> Float[ndarray, "*batch"]:
    """Return the area-weighted mean over the points.

    Args:
        x: Values.
        area: Cell-area weights of the rows, mean 1.
    """
    return np.asarray(x.mean(-1) @ (area / area.sum()))


def anomaly_correlation(
    forecast: Float[ndarray, "*batch lat lon"],
    truth: Float[ndarray, "*batch lat lon"],
    area: Float[ndarray, "lat"],
) -> Float[ndarray, "*batch"]:
    """Return the (uncentered) correlation of two anomalies; NaN if one of them is zero [1]."""
    product = area_mean(forecast * truth, area)
    variance = area_mean(forecast**2, area) * area_mean(truth**2, area)
    return np.asarray(product / np.sqrt(np.where(variance > 0, variance, np.nan)))


def spread(
    x: Float[ndarray, "member *batch lat lon"], area: Float[ndarray, "lat"]
) -> Float[ndarray, "*batch"]:
    """Return the root of the area mean of the ensemble variance, in units of x."""
    return np.asarray(np.sqrt(area_mean(x.var(0, ddof=1), area)))


def spread_skill(
    spread: Float[ndarray, "*batch"], rmse: Float[ndarray, "*batch"], members: int
) -> Float[ndarray, "*batch"]:
    """Return the spread–skill ratio of an ensemble, corrected for its size [1]."""
    return np.asarray(np.sqrt((members + 1) / members) * spread / np.where(rmse > 0, rmse, np.nan))


def chi_square(departure: Values, error: Values, background_error: Values) -> Values:
    """Return d² / (σ_o² + σ_b²) of each observation [1]."""
    return np.asarray(departure**2 / (error**2 + background_error**2))
