"""The scores of one cycle as rows of a long table.

States are scored against the truth with cell-area weights, field by field: `rmse`, `bias`, `acc`
and `mse_climatology`, the mean square error in units of the climatological anomaly variance, of the
ensemble mean; for ensembles also the fair `crps`, `spread` and `spread_skill`. The rows of the
variable `all` are the mean of `mse_climatology` over the fields, and `mse_background_24h`, the
mean over the fields that count of the mean square error in units of the 24 h background-error
variance. Observations are scored by their departures from background and analysis and by χ².

References:
    | Leeuwenburg et al. (2024), scores: a Python package for verifying and evaluating models and
    | predictions with xarray, doi 10.21105/joss.06889
    | Ferro (2014), Fair scores for ensemble forecasts, doi 10.1002/qj.2270
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from scores.continuous import additive_bias, rmse
from scores.probability import crps_for_ensemble
from torch import Tensor

from models.normalization import Statistics
from models.state import StateSpec
from models.verification.measures import (
    anomaly_correlation,
    chi_square,
    spread,
    spread_skill,
)

__all__ = ["score_observations", "score_state"]

DIMS = ("field", "latitude", "longitude")
Values = NDArray[np.float64]


class Row(NamedTuple):
    """One score; the level of a surface variable, or of all levels, is None."""

    variable: str
    level: float | None
    metric: str
    source: str
    value: float


def score_state(
    x: Float[Tensor, "member field lat lon"],
    truth: Float[Tensor, "field lat lon"],
    spec: StateSpec,
    statistics: Statistics,
    valid_time: pd.Timestamp,
    cycle_time: pd.Timestamp,
    lead_time: pd.Timedelta,
    source: str,
) -> pd.DataFrame:
    """Score states of one time.

    Args:
        x: The states, one for each member [SI].
        truth: The truth [SI].
        spec: Their layout.
        statistics: Climatology and scales.
        valid_time: Time of the states.
        cycle_time: Cycle time they belong to.
        lead_time: Time since their analysis.
        source: `background`, `analysis`, `free` or `forecast`.

    Returns:
        Rows of the long table.
    """
    members, reference = double(x), double(truth)
    area = spec.grid.area_fractions * spec.grid.shape[0]
    scores = field_scores(members, reference, area)
    climatology = double(statistics.climatology([valid_time])[0])
    anomalies = members.mean(0) - climatology, reference - climatology
    scores["acc"] = anomaly_correlation(*anomalies, area)
    scores["mse_climatology"] = (scores["rmse"] / double(statistics.std)) ** 2
    rows = [
        Row(field.variable, field.level, metric, source, value)
        for metric, values in scores.items()
        for field, value in zip(spec.fields, values.tolist(), strict=True)
    ]
    for metric, value in overall(scores["mse_climatology"], statistics).items():
        rows.append(Row("all", None, metric, source, value))
    region = "global" if spec.grid.reaches_poles else "domain"
    return long_table(rows, cycle_time, lead_time, region)


def overall(normalized: Values, statistics: Statistics) -> dict[str, float]:
    """Return the means over the fields of the mean square error in climatological units."""
    counted = statistics.error_mask.cpu().numpy()
    means = {"mse_climatology": float(normalized.mean())}
    if counted.any():
        relative = normalized[counted] / double(statistics.error_std)[counted] ** 2
        means["mse_background_24h"] = float(relative.mean())
    return means


def field_scores(members: Values, truth: Values, area: Values) -> dict[str, Values]:
    """Return the scores of each field that need no climatology."""
    x = xr.DataArray(members, dims=("member", *DIMS))
    reference = xr.DataArray(truth, dims=DIMS)
    options = {"preserve_dims": ["field"], "weights": xr.DataArray(area, dims=["latitude"])}
    mean = x.mean("member") if len(x) > 1 else x[0]
    result: dict[str, Values] = {
        "rmse": rmse(mean, reference, **options).to_numpy(),
        "bias": additive_bias(mean, reference, **options).to_numpy(),
    }
    if len(members) > 1:
        fair = crps_for_ensemble(x, reference, "member", method="fair", **options)
        result["crps"] = fair.to_numpy()
        result["spread"] = spread(members, area)
        result["spread_skill"] = spread_skill(result["spread"], result["rmse"], len(members))
    return result


def score_observations(
    feedback: pd.DataFrame, cycle_time: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Score the used observations of one cycle by variable.

    Args:
        feedback: Observations with `used` and `o_minus_b`, and if known `o_minus_a` and
            `background_error`.
        cycle_time: Cycle time; by default the time that all observations share.

    Returns:
        Rows of the long table: mean and standard deviation of O−B and O−A, and χ².
    """
    if not len(feedback):
        return long_table([], pd.Timestamp(0), pd.Timedelta(0), "all")
    if cycle_time is None:
        cycle_time = shared_time(feedback)
    used = feedback[feedback["used"].to_numpy(bool)]
    rows = [*departure_rows(used, "background"), *departure_rows(used, "analysis")]
    if "background_error" in used:
        rows += chi_square_rows(used)
    return long_table(rows, cycle_time, pd.Timedelta(0), "all")


def departure_rows(used: pd.DataFrame, source: str) -> Iterator[Row]:
    """Yield mean and standard deviation of the departures from background or analysis."""
    name = f"o_minus_{source[0]}"
    if name not in used:
        return
    codes, variables = pd.factorize(used["variable"])
    departure = used[name].to_numpy(np.float64)
    mean = mean_by(codes, departure)
    deviation = np.sqrt(mean_by(codes, (departure - mean[codes]) ** 2))
    for metric, values in (("mean", mean), ("std", deviation)):
        for variable, value in zip(variables, values.tolist(), strict=True):
            yield Row(str(variable), None, f"{name}_{metric}", source, value)


def chi_square_rows(used: pd.DataFrame) -> Iterator[Row]:
    """Yield χ² of the background for each variable and for all observations."""
    names = ("o_minus_b", "error", "background_error")
    square = chi_square(*(used[name].to_numpy(np.float64) for name in names))
    codes, variables = pd.factorize(used["variable"])
    for variable, value in zip(variables, mean_by(codes, square).tolist(), strict=True):
        yield Row(str(variable), None, "chi2", "background", value)
    if len(square):
        yield Row("all", None, "chi2", "background", float(square.mean()))


def mean_by(codes: NDArray[np.intp], values: Values) -> Values:
    """Return the mean of the values of each code."""
    return np.asarray(np.bincount(codes, values) / np.bincount(codes))


def shared_time(feedback: pd.DataFrame) -> pd.Timestamp:
    """Return the time of all observations."""
    times = feedback["time"].unique()
    if len(times) != 1:
        raise ValueError(f"observations have {len(times)} times: the cycle time must be given")
    return pd.Timestamp(times[0])


def long_table(
    rows: Sequence[Row], cycle_time: pd.Timestamp, lead_time: pd.Timedelta, region: str
) -> pd.DataFrame:
    """Return rows as the long table, with its columns in order."""
    variable, level, metric, source, value = zip(*rows, strict=True) if rows else [()] * 5
    count = len(rows)
    columns = {
        "cycle_time": np.full(count, np.datetime64(cycle_time, "ns")),
        "lead_time": np.full(count, np.timedelta64(lead_time, "ns")),
        "variable": pd.Series(variable, dtype="str"),
        "level": np.array(level, np.float64),
        "region": pd.Series([region] * count, dtype="str"),
        "metric": pd.Series(metric, dtype="str"),
        "source": pd.Series(source, dtype="str"),
        "value": np.array(value, np.float64),
    }
    return pd.DataFrame(columns)


def double(x: Tensor) -> Values:
    """Return a tensor as an array in double precision."""
    return np.asarray(x.detach().cpu().numpy(), np.float64)
