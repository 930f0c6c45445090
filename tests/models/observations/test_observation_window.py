import numpy as np
import pandas as pd
import pytest

from models.observations.window import Window

CYCLE = pd.Timestamp("2004-01-01T06")


def window(hours: float, slots: int) -> Window:
    return Window(pd.Timedelta(hours=hours), slots)


def test_one_slot_is_the_cycle_time() -> None:
    assert Window().times(CYCLE) == [CYCLE]


@pytest.mark.parametrize(
    ("hours", "slots", "offsets"),
    [(6, 3, [-2, 0, 2]), (12, 2, [-3, 3]), (24, 4, [-9, -3, 3, 9]), (6, 2, [-1.5, 1.5])],
)
def test_slots_are_the_centers_of_equal_parts(
    hours: float, slots: int, offsets: list[float]
) -> None:
    found = [offset / pd.Timedelta(hours=1) for offset in window(hours, slots).offsets]
    assert found == offsets
    assert window(hours, slots).times(CYCLE) == [CYCLE + pd.Timedelta(hours=h) for h in offsets]


def test_windows_of_consecutive_cycles_meet_and_hold_their_slots() -> None:
    own = window(6, 3)
    first, last = own.limits(CYCLE)
    assert last == own.limits(CYCLE + own.length)[0]
    assert all(first < time <= last for time in own.times(CYCLE))


def test_a_time_has_the_slot_whose_center_is_nearest() -> None:
    own, seconds = window(6, 3), np.linspace(1.0, 6 * 3600 - 1.0, 500)
    centers = [(offset + own.length / 2).total_seconds() for offset in own.offsets]
    nearest = np.abs(seconds[:, None] - centers).argmin(1)
    np.testing.assert_array_equal(own.slot(seconds), nearest)
    assert own.slot(np.array([0.0, 6 * 3600.0])).tolist() == [0, 2]
