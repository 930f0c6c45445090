"""Climatology and scales: a = (x − c(t)) / std.

At each point and for each field the climatology is a short Fourier series in the time of the year
(period 365.25 days from 1 January 00 UTC) and, optionally, the hour of the day,

    c(t) = c_0 + Σ_{k=1,2} (c_k cos 2πkt/T + s_k sin 2πkt/T) [+ d_1 cos 2πh/24 + d_2 sin 2πh/24],

fitted by least squares; std is the area-weighted root mean square of x − c(t), one for each field.
`error_std` is the 24 h background-error standard deviation in the same units of anomaly: the
weight 1 / error_std makes fields with small errors count.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from models.state import Times

__all__ = ["Block", "Statistics", "fit_statistics", "time_basis"]

YEAR_HOURS = 365.25 * 24
Block = tuple[Tensor, Times]


class Statistics(nn.Module):
    """Climatology and scales of the fields; a component with a checkpoint."""

    coefficients: Tensor
    std: Tensor
    error_std: Tensor
    error_mask: Tensor

    def __init__(
        self,
        coefficients: Float[Tensor, "basis field lat lon"],
        std: Float[Tensor, "field"],
        error_std: Float[Tensor, "field"] | None = None,
        error_mask: Bool[Tensor, "field"] | None = None,
    ) -> None:
        """Create the statistics.

        Args:
            coefficients: Coefficients of the climatology, 1, 5 or 7 of them [SI].
            std: Standard deviation of the anomalies [SI].
            error_std: 24 h background-error standard deviation in units of `std` [1].
            error_mask: Fields that count in the background-error measure.
        """
        super().__init__()
        check_basis(len(coefficients))
        if not (torch.isfinite(std).all() and (std > 0).all()):
            raise ValueError("the standard deviation of each field must be finite and positive")
        self.register_buffer("coefficients", coefficients.float())
        self.register_buffer("std", std.float())
        self.register_buffer("error_std", torch.ones_like(self.std))
        self.register_buffer("error_mask", torch.ones_like(self.std, dtype=torch.bool))
        if error_std is not None:
            self.error_std.copy_(checked_error(error_std, error_mask))
        if error_mask is not None:
            self.error_mask.copy_(error_mask)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Statistics":
        """Create the statistics from their `state_dict`."""
        names = ("coefficients", "std", "error_std", "error_mask")
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"statistics lack the tensor {missing[0]!r}, needed: {names}")
        return cls(*(tensors[name] for name in names))

    def with_error_std(
        self, error_std: Float[Tensor, "field"], error_mask: Bool[Tensor, "field"]
    ) -> "Statistics":
        """Return the statistics with the 24 h background error in units of `std` [1]."""
        return Statistics(self.coefficients, self.std, error_std, error_mask)

    @property
    def weights(self) -> Float[Tensor, "field"]:
        """1 / error_std, and 1 for the fields that do not count [1]."""
        counted = torch.where(self.error_mask, self.error_std, torch.ones_like(self.std))
        weights: Tensor = 1 / counted
        return weights

    def basis(self, times: Times) -> Float[Tensor, "time basis"]:
        """Return the functions of time whose sum is the climatology."""
        basis = time_basis(times, len(self.coefficients))
        return torch.from_numpy(basis).to(self.coefficients)

    def climatology(self, times: Times) -> Float[Tensor, "time field lat lon"]:
        """Return the climatology at each time [SI]."""
        return self._sum(self.basis(times))

    def normalize(
        self, x: Float[Tensor, "batch field lat lon"], times: Times
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the anomalies a of states x [SI], one valid time for each state."""
        return (x - self._climatology(times)) / self.std[:, None, None]

    def anomaly(
        self, x: Float[Tensor, "batch field lat lon"], basis: Float[Tensor, "batch basis"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the anomalies a of states x [SI] by the functions of time at their times."""
        return (x - self._sum(basis)) / self.std[:, None, None]

    def denormalize(
        self, a: Float[Tensor, "batch field lat lon"], times: Times
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the states x [SI] of anomalies a."""
        return a * self.std[:, None, None] + self._climatology(times)

    def _sum(self, basis: Tensor) -> Float[Tensor, "time field lat lon"]:
        """Return the climatology for values of the functions of time."""
        flat = basis @ self.coefficients.flatten(1)
        return flat.reshape(len(basis), *self.coefficients.shape[1:])

    def _climatology(self, times: Times) -> Float[Tensor, "time field lat lon"]:
        """Return the climatology, once if all times are the same."""
        same = len(times) > 1 and all(time == times[0] for time in times)
        return self.climatology(times[:1] if same else times)


def check_basis(n_basis: int) -> None:
    """Refuse any but the three climatologies."""
    if n_basis not in (1, 5, 7):
        allowed = "allowed: 1 (mean), 5 (and seasons), 7 (and diurnal cycle)"
        raise ValueError(f"climatology of {n_basis} coefficients, {allowed}")


def checked_error(error_std: Tensor, error_mask: Tensor | None) -> Tensor:
    """Return the error scales if those that count are finite and positive."""
    counted = error_std if error_mask is None else error_std[error_mask]
    if not (torch.isfinite(counted).all() and (counted > 0).all()):
        raise ValueError("error_std must be finite and positive for each field that counts")
    return error_std


def time_basis(times: Times, n_basis: int) -> NDArray[np.float64]:
    """Return the first `n_basis` of 1, two annual harmonics, the diurnal one; (time, basis)."""
    stamps = pd.DatetimeIndex(list(times))
    starts = stamps.to_numpy("datetime64[Y]").astype("datetime64[ns]")
    hours = (stamps.to_numpy("datetime64[ns]") - starts) / np.timedelta64(1, "h")
    year, day = 2 * np.pi * hours / YEAR_HOURS, 2 * np.pi * hours / 24
    columns = [np.ones_like(year)]
    for phase in (year, 2 * year, day)[: n_basis // 2]:
        columns += [np.cos(phase), np.sin(phase)]
    return np.stack(columns, axis=1)


def fit_statistics(
    blocks: Iterable[Block], area: Float[Tensor, "lat"], n_basis: int = 7
) -> Statistics:
    """Fit climatology and standard deviation in float64, block by block.

    The normal equations of the least squares and the sum of squares are all that is kept, so that
    one pass over the data is enough: |x − c|² = |x|² − |c|² summed over time.

    Args:
        blocks: Pairs of states (time, field, lat, lon) [SI] and their times. One pass is made.
        area: Cell-area weights, mean 1.
        n_basis: 1 for the mean alone, 5 with the seasons, 7 with the diurnal cycle too.

    Raises:
        ValueError: The times cannot tell the functions apart, or a field does not vary.
    """
    check_basis(n_basis)
    sums = _Sums(n_basis)
    for x, times in blocks:
        sums.add(x, times)
    if sums.count < 2 * n_basis:
        raise ValueError(f"{sums.count} states are too few, at least {2 * n_basis} are needed")
    coefficients, rank = sums.solve()
    if rank < n_basis:
        text = f"the times determine {rank} of {n_basis} coefficients of the climatology"
        cover = "the year and the day" if n_basis == 7 else "the year"
        raise ValueError(f"{text}: they must cover {cover}, or take fewer coefficients")
    variance = (sums.residual(coefficients) * area[:, None].double()).mean((1, 2))
    constant = (variance <= 1e-12 * sums.scale()).nonzero().flatten().tolist()
    if constant:
        raise ValueError(f"field number {constant[0]} does not vary around its climatology")
    coefficients[0] += sums.offset
    return Statistics(coefficients.float(), variance.sqrt().float())


class _Sums:
    """Sums over time of x about the first state, which keeps the digits of small variances."""

    def __init__(self, n_basis: int) -> None:
        self.n_basis, self.count = n_basis, 0
        self.gram = torch.zeros(n_basis, n_basis, dtype=torch.float64)
        self.moment = self.square = self.offset = torch.zeros(0, dtype=torch.float64)

    def add(self, x: Float[Tensor, "time field lat lon"], times: Times) -> None:
        """Add a block of states."""
        if len(x) != len(times):
            raise ValueError(f"{len(x)} states have {len(times)} times")
        basis = torch.from_numpy(time_basis(times, self.n_basis))
        if not self.count:
            self.offset = x[0].double()
            self.moment = torch.zeros(self.n_basis, *x.shape[1:], dtype=torch.float64)
            self.square = torch.zeros_like(self.offset)
        y = x.double() - self.offset
        self.gram += basis.T @ basis
        self.moment += torch.tensordot(basis.T, y, 1)
        self.square += (y**2).sum(0)
        self.count += len(x)

    def solve(self) -> tuple[Tensor, int]:
        """Return the coefficients and how many of them the times determine."""
        rank = int(torch.linalg.matrix_rank(self.gram, hermitian=True, rtol=1e-4))
        solution = torch.linalg.lstsq(self.gram, self.moment.flatten(1), driver="gelsd")[0]
        return solution.reshape(self.moment.shape), rank

    def residual(self, coefficients: Tensor) -> Float[Tensor, "field lat lon"]:
        """Return the mean square of the anomalies."""
        return ((self.square - (coefficients * self.moment).sum(0)) / self.count).clamp(min=0)

    def scale(self) -> Float[Tensor, "field"]:
        """Return the mean square of the fields themselves."""
        return ((self.square / self.count) + self.offset**2).mean((1, 2))
