"""The LETKF beside that of DAPPER (Raanes et al., doi 10.21105/joss.05150): equal, and faster.

Both analyze the same members with the same observations, taper and cutoff, without inflation, in
turn, on one thread each; seconds are the processor's, so that other work on the machine does not
count. DAPPER has all distances worked out before the clock starts, as its users can for a fixed
network; ours starts from the operator each time. With one value in each column and about as many
observations around it as members, both take most of their time in one decomposition by LAPACK.

DAPPER is no dependency of the tests: `pip install dapper` (1.7 for Python 3.11, else 1.8), then
`python -m pytest tests/benchmarks/test_letkf_speed.py --benchmark-only`.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from models.grid import LatLonGrid
from models.localization import ObservationLocalization, great_circle_distance
from models.methods.letkf import LETKF, LETKFSettings
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.observations.positions import observation_positions
from models.state import StateSpec, Variable, embedded_spec

MISSING = "DAPPER is not installed"
ensemble = pytest.importorskip("dapper.da_methods.ensemble", reason=MISSING)
localization = pytest.importorskip("dapper.tools.localization", reason=MISSING)
randvars = pytest.importorskip("dapper.tools.randvars", reason=MISSING)
threadpoolctl = pytest.importorskip("threadpoolctl")

TIME = pd.Timestamp("2005-01-01")
GRID = LatLonGrid.gaussian(32, 64)
MEMBERS, RADIUS, CUTOFF = 40, 700.0, 1e-3
#: DAPPER's radius is where the taper is about exp(-1/2); its half-width is this much larger.
HALF_WIDTH = 1.82 * RADIUS
SPECS = {
    "one field": StateSpec((Variable("z", "geopotential", "m2 s-2"),), GRID, "pressure"),
    "33 fields": embedded_spec(),
}
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Members, and observations of whole columns."""

    x_b: torch.Tensor
    observations: Observations
    method: LETKF

    def ours(self) -> Callable[[], Values]:
        members = [torch.Generator()] * MEMBERS
        return lambda: self.method(self.x_b, TIME, self.observations, members).x_a.numpy()

    def dapper(self) -> Callable[[], Values]:
        points = GRID.shape[0] * GRID.shape[1]
        index = self.observations.operator.index[:, 0].numpy()
        place = self.method.columns
        distance = great_circle_distance(place, place[index % points]).numpy()
        horizontal = localization.dist2coeff(distance, RADIUS, "GC")
        horizontal[horizontal <= CUTOFF] = 0
        positions = observation_positions(self.observations.operator, self.method.spec)
        taper = self.method.settings.localization
        targets = [np.array(target.fields) for target in self.method.targets]
        batches = [points * fields + column for fields in targets for column in range(points)]
        vertical, owner = [], np.zeros(self.method.spec.n_fields, np.int64)
        for number, target in enumerate(self.method.targets):
            vertical.append(target.weights(positions, taper).numpy())
            owner[list(target.fields)] = number

        def taperer(batch: NDArray[np.int64]) -> tuple[NDArray[np.int64], Values]:
            field, column = divmod(int(batch[0]), points)
            weight = horizontal[column] * vertical[owner[field]]
            near = np.flatnonzero(weight)
            return near, weight[near]

        x_b, y = self.x_b.flatten(1).double().numpy(), self.observations.y.double().numpy()
        noise = randvars.GaussRV(C=self.observations.error.double().numpy() ** 2, M=len(y))

        def run() -> Values:
            x = x_b.copy()
            x_a, _ = ensemble.local_analyses(x, x[:, index], noise.C, y, batches, taperer)
            return np.asarray(x_a).reshape(self.x_b.shape)

        return run


def problem(name: str, fraction: float, vertical: float) -> Problem:
    """Smooth members, so that observations matter around them, and 10 % noise."""
    spec, random = SPECS[name], np.random.default_rng(0)
    waves = random.standard_normal((MEMBERS + 1, spec.n_fields, 12))
    lat, lon = np.meshgrid(np.radians(GRID.latitude), np.radians(GRID.longitude), indexing="ij")
    k = np.arange(1, 7)[:, None, None]
    modes = np.concatenate([np.sin(k * lon) * np.cos(lat), np.cos(k * lat + k)])
    x = torch.from_numpy(np.einsum("mfw,wij->mfij", waves, modes)).float()
    points = GRID.shape[0] * GRID.shape[1]
    columns = np.sort(random.choice(points, round(fraction * points), replace=False))
    index = (np.arange(spec.n_fields)[:, None] * points + columns).ravel()
    operator = InterpolationOperator(
        torch.from_numpy(index)[:, None], torch.ones(len(index), 1), spec.shape
    )
    error = torch.full((len(index),), 0.3)
    noise = torch.from_numpy(random.standard_normal(len(index))).float()
    observations = Observations(operator(x[:1])[0] + error * noise, error, operator)
    taper = ObservationLocalization(HALF_WIDTH, vertical=vertical, smallest=CUTOFF)
    return Problem(x[1:], observations, LETKF(spec, LETKFSettings(taper)))


def seconds(run: Callable[[], Values]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


@pytest.mark.benchmark(group="LETKF")
@pytest.mark.parametrize(
    ("name", "fraction", "vertical", "repeats", "least"),
    [
        ("33 fields", 0.05, 0.7, 2, 5.0),
        ("33 fields", 0.05, math.inf, 3, 5.0),
        ("one field", 0.1, math.inf, 5, 3.0),
        ("one field", 0.5, math.inf, 5, 1.5),
    ],
)
def test_it_is_dappers_analysis_and_faster(
    benchmark: BenchmarkFixture,
    name: str,
    fraction: float,
    vertical: float,
    repeats: int,
    least: float,
) -> None:
    torch.set_num_threads(1)
    case = problem(name, fraction, vertical)
    ours, dapper = case.ours(), case.dapper()
    with threadpoolctl.threadpool_limits(1):
        analyses = ours(), dapper()
        spread = case.x_b.std(0).numpy()
        difference = np.abs(analyses[0] - analyses[1]) / spread
        changed = np.abs(analyses[1] - case.x_b.numpy()) / spread
        assert difference.max() < 1e-4 and np.sqrt((changed**2).mean()) > 0.1
        times = [(seconds(ours), seconds(dapper)) for _ in range(repeats)]
        benchmark.pedantic(ours, rounds=1)
    own, other = (statistics.median(part) for part in zip(*times, strict=True))
    benchmark.extra_info["seconds, DAPPER"] = other
    benchmark.extra_info["DAPPER / ours"] = other / own
    benchmark.extra_info["largest difference over spread"] = float(difference.max())
    assert other / own >= least, (own, other)
