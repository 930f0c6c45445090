"""The LETKF against the Kalman filter and against loops over columns written from the equations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from models.inflation import Inflation, centered
from models.localization import ObservationLocalization
from models.methods.base import AssimilationMethod
from models.methods.letkf import LETKF, LETKFSettings
from models.normalization import Statistics
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.state import StateSpec
from models.world.constants import EARTH
from tests.letkf_problem import (
    GLOBE,
    MEMBERS,
    NOWHERE,
    REGION,
    TIME,
    Values,
    draws,
    ensemble,
    filtered,
    generators,
    interpolated,
    matrix,
    observe,
)


def gaspari_cohn(distance: float, half_width: float) -> float:
    z = abs(distance) / half_width
    if z >= 2:
        return 0.0
    if z >= 1:
        tail = -(z**5) / 12 + z**4 / 2 - 5 * z**3 / 8 - 5 * z**2 / 3 + 5 * z - 4 + 2 / (3 * z)
        return -tail
    return -(z**5) / 4 + z**4 / 2 + 5 * z**3 / 8 - 5 * z**2 / 3 + 1


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    lat_a, lon_a, lat_b, lon_b = np.radians([*a, *b])
    half = np.sin((lat_b - lat_a) / 2) ** 2
    half += np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return float(2 * EARTH.radius / 1000 * np.arcsin(np.sqrt(min(half, 1.0))))


def coordinate(spec: StateSpec, field: int) -> float:
    level = spec.fields[field].level
    return (
        0.0 if level is None else math.log(level / (1.0 if spec.vertical == "sigma" else 1000.0))
    )


def brute_force(
    x_b: torch.Tensor, observations: Observations, spec: StateSpec, loc: ObservationLocalization
) -> Values:
    """Loop over columns and fields with an explicit gain and the root of a matrix function."""
    x, members = x_b.numpy(), len(x_b)
    y = observations.operator(x_b).numpy()
    mean_y, perturbed_y = y.mean(0), y - y.mean(0)
    field, row, column = np.unravel_index(observations.operator.index[:, 0].numpy(), spec.shape)
    latitude, longitude = spec.grid.latitude, spec.grid.longitude
    deepest = max(coordinate(spec, i) for i, f in enumerate(spec.fields) if f.level is not None)
    x_a = x.copy()
    for f, i, j in np.ndindex(*spec.shape):
        name = spec.fields[f].variable
        own = deepest if spec.fields[f].level is None else coordinate(spec, f)
        weight = np.zeros(len(field))
        for o in range(len(field)):
            where = (latitude[row[o]], longitude[column[o]])
            distance = haversine((latitude[i], longitude[j]), where)
            width = loc.half_widths.get(name, loc.half_width)
            horizontal = gaspari_cohn(distance, width)
            vertical = gaspari_cohn(coordinate(spec, field[o]) - own, loc.vertical)
            if horizontal >= loss(loc) and vertical >= loss(loc):
                weight[o] = horizontal * vertical
            weight[o] *= loc.damping.get(spec.fields[field[o]].variable, {}).get(name, 1.0)
        used = np.flatnonzero(weight > 0)
        if not len(used):
            continue
        r = np.diag(observations.error.numpy()[used] ** 2 / weight[used])
        s = perturbed_y[:, used].T
        perturbed_x = x[:, f, i, j] - x[:, f, i, j].mean()
        gain = perturbed_x @ s.T @ np.linalg.inv(s @ s.T + (members - 1) * r)
        mean = x[:, f, i, j].mean() + gain @ (observations.y.numpy() - mean_y)[used]
        inside = np.eye(members) + s.T @ np.linalg.inv(r) @ s / (members - 1)
        root = np.real(scipy.linalg.sqrtm(np.linalg.inv(inside)))
        x_a[:, f, i, j] = mean + perturbed_x @ root
    return x_a


def loss(loc: ObservationLocalization) -> float:
    return max(loc.smallest, 1e-300)


def test_it_is_an_assimilation_method() -> None:
    assert isinstance(LETKF(GLOBE), AssimilationMethod)


def test_without_localization_it_is_the_kalman_filter_of_the_ensembles_covariance() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 40)
    x_a = filtered(LETKFSettings(NOWHERE), x_b, observed).flatten(1)
    mean, x = (
        value.flatten(0) if value.ndim == 3 else value.flatten(1) for value in centered(x_b)
    )
    h, b = matrix(observed, GLOBE), x.T @ x / (MEMBERS - 1)
    gain = b @ h.T @ torch.linalg.inv(h @ b @ h.T + observed.error.square().diag())
    torch.testing.assert_close(x_a.mean(0), mean + gain @ (observed.y - h @ mean))
    perturbation = centered(x_a)[1]
    found = perturbation.T @ perturbation / (MEMBERS - 1)
    torch.testing.assert_close(found, b - gain @ h @ b, rtol=1e-8, atol=1e-8)


LOCALIZATIONS = {
    "horizontal": ObservationLocalization(2000.0, vertical=math.inf),
    "vertical": ObservationLocalization(math.inf, vertical=0.6),
    "both": ObservationLocalization(2500.0, vertical=0.7),
    "by variable": ObservationLocalization(
        3000.0, {"t": 1500.0}, 1.0, {"q": {"t": 0.0}, "t": {"sp": 0.4}, "sp": {"q": 0.7}}
    ),
    "cut": ObservationLocalization(3000.0, vertical=1.5, smallest=0.1),
}


@pytest.mark.parametrize("name", LOCALIZATIONS)
def test_each_column_is_that_of_a_loop_over_columns(name: str) -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    x_a = filtered(LETKFSettings(LOCALIZATIONS[name], chunk=7), x_b, observed)
    expected = torch.from_numpy(brute_force(x_b, observed, GLOBE, LOCALIZATIONS[name]))
    torch.testing.assert_close(x_a, expected, rtol=1e-8, atol=1e-8)


def test_so_it_is_in_a_region_on_pressure_levels() -> None:
    x_b, observed = ensemble(REGION), observe(REGION, 30)
    localization = ObservationLocalization(600.0, vertical=0.5)
    x_a = filtered(LETKFSettings(localization), x_b, observed, REGION)
    expected = torch.from_numpy(brute_force(x_b, observed, REGION, localization))
    torch.testing.assert_close(x_a, expected, rtol=1e-8, atol=1e-8)


def test_one_observation_changes_nothing_beyond_its_taper() -> None:
    x_b, row, column = ensemble().float(), 2, 5
    observed = observe(GLOBE, 1, places=[(1 * 6 + row) * 12 + column])
    x_a = filtered(LETKFSettings(ObservationLocalization(1800.0, vertical=0.4)), x_b, observed)
    changed = (x_a != x_b).any(0)
    latitude, longitude = GLOBE.grid.latitude, GLOBE.grid.longitude
    for field, i, j in np.ndindex(*GLOBE.shape):
        places = ((latitude[i], longitude[j]), (latitude[row], longitude[column]))
        height = min(coordinate(GLOBE, field), math.log(0.9)) - math.log(0.5)
        near = gaspari_cohn(haversine(*places), 1800.0) >= 1e-3
        assert changed[field, i, j] == (near and gaspari_cohn(height, 0.4) >= 1e-3)
    assert changed.any() and not changed.all()


def test_a_rotation_of_the_globe_rotates_the_analysis() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 50)
    settings = LETKFSettings(ObservationLocalization(2500.0))
    index = observed.operator.index
    turned = (index - index % 12) + (index + 5) % 12
    operator = replace(observed.operator, index=turned)
    x_a = filtered(settings, x_b.roll(5, -1), replace(observed, operator=operator))
    torch.testing.assert_close(x_a, filtered(settings, x_b, observed).roll(5, -1))


def test_columns_across_the_pole_are_neighbors() -> None:
    x_b, top = ensemble(), 5
    observed = observe(GLOBE, 1, places=[top * 12])
    x_a = filtered(LETKFSettings(ObservationLocalization(3500.0, vertical=9.0)), x_b, observed)
    changed = (x_a != x_b).any(0).any(0)
    assert changed[top, 6] and changed[top, 3] and not changed[top - 2, 6]
    size = (x_a.mean(0) - x_b.mean(0)).abs()
    assert size[0, top, 0] > 0


def test_observations_between_grid_points_act_around_them() -> None:
    x_b, observed = ensemble(), interpolated(GLOBE, 80)
    full = filtered(LETKFSettings(NOWHERE), x_b, observed)
    h = matrix(observed, GLOBE)
    mean, x = (
        value.flatten(0) if value.ndim == 3 else value.flatten(1) for value in centered(x_b)
    )
    b = x.T @ x / (MEMBERS - 1)
    gain = b @ h.T @ torch.linalg.inv(h @ b @ h.T + observed.error.square().diag())
    torch.testing.assert_close(full.flatten(1).mean(0), mean + gain @ (observed.y - h @ mean))
    local = filtered(LETKFSettings(ObservationLocalization(1e7, vertical=1e4)), x_b, observed)
    torch.testing.assert_close(local, full, rtol=1e-4, atol=1e-4)


def test_fields_that_do_not_count_keep_their_background() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    counts = torch.ones(7, dtype=torch.bool)
    counts[3] = False
    statistics = Statistics(torch.zeros(1, *GLOBE.shape), torch.ones(7), torch.ones(7), counts)
    settings = LETKFSettings(inflation=Inflation(1.2, additive=0.5))
    extra = {"model_error": draws}
    x_a = filtered(settings, x_b, observed, statistics=statistics, **extra)
    full = filtered(settings, x_b, observed, **extra)
    assert torch.equal(x_a[:, 3], x_b[:, 3]) and not torch.equal(full[:, 3], x_b[:, 3])
    torch.testing.assert_close(x_a[:, counts], full[:, counts])


def test_the_order_of_the_observations_does_not_matter() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    order = torch.from_numpy(np.random.default_rng(3).permutation(60))
    operator = replace(observed.operator, index=observed.operator.index[order])
    shuffled = Observations(observed.y[order], observed.error[order], operator)
    first, second = (filtered(LETKFSettings(), x_b, each) for each in (observed, shuffled))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


def test_the_same_members_and_generators_give_the_same_analysis_bit_for_bit() -> None:
    x_b, observed = ensemble().float(), observe(GLOBE, 60)
    settings = LETKFSettings(inflation=Inflation(1.1, (0.5, 2.0), 0.3, 0.4, 0.2))
    method = LETKF(GLOBE, settings, model_error=draws)
    first, second = (method(x_b, TIME, observed, generators()).x_a for _ in range(2))
    assert first.dtype == torch.float32 and torch.equal(first, second)


def test_single_precision_is_enough_for_pressure_and_humidity() -> None:
    scale = torch.tensor([1.0, 1.0, 1.0, 1e-6, 1e-4, 1e-3, 100.0]).double()[:, None, None]
    offset = torch.tensor([220.0, 250.0, 280.0, 3e-6, 1e-3, 1e-2, 1e5]).double()[:, None, None]
    x = centered(ensemble(members=20))[1]
    x_b = offset + scale * x / x.std((0, 2, 3), keepdim=True)
    observed = observe(GLOBE, 200)
    field = observed.operator.index[:, 0] // 72
    unit = scale[:, 0, 0][field]
    y = offset[:, 0, 0][field] + unit * torch.randn(200, dtype=torch.float64)
    observed = replace(observed, y=y, error=0.1 * unit)
    exact = filtered(LETKFSettings(), x_b, observed)
    single = replace(observed, y=y.float(), error=observed.error.float())
    found = filtered(LETKFSettings(), x_b.float(), single)
    difference = ((found.double() - exact) / scale).abs().amax((0, 2, 3))
    assert difference.max() < 2e-3, difference


def test_the_mean_of_a_nonlinear_operators_equivalents_is_what_is_fitted() -> None:
    x_b, linear = ensemble(), observe(GLOBE, 30)

    class Square(InterpolationOperator):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return super().__call__(x) ** 2

    kept = linear.operator
    observed = replace(linear, operator=Square(kept.index, kept.weight, kept.shape))
    analysis = LETKF(GLOBE, LETKFSettings(NOWHERE))(x_b, TIME, observed, generators())
    equivalents = kept(x_b) ** 2
    (mean, y), (mean_x, x) = centered(equivalents), centered(x_b)
    system = y.T @ y + (MEMBERS - 1) * observed.error.square().diag()
    weights = y @ torch.linalg.inv(system) @ (observed.y - mean)
    expected = mean_x + torch.tensordot(weights, x, 1)
    torch.testing.assert_close(analysis.x_a.mean(0), expected)
    torch.testing.assert_close(analysis.background_error, equivalents.std(0))


def test_weights_on_every_second_column_are_exact_where_all_columns_have_the_same() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 40)
    full = filtered(LETKFSettings(NOWHERE), x_b, observed)
    torch.testing.assert_close(full, filtered(LETKFSettings(NOWHERE, coarsen=2), x_b, observed))


def test_weights_on_every_second_column_are_near_those_of_all() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 120)
    localization = ObservationLocalization(9000.0, vertical=2.0)
    full, coarse = (
        filtered(LETKFSettings(localization, coarsen=step, chunk=10), x_b, observed) - x_b
        for step in (1, 2)
    )
    assert (full - coarse).square().mean() < 0.01 * full.square().mean()
