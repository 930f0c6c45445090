import numpy as np
import pandas as pd
import pytest
import torch

from models.observations.batch import to_observations
from models.observations.networks import Network, draw_network, draw_sites, observed_fields
from models.observations.operator import InterpolationOperator
from models.observations.stations import land_fraction, station_positions
from models.observations.table import COLUMNS, screen, validate_table
from models.observations.window import Window
from models.state import StateSpec, Variable, embedded_spec

SPEC = embedded_spec()
MEAN = torch.tensor([0.0] * 16 + [250.0] * 8 + [5e-3] * 8 + [1e5])
STD = torch.tensor([8.0] * 16 + [3.0] * 8 + [1e-4] * 8 + [700.0])
CYCLE = pd.Timestamp("2004-01-01T06")
KINDS = ("columns", "points", "stations", "swath")
SLOTS = Window(pd.Timedelta(hours=6), 3)
SPEEDS = ("wind_speed", "t")


def truth() -> torch.Tensor:
    noise = torch.randn(SPEC.shape, generator=torch.Generator().manual_seed(3))
    return MEAN[:, None, None] + STD[:, None, None] * noise


def draw(kind: str, cycle: pd.Timestamp = CYCLE, seed: int = 0, **options: object) -> pd.DataFrame:
    return draw_network(Network(kind, **options), SPEC, STD, truth(), cycle, seed)  # type: ignore[arg-type]


def draw_in_slots(kind: str, x: torch.Tensor, **options: object) -> pd.DataFrame:
    return draw_network(Network(kind, **options), SPEC, STD, x, CYCLE, 0, SLOTS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_tables_are_valid_and_all_used(kind: str) -> None:
    table = draw(kind)
    assert list(table.columns) == list(COLUMNS)
    pd.testing.assert_frame_equal(validate_table(table), table)
    screened = screen(table, SPEC)
    assert screened["used"].all(), screened["reason"].unique()
    assert (table["time"] == CYCLE).all()
    assert table["lon"].between(0, 360, inclusive="left").all()


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_determined_by_seed_and_cycle(kind: str) -> None:
    first = draw(kind)
    pd.testing.assert_frame_equal(draw(kind), first)
    for other in (draw(kind, seed=1), draw(kind, CYCLE + pd.Timedelta("6h"))):
        assert not np.allclose(other["observation"].to_numpy(), first["observation"].to_numpy())


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.1, 1.0])
def test_fraction_is_the_part_of_columns_or_points(fraction: float) -> None:
    points = 32 * 64
    assert len(draw("columns", fraction=fraction)) == 33 * round(fraction * points)
    assert len(draw("points", fraction=fraction)) == round(fraction * 33 * points)


def test_columns_share_positions_over_all_fields() -> None:
    groups = draw("columns").groupby(["variable", "level"], dropna=False)
    positions = {tuple(map(tuple, group[["lat", "lon"]].to_numpy())) for _, group in groups}
    assert len(groups) == 33
    assert len(positions) == 1
    assert len(set(next(iter(positions)))) == 102


def test_points_are_different_pairs() -> None:
    table = draw("points", fraction=0.2)
    assert not table.duplicated(["lat", "lon", "variable", "level"]).any()
    assert len(table[["variable", "level"]].drop_duplicates()) == 33


def test_columns_and_points_move_from_cycle_to_cycle() -> None:
    for kind in ("columns", "points"):
        first, second = draw(kind), draw(kind, CYCLE + pd.Timedelta("6h"))
        assert not np.array_equal(first["lat"].to_numpy(), second["lat"].to_numpy())


def test_all_columns_are_drawn_equally_often() -> None:
    spec = StateSpec(SPEC.variables[-1:], SPEC.grid, "sigma")
    network, cycles = Network("columns", fraction=0.25), pd.date_range("2004-01-01", periods=200)
    counts = np.zeros((32, 64))
    for cycle in cycles:
        sites = draw_sites(network, spec, cycle, 0)
        rows = np.searchsorted(SPEC.grid.latitude, sites.latitude)
        counts[rows, np.searchsorted(SPEC.grid.longitude, sites.longitude)] += 1
    chi2 = ((counts - 50) ** 2 / (50 * 0.75)).sum()
    assert abs(chi2 - 2047) < 5 * np.sqrt(2 * 2047)


def test_stations_are_fixed_over_cycles_and_change_with_the_seed() -> None:
    columns = ["lat", "lon", "variable", "level", "station"]
    first, second = draw("stations"), draw("stations", CYCLE + pd.Timedelta("6h"))
    pd.testing.assert_frame_equal(first[columns], second[columns])
    assert not first[columns].equals(draw("stations", seed=1)[columns])


def test_stations_are_soundings_and_twice_as_many_surface_stations() -> None:
    table = draw("stations", stations=40)
    soundings = table[table["station"].str.startswith("U")]
    surface = table[table["station"].str.startswith("S")]
    assert soundings["station"].nunique() == 40
    assert surface["station"].nunique() == 80
    assert soundings.groupby("station").size().unique().tolist() == [13]
    assert surface.groupby("station").size().unique().tolist() == [4]
    assert set(soundings["variable"]) == set(surface["variable"]) == {"u", "v", "t", "sp"}
    assert set(surface["level"].dropna()) == {0.95}
    for _, group in table.groupby("station"):
        assert len(group[["lat", "lon"]].drop_duplicates()) == 1


def test_stations_are_dense_over_land_and_in_the_north() -> None:
    latitude, longitude = station_positions(SPEC.grid, 20_000, 0)
    land, north = land_fraction(latitude, longitude), latitude > 0
    assert 0.45 < land.mean() < 0.75
    area = np.random.default_rng(0).uniform(-1, 1, 20_000)
    everywhere = land_fraction(
        np.degrees(np.arcsin(area)), np.random.default_rng(1).uniform(0, 360, 20_000)
    )
    assert everywhere.mean() == pytest.approx(0.29, abs=0.04)
    sea = land == 0
    assert (sea & north).sum() / (sea & ~north).sum() > 1
    tropics = np.abs(latitude) < 10
    assert (north & tropics).sum() > 1.4 * (~north & tropics).sum()


def test_land_map_knows_the_continents() -> None:
    places = {
        (52.0, 60.0): 1,
        (0.0, 22.0): 1,
        (-25.0, 135.0): 1,
        (40.0, 260.0): 1,
        (-80.0, 90.0): 1,
    }
    places |= {(0.0, 200.0): 0, (30.0, 320.0): 0, (-40.0, 90.0): 0}
    latitude, longitude = np.array(list(places)).T
    assert np.round(land_fraction(latitude, longitude)).tolist() == list(places.values())


@pytest.mark.parametrize("kind", KINDS)
def test_errors_have_the_standard_deviation_that_the_table_says(kind: str) -> None:
    x, errors = truth(), []
    for cycle in pd.date_range("2004-01-01", periods=20, freq="6h"):
        observations = to_observations(draw(kind, cycle, noise=0.3), SPEC)
        errors.append((observations.y - observations.operator(x[None])[0]) / observations.error)
    error = torch.cat(errors).double()
    assert len(error) > 30_000
    assert error.mean().abs() < 5 / len(error) ** 0.5
    assert (error.std() - 1).abs() < 5 / (2 * len(error)) ** 0.5
    assert ((error**4).mean() - 3).abs() < 5 * (96 / len(error)) ** 0.5


def test_error_is_noise_times_climatological_deviation() -> None:
    table = draw("columns", noise=0.3)
    for (variable, level), group in table.groupby(["variable", "level"], dropna=False):
        field = SPEC.index(variable, None if np.isnan(level) else level)
        np.testing.assert_allclose(group["error"], 0.3 * STD[field].item(), rtol=1e-6)


def test_errors_of_different_cycles_are_independent() -> None:
    x, errors = truth(), []
    for cycle in pd.date_range("2004-01-01", periods=2, freq="6h"):
        observations = to_observations(draw("stations", cycle), SPEC)
        errors.append((observations.y - observations.operator(x[None])[0]) / observations.error)
    correlation = torch.corrcoef(torch.stack(errors))[0, 1]
    assert correlation.abs() < 5 / len(errors[0]) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_networks_work_on_a_regional_pressure_grid(kind: str, europe: StateSpec) -> None:
    std = torch.tensor([800.0, 1500.0, 3.0, 3.0, 3.0])
    mean = torch.tensor([101325.0, 55000.0, 255.0, 280.0, 228.0])
    x = mean[:, None, None].expand(europe.shape)
    network = Network(kind, fraction=0.2, stations=20, width=10_000.0)
    table = draw_network(network, europe, std, x, CYCLE, 0)
    assert len(table) > 10
    assert screen(validate_table(table), europe)["used"].all()
    at_level = table["level"].notna()
    np.testing.assert_allclose(table["pres"][at_level], 100 * table["level"][at_level])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "radar"}, "network 'radar': allowed are columns, points, stations, swath"),
        ({"fraction": 0.0}, "fraction 0.0: allowed is more than 0 and at most 1"),
        ({"fraction": 1.5}, "fraction 1.5: allowed is more than 0 and at most 1"),
        ({"stations": 0}, "stations 0: allowed is at least 1"),
        ({"noise": -0.1}, "noise -0.1: allowed is 0 or a positive number"),
        ({"width": 0.0}, "width 0.0 km: allowed is more than 0 and at most 10000"),
    ],
)
def test_senseless_networks_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Network(**options)


@pytest.mark.parametrize("kind", KINDS)
def test_slots_have_the_truth_and_the_time_of_their_own(kind: str) -> None:
    x = torch.stack([truth() + k * STD[:, None, None] for k in (-1, 0, 1)])
    table = draw_in_slots(kind, x, noise=0.0, stations=60)
    assert set(table["time"]) == set(SLOTS.times(CYCLE))
    assert screen(validate_table(table), SPEC, SLOTS.limits(CYCLE))["used"].all()
    for time, state in zip(SLOTS.times(CYCLE), x, strict=True):
        rows = table[table["time"] == time]
        equivalents = InterpolationOperator.from_table(rows, SPEC)(state[None].double())[0]
        np.testing.assert_allclose(rows["observation"], equivalents, rtol=1e-12)


@pytest.mark.parametrize("kind", ["columns", "points", "stations"])
def test_slots_change_nothing_but_the_time(kind: str) -> None:
    x = truth()
    in_slots, at_once = draw_in_slots(kind, torch.stack([x] * 3)), draw(kind)
    pd.testing.assert_frame_equal(in_slots.drop(columns="time"), at_once.drop(columns="time"))
    assert in_slots["time"].value_counts(normalize=True).between(0.2, 0.47).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_observed_at_one_place_has_one_time(kind: str) -> None:
    table = draw_in_slots(kind, torch.stack([truth()] * 3), fraction=0.2)
    assert table.groupby(["lat", "lon"])["time"].nunique().max() == 1


@pytest.mark.parametrize("kind", ["columns", "points", "swath"])
def test_only_the_chosen_variables_are_observed(kind: str) -> None:
    table = draw(kind, variables=SPEEDS, fraction=0.2)
    assert set(table["variable"]) == set(SPEEDS)
    assert table.groupby("variable")["level"].nunique().tolist() == [8, 8]
    assert screen(validate_table(table), SPEC)["used"].all()
    again = draw(kind, variables=SPEEDS[::-1], fraction=0.2)
    pd.testing.assert_frame_equal(again, table)


def test_all_variables_by_name_are_the_default() -> None:
    names = tuple(variable.name for variable in SPEC.variables)
    for kind in ("columns", "points"):
        pd.testing.assert_frame_equal(draw(kind, variables=names), draw(kind))


def test_a_part_of_the_values_of_the_chosen_variables_is_observed() -> None:
    assert len(draw("points", variables=SPEEDS)) == round(0.05 * 16 * 2048)
    assert len(draw("columns", variables=SPEEDS)) == 16 * 102


def test_speeds_have_the_length_of_the_true_wind_and_the_error_of_its_components() -> None:
    std = torch.cat([torch.full((8,), 6.0), torch.full((8,), 10.0), STD[16:]])
    network = Network("columns", variables=("wind_speed",), noise=0.3)
    table = draw_network(network, SPEC, std, truth(), CYCLE, 0)
    np.testing.assert_allclose(table["error"], 0.3 * 8.0, rtol=1e-6)
    parts = (table.assign(variable=name) for name in ("u", "v"))
    u, v = (InterpolationOperator.from_table(t, SPEC)(truth()[None])[0] for t in parts)
    error = (table["observation"].to_numpy() - torch.hypot(u, v).numpy()) / (0.3 * 8.0)
    assert abs(error.mean()) < 5 / len(error) ** 0.5
    assert abs(error.std() - 1) < 5 / (2 * len(error)) ** 0.5


def test_a_swath_observes_temperature_and_humidity_profiles() -> None:
    table = draw("swath")
    assert table.groupby("variable")["level"].nunique().to_dict() == {"q": 8, "t": 8}
    surface = Variable("t2m", "air_temperature", "K")
    spec = StateSpec((surface, *SPEC.variables[2:3]), SPEC.grid, "sigma")
    fields = observed_fields(Network("swath"), spec)
    assert fields.tolist() == list(range(1, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_perfect_observations_are_the_truth_and_have_a_small_error(kind: str) -> None:
    table = draw(kind, noise=0.0)
    equivalents = InterpolationOperator.from_table(table, SPEC)(truth()[None].double())[0]
    np.testing.assert_array_equal(table["observation"], equivalents)
    noisy = draw(kind, noise=0.1)
    np.testing.assert_allclose(table["error"], 0.1 * noisy["error"])
    assert screen(validate_table(table), SPEC)["used"].all()


def test_what_the_state_does_not_have_cannot_be_observed(europe: StateSpec) -> None:
    message = "variable 'wind': allowed are u, v, t, q, sp, wind_speed"
    with pytest.raises(ValueError, match=message):
        observed_fields(Network(variables=("t", "wind")), SPEC)
    with pytest.raises(ValueError, match="variable 'wind_speed': allowed are msl, z, t"):
        observed_fields(Network(variables=("wind_speed",)), europe)
    none = StateSpec(europe.variables[:2], europe.grid, "pressure")
    with pytest.raises(ValueError, match="no profiles of temperature or humidity"):
        observed_fields(Network("swath"), none)
