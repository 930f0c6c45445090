from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from models.grid import LatLonGrid
from models.observations.operator import InterpolationOperator
from models.observations.positions import (
    group_profiles,
    level_coordinates,
    observation_positions,
    unit_vectors,
)
from models.state import StateSpec, embedded_spec

Tables = Callable[..., pd.DataFrame]
EMBEDDED = embedded_spec()


def single(index: list[int]) -> InterpolationOperator:
    places = torch.tensor(index)[:, None]
    return InterpolationOperator(places, torch.ones(len(index), 1), EMBEDDED.shape)


def degrees_between(positions: object, latitude: object, longitude: object) -> torch.Tensor:
    a = unit_vectors(positions.latitude, positions.longitude)  # type: ignore[attr-defined]
    b = unit_vectors(*(torch.as_tensor(np.asarray(v, float)) for v in (latitude, longitude)))
    return torch.rad2deg(2 * torch.asin(((a - b).norm(dim=-1) / 2).clamp(max=1)))


def test_a_grid_point_is_at_its_own_place() -> None:
    field, row, column = 19, 30, 63
    found = observation_positions(single([(field * 32 + row) * 64 + column]), EMBEDDED)
    assert found.latitude.item() == pytest.approx(EMBEDDED.grid.latitude[row], abs=1e-10)
    assert found.longitude.item() == pytest.approx(EMBEDDED.grid.longitude[column], abs=1e-10)
    assert found.level.item() == pytest.approx(np.log(EMBEDDED.fields[field].level))
    assert found.field.item() == field


def test_the_surface_has_the_coordinate_zero(europe: StateSpec) -> None:
    assert level_coordinates(EMBEDDED)[-1] == 0
    levels = [0.0, *np.log(np.array([500.0, 500.0, 850.0, 300.0]) / 1000.0)]
    torch.testing.assert_close(level_coordinates(europe), torch.tensor(levels).double())


def test_interpolated_observations_are_near_where_the_table_says(make_table: Tables) -> None:
    generator = np.random.default_rng(0)
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, 400)))
    longitude = generator.uniform(0, 360, 400)
    table = make_table(400, lat=latitude, lon=longitude, variable="t", level=0.51)
    found = observation_positions(InterpolationOperator.from_table(table, EMBEDDED), EMBEDDED)
    # The mean of unit vectors is not quite the bilinear position on a grid of 5.6 degrees.
    assert degrees_between(found, latitude, longitude).max() < 0.1
    assert (found.level - np.log(0.51)).abs().max() < 1e-6


def test_wind_across_the_pole_is_near_the_pole(make_table: Tables) -> None:
    table = make_table(2, lat=[89.0, -89.5], lon=[10.0, 200.0], variable="u", level=0.51)
    operator = InterpolationOperator.from_table(table, EMBEDDED)
    assert (operator.weight < 0).any()
    found = observation_positions(operator, EMBEDDED)
    assert degrees_between(found, [89.0, -89.5], [10.0, 200.0]).max() < 0.6


def test_between_pressure_levels_the_coordinate_is_the_logarithm(
    make_table: Tables, europe: StateSpec
) -> None:
    pressure = np.array([35000.0, 60000.0, 84000.0])
    place = {"lat": 41.0, "lon": 1.0, "variable": "t", "level": np.nan}
    operator = InterpolationOperator.from_table(make_table(3, pres=pressure, **place), europe)
    found = observation_positions(operator, europe)
    np.testing.assert_allclose(found.level.numpy(), np.log(pressure / 1e5), atol=1e-6)
    assert [europe.fields[i].variable for i in found.field] == ["t", "t", "t"]
    assert len(group_profiles(found).latitude) == 1


def test_longitudes_are_less_than_a_full_circle() -> None:
    grid = LatLonGrid(EMBEDDED.grid.latitude, tuple(np.arange(64) * 5.625 - 180.0))
    spec = StateSpec(EMBEDDED.variables, grid, "sigma")
    found = observation_positions(single(list(range(64))), spec)
    assert found.longitude.min() >= 0 and found.longitude.max() < 360


def test_profiles_hold_each_observation_once_and_by_position() -> None:
    generator = np.random.default_rng(1)
    index = generator.choice(33 * 2048, 500, replace=False)
    index = np.concatenate([index, index[:200] % 2048])
    positions = observation_positions(single(index.tolist()), EMBEDDED)
    profiles = group_profiles(positions)
    assert sorted(profiles.index[profiles.present].tolist()) == list(range(700))
    latitude = positions.latitude[profiles.index]
    assert (latitude - profiles.latitude[:, None])[profiles.present].abs().max() < 1e-3
    assert len(profiles.latitude) == len(np.unique(index % 2048))


def test_the_order_within_a_profile_does_not_depend_on_the_order_of_the_table() -> None:
    index = np.random.default_rng(2).choice(33 * 64, 300, replace=False) // 33
    fields = np.random.default_rng(2).choice(33 * 64, 300, replace=False) % 33
    flat = np.unique(fields * 2048 + index)
    shuffled = np.random.default_rng(3).permutation(flat)
    ordered = []
    for values in (flat, shuffled):
        profiles = group_profiles(observation_positions(single(values.tolist()), EMBEDDED))
        kept = np.where(profiles.present.numpy(), values[profiles.index.numpy()], -1)
        ordered.append(kept)
    np.testing.assert_array_equal(*ordered)


def test_an_operator_of_another_state_is_refused(europe: StateSpec) -> None:
    with pytest.raises(ValueError, match=r"\(33, 32, 64\)"):
        observation_positions(single([0]), europe)
