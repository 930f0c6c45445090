import numpy as np
import pandas as pd

from models.grid import LatLonGrid
from models.observations.networks import Network, draw_sites
from models.observations.swath import EPOCH, ground_track, overpasses, unit_vectors
from models.observations.window import Window
from models.randomness import numpy_generator
from models.state import embedded_spec

SPEC = embedded_spec()
GRID = SPEC.grid
CYCLE = pd.Timestamp("2004-01-01T06")
SIX = pd.Timedelta(hours=6)


def places(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = ground_track(seconds).T
    return np.degrees(np.arcsin(z)), np.degrees(np.arctan2(y, x))


def test_the_track_is_on_the_sphere_and_turns_back_at_81_degrees() -> None:
    seconds = np.arange(0.0, 6060.0)
    np.testing.assert_allclose(np.linalg.norm(ground_track(seconds), axis=1), 1.0)
    latitude = places(seconds)[0]
    np.testing.assert_allclose([latitude.max(), latitude.min()], [81.3, -81.3], atol=1e-3)


def test_a_second_orbit_is_as_far_west_as_the_earth_has_turned() -> None:
    latitude, longitude = places(np.array([0.0, 101 * 60.0]))
    np.testing.assert_allclose(latitude, 0.0, atol=1e-6)
    np.testing.assert_allclose(longitude[1], -360 * 101 * 60 / 86_164.1, atol=1e-6)


def test_the_satellite_goes_north_and_west_at_the_ascending_node() -> None:
    latitude, longitude = places(np.array([0.0, 60.0]))
    assert latitude[1] > 3 and longitude[1] < -0.5


def test_columns_in_the_swath_are_within_half_its_width_of_the_track() -> None:
    limits = Window().limits(CYCLE)
    inside, seconds = overpasses(GRID, limits, 2000.0, seed=4)
    points = unit_vectors(GRID)
    every = np.arange(10.0, 6 * 3600 - 9.0, 2.0)
    node, phase = numpy_generator(4, None, "orbit").uniform(0, 2 * np.pi, 2)
    since = (limits[0] - EPOCH).total_seconds()
    distance = 6371 * np.arccos((points @ ground_track(since + every, node, phase).T).clip(-1, 1))
    nearest = distance.min(1)
    seen = np.zeros(len(points), bool)
    seen[inside] = True
    assert (nearest[seen] < 1000).all() and (nearest[~seen] > 990).all()
    at = ground_track(since + seconds, node, phase)
    reached = 6371 * np.arccos((points[inside] * at).sum(1).clip(-1, 1))
    assert (reached <= np.hypot(nearest[inside], 67)).all()  # 10 s, half the time between samples


def test_wider_swaths_see_more_and_all_of_the_globe_in_a_day() -> None:
    counts = [len(overpasses(GRID, Window().limits(CYCLE), w, 0)[0]) for w in (500, 2000, 4000)]
    assert counts == sorted(counts) and counts[0] > 100
    assert 0.3 * 2048 < counts[1] < 0.7 * 2048
    day = Window(4 * SIX).limits(CYCLE)
    assert len(overpasses(GRID, day, 2500.0, 0)[0]) > 0.98 * 2048


def test_consecutive_cycles_and_other_seeds_see_other_columns() -> None:
    first = set(overpasses(GRID, Window().limits(CYCLE), 2000.0, 0)[0].tolist())
    for cycle, seed in ((CYCLE + SIX, 0), (CYCLE, 1)):
        other = set(overpasses(GRID, Window().limits(cycle), 2000.0, seed)[0].tolist())
        assert len(first - other) > 0.2 * len(first)
    again = overpasses(GRID, Window().limits(CYCLE), 2000.0, 0)[0]
    assert first == set(again.tolist())


def test_columns_outside_the_swath_are_never_drawn() -> None:
    network = Network("swath", fraction=0.05)
    inside = overpasses(GRID, Window().limits(CYCLE), 2000.0, 0)[0]
    sites = draw_sites(network, SPEC, CYCLE, 0)
    row = np.searchsorted(GRID.latitude, sites.latitude)
    column = np.searchsorted(GRID.longitude, sites.longitude)
    assert set((row * 64 + column).tolist()) <= set(inside.tolist())
    assert len(sites.field) == 16 * round(0.05 * 2048)


def test_a_large_fraction_is_all_that_the_satellite_sees() -> None:
    inside = overpasses(GRID, Window().limits(CYCLE), 2000.0, 0)[0]
    sites = draw_sites(Network("swath", fraction=1.0), SPEC, CYCLE, 0)
    assert len(sites.field) == 16 * len(inside)


def test_slots_are_those_of_the_overpasses() -> None:
    window = Window(SIX, 3)
    seconds = overpasses(GRID, window.limits(CYCLE), 2000.0, 0)[1]
    sites = draw_sites(Network("swath", fraction=1.0), SPEC, CYCLE, 0, window)
    expected = np.floor(seconds / 7200).astype(int)
    assert isinstance(sites.slot, np.ndarray)
    np.testing.assert_array_equal(sites.slot, np.tile(expected, 16))
    assert set(sites.slot.tolist()) == {0, 1, 2}


def test_a_region_without_an_overpass_has_no_observations() -> None:
    region = LatLonGrid((0.0, 1.0), (10.0, 11.0))
    limits = Window().limits(CYCLE)
    counts = [len(overpasses(region, limits, 100.0, seed)[0]) for seed in range(20)]
    assert min(counts) == 0
