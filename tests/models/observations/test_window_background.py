from collections.abc import Callable

import pandas as pd
import pytest
import torch

from models.observations.background import WindowBackground
from models.observations.batch import to_observations
from models.observations.operator import InterpolationOperator
from models.state import StateSpec

Tables = Callable[..., pd.DataFrame]
CYCLE = pd.Timestamp("2004-01-01T06")
HOUR = pd.Timedelta(hours=1)


def background(spec: StateSpec, *hours: int, members: int = 2) -> WindowBackground:
    random = torch.Generator().manual_seed(0)
    shape = (members, *spec.shape)
    states = {CYCLE + h * HOUR: 270 + torch.randn(shape, generator=random) for h in hours}
    return WindowBackground(CYCLE, states)


def test_the_background_is_compared_with_each_observation_at_its_own_time(
    make_table: Tables, europe: StateSpec
) -> None:
    hours = [-2, 0, 2, 2, -2]
    table = make_table(5, time=[CYCLE + h * HOUR for h in hours])
    own = background(europe, -2, 0, 2)
    equivalents = to_observations(table, europe, own).equivalents(own.x_b)
    for row, h in enumerate(hours):
        alone = InterpolationOperator.from_table(table.iloc[[row]], europe)
        torch.testing.assert_close(equivalents[:, [row]], alone(own.states[CYCLE + h * HOUR]))


def test_increments_are_seen_as_at_the_cycle_time(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(3, time=[CYCLE + h * HOUR for h in (-2, 0, 2)])
    own = background(europe, -2, 0, 2)
    observations, increment = to_observations(table, europe, own), torch.randn(2, *europe.shape)
    change = observations.equivalents(own.x_b + increment) - observations.equivalents(own.x_b)
    torch.testing.assert_close(change, observations.operator(increment), atol=1e-4, rtol=1e-4)


def test_the_state_nearest_in_time_is_taken(make_table: Tables, europe: StateSpec) -> None:
    minutes = pd.to_timedelta([-170, -61, -59, 59, 61, 180], unit="min")
    table, own = make_table(6, time=CYCLE + minutes), background(europe, -2, 0, 2)
    equivalents = to_observations(table, europe, own).equivalents(own.x_b)
    operator = InterpolationOperator.from_table(table, europe)
    for row, h in enumerate([-2, -2, 0, 0, 2, 2]):
        expected = operator(own.states[CYCLE + h * HOUR])[:, row]
        torch.testing.assert_close(equivalents[:, row], expected)


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_times_of_any_resolution_are_the_same(
    make_table: Tables, europe: StateSpec, unit: str
) -> None:
    own = background(europe, -2, 0, 2)
    times = pd.DatetimeIndex([CYCLE - 2 * HOUR, CYCLE, CYCLE + 2 * HOUR])
    first = to_observations(make_table(3, time=times), europe, own).offset
    other = to_observations(make_table(3, time=times.as_unit(unit)), europe, own).offset
    assert first is not None and other is not None
    assert torch.equal(first, other)
    assert (first[:, [0, 2]] != 0).all() and (first[:, 1] == 0).all()


def test_the_background_of_the_cycle_time_alone_adds_nothing(
    make_table: Tables, europe: StateSpec
) -> None:
    table, own = make_table(3, time=[CYCLE - 2 * HOUR] * 3), background(europe, 0)
    observations = to_observations(table, europe, own)
    assert observations.offset is None
    assert torch.equal(observations.equivalents(own.x_b), observations.operator(own.x_b))


def test_only_used_rows_have_an_offset(make_table: Tables, europe: StateSpec) -> None:
    hours = (-2, 0, 2, 2)
    table = make_table(4, time=[CYCLE + h * HOUR for h in hours])
    own, used = background(europe, -2, 0, 2), [False, True, True, False]
    offset = to_observations(table.assign(used=used), europe, own).offset
    full = to_observations(table, europe, own).offset
    assert offset is not None and full is not None
    torch.testing.assert_close(offset, full[:, 1:3])


def test_no_observations_have_no_offset(make_table: Tables, europe: StateSpec) -> None:
    own = background(europe, -2, 0, 2)
    observations = to_observations(make_table(2).assign(used=False), europe, own)
    assert observations.equivalents(own.x_b).shape == (2, 0)


def test_moving_to_a_device_keeps_the_offset(make_table: Tables, europe: StateSpec) -> None:
    table, own = make_table(3, time=[CYCLE + 2 * HOUR] * 3), background(europe, 0, 2)
    observations = to_observations(table, europe, own)
    moved = observations.to("cpu")
    assert torch.equal(moved.equivalents(own.x_b), observations.equivalents(own.x_b))
