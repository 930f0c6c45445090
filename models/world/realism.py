"""How like the real atmosphere a simulated climate is: numbers from states every six hours.

Jets are the largest seasonal- and zonal-mean zonal winds poleward of 15° below the stratosphere;
eddies are departures from the mean of a season; seasons are three calendar months. The growth of
errors is measured between twins that differ by a small random temperature: while errors are
small they grow as 2^(t / T), and the doubling time T is fitted where they are between 2 % and
20 % of saturation, √2 times the climatological standard deviation (Lorenz 1982).

References:
    | Lorenz (1982), Atmospheric predictability experiments with a large numerical model,
      doi 10.1111/j.2153-3490.1982.tb01839.x
    | Peixoto & Oort (1992), Physics of climate, ISBN 0-88318-712-4
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from models.normalization import Statistics, fit_statistics
from models.state import embedded_spec
from models.world.model import SpectralModel
from models.world.tables import Array

__all__ = [
    "LARGE",
    "SEASONS",
    "SMALL",
    "Climate",
    "climate_numbers",
    "doubling_time",
    "jets",
    "monthly_mean",
    "normalized_errors",
    "transient_deviation",
    "twin_errors",
    "zonal_mean",
]

SEASONS = {"DJF": (12, 1, 2), "JJA": (6, 7, 8)}
LEVELS = 8
SLICES = {name: slice(LEVELS * k, LEVELS * (k + 1)) for k, name in enumerate("uvtq")}
TROPOPAUSE_LEVEL, SURFACE_LEVEL = 1, 7
SMALL, LARGE = 0.02, 0.2


@dataclass(frozen=True)
class Climate:
    """Simulated states of the embedded world.

    Attributes:
        x: States [SI].
        times: Their times, UTC.
        latitude: Rows, south to north [degrees_north].
        area: Area weights of the rows, mean 1.
        land: Land fraction [1].
    """

    x: Float[ndarray, "time field lat lon"]
    times: pd.DatetimeIndex
    latitude: Float[ndarray, "lat"]
    area: Float[ndarray, "lat"]
    land: Float[ndarray, "lat lon"]

    def within(self, months: tuple[int, ...]) -> Float[ndarray, "time field lat lon"]:
        """Return the states of some months."""
        return self.x[np.isin(self.times.month, months)]

    def statistics(self) -> Statistics:
        """Return mean and standard deviation about the seasons (of a year) and the day."""
        whole_year = self.times[-1] - self.times[0] >= pd.Timedelta(days=360)
        block = torch.from_numpy(self.x), self.times
        return fit_statistics([block], torch.from_numpy(self.area), 7 if whole_year else 1)


def zonal_mean(climate: Climate, variable: str, months: tuple[int, ...]) -> Array:
    """Return the mean over time and longitude, (level, lat)."""
    mean = climate.within(months)[:, SLICES[variable]].mean((0, 3), dtype=np.float64)
    return np.asarray(mean)


def transient_deviation(climate: Climate, variable: str, months: tuple[int, ...]) -> Array:
    """Return the standard deviation of the eddies in a season, (level, lat)."""
    variance = climate.within(months)[:, SLICES[variable]].var(0, dtype=np.float64)
    return np.asarray(np.sqrt(variance.mean(-1)))


def monthly_mean(climate: Climate, field: int, weights: Float[ndarray, "lat lon"]) -> pd.Series:
    """Return the weighted spatial mean of one field for each month that was simulated."""
    weights = weights * climate.area[:, None]
    series = (climate.x[:, field] * weights).sum((1, 2)) / weights.sum()
    return pd.Series(series, climate.times).groupby(climate.times.month).mean()


def jets(climate: Climate, months: tuple[int, ...]) -> dict[str, tuple[float, float]]:
    """Return speed [m s-1] and latitude [degrees_north] of the jet of each hemisphere."""
    wind = zonal_mean(climate, "u", months)[TROPOPAUSE_LEVEL:].max(0)
    found = {}
    for name, sign in (("north", 1), ("south", -1)):
        row = int(np.where(sign * climate.latitude > 15, wind, -np.inf).argmax())
        found[name] = (float(wind[row]), float(climate.latitude[row]))
    return found


def season_numbers(climate: Climate) -> dict[str, float]:
    """Return jets, eddies and the latitude of the moistest air of the seasons at hand."""
    numbers = {}
    for season, months in SEASONS.items():
        if not len(climate.within(months)):
            continue
        for name, (speed, latitude) in jets(climate, months).items():
            numbers[f"{season} jet {name} [m s-1]"] = speed
            numbers[f"{season} jet latitude {name} [degrees_north]"] = latitude
        eddies = transient_deviation(climate, "v", months).max(0)
        for name, sign in (("north", 1), ("south", -1)):
            belt = (sign * climate.latitude > 30) & (sign * climate.latitude < 60)
            numbers[f"{season} eddy wind {name} [m s-1]"] = float(eddies[belt].max())
        moist = zonal_mean(climate, "q", months)[-2]
        latitude = float(climate.latitude[moist.argmax()])
        numbers[f"{season} moistest latitude [degrees_north]"] = latitude
    return numbers


def range_numbers(climate: Climate) -> dict[str, float]:
    """Return the annual range at 45–70° N (of a whole year) and the tropical daily range."""
    field, latitude = SLICES["t"].start + SURFACE_LEVEL, climate.latitude[:, None]
    belt = (latitude > 45) & (latitude < 70)
    numbers = {}
    for name, share in (("land", climate.land), ("sea", 1 - climate.land)):
        months = monthly_mean(climate, field, share * belt)
        if len(months) == 12:
            numbers[f"annual range {name} [K]"] = float(months.max() - months.min())
        daily = [climate.x[climate.times.hour == h, field] for h in set(climate.times.hour)]
        hours = np.stack([x.mean(0, dtype=np.float64) for x in daily])
        weights = share * (abs(latitude) < 30) * climate.area[:, None]
        span = (np.ptp(hours, axis=0) * weights).sum() / weights.sum()
        numbers[f"daily range {name} [K]"] = float(span)
    return numbers


def climate_numbers(climate: Climate, statistics: Statistics) -> dict[str, float]:
    """Return all numbers of a simulated climate."""
    names = embedded_spec().field_names
    pressure = (climate.x[:, -1] * climate.area[:, None]).mean((1, 2), dtype=np.float64)
    temperature, wind = climate.x[:, SLICES["t"]], climate.x[:, SLICES["u"]]
    numbers = {f"anomaly {n} [SI]": float(s) for n, s in zip(names, statistics.std, strict=True)}
    numbers |= season_numbers(climate) | range_numbers(climate)
    return numbers | {
        "largest zonal wind [m s-1]": float(np.abs(wind).max()),
        "lowest temperature [K]": float(temperature.min()),
        "highest temperature [K]": float(temperature.max()),
        "lowest surface pressure [Pa]": float(climate.x[:, -1].min()),
        "relative change of mass [1]": float(np.ptp(pressure) / pressure.mean()),
    }


@torch.no_grad()
def twin_errors(
    nature: SpectralModel,
    grid: SpectralModel,
    x: Float[Tensor, "case field lat lon"],
    seconds: Float[Tensor, "case"],
    generator: torch.Generator,
) -> Iterator[Float[ndarray, "case field"]]:
    """Yield the root-mean-square difference of twins, every simulated day from the start.

    Args:
        nature: The model.
        grid: The model on whose grid states are compared.
        x: Start of each case [SI].
        seconds: Time of each case [s since 1 January].
        generator: Of the perturbation, 0.01 K at every point.
    """
    perturbed = x.clone()
    noise = torch.randn(x[:, SLICES["t"]].shape, generator=generator)
    perturbed[:, SLICES["t"]] += 0.01 * noise
    state = nature.fit(grid.from_grid(torch.cat([x, perturbed])))
    clock, step = torch.cat([seconds, seconds]), nature.settings.time_step
    while True:
        one, two = nature.to_grid(state, grid).chunk(2)
        square = ((two - one) ** 2).mean(-1) @ grid.transform.gauss_weights
        yield square.sqrt().numpy()
        for number in range(round(86400 / step)):
            state = nature.step(state, clock + number * step)
        clock = clock + 86400


def normalized_errors(
    errors: Float[ndarray, "day case field"], statistics: Statistics
) -> Float[ndarray, "day field"]:
    """Return the errors over all cases as a share of saturation [1]."""
    saturation = np.sqrt(2) * statistics.std.numpy()
    return np.asarray(np.sqrt((errors**2).mean(1)) / saturation)


def doubling_time(errors: Float[ndarray, "day field"]) -> float | None:
    """Return the doubling time of small normalized errors of wind and temperature [d].

    None if fewer than three days lie in the range where errors grow exponentially.
    """
    dynamic = errors[:, : SLICES["q"].start]
    level = np.exp(np.log(np.maximum(dynamic, 1e-12)).mean(1))
    days = np.flatnonzero((level > SMALL) & (level < LARGE))
    if len(days) < 3:
        return None
    return float(1 / np.polyfit(days, np.log2(level[days]), 1)[0])
