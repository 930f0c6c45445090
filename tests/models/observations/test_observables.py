import torch

from models.grid import LatLonGrid
from models.observations.observables import deviations, observables, sources, wind_pair
from models.state import Field, StateSpec, Variable, embedded_spec

GRID = LatLonGrid((40.0, 50.0), (0.0, 10.0))


def state(*variables: Variable) -> StateSpec:
    return StateSpec(variables, GRID, "pressure")


def wind(name: str, direction: str, levels: tuple[float, ...] | None = None) -> Variable:
    return Variable(name, f"{direction}ward_wind", "m s-1", levels)


U10, V10 = wind("u10", "east"), wind("v10", "north")
U, V = wind("u", "east", (500.0, 850.0)), wind("v", "north", (500.0, 850.0))


def test_speeds_come_after_the_fields_of_the_state() -> None:
    spec = embedded_spec()
    found = observables(spec)
    assert found[:33] == spec.fields
    levels = spec.variable("u").levels or ()
    assert found[33:] == tuple(Field("wind_speed", level) for level in levels)


def test_winds_on_levels_come_before_those_at_the_surface() -> None:
    assert wind_pair(state(U10, V10, U, V)) == (U, V)
    assert wind_pair(state(U10, V10)) == (U10, V10)
    assert observables(state(U10, V10))[-1] == Field("wind_speed", None)
    assert sources(state(U10, V10, U, V))["wind_speed"] == U


def test_a_speed_needs_both_components_on_the_same_levels() -> None:
    other = wind("v", "north", (850.0, 500.0))
    for spec in (state(U), state(U, other), state(U, V10)):
        assert wind_pair(spec) is None
        assert observables(spec) == spec.fields
        assert "wind_speed" not in sources(spec)


def test_a_variable_of_the_state_of_that_name_is_observed_itself() -> None:
    spec = state(U, V, Variable("wind_speed", "wind_speed", "m s-1", (500.0,)))
    assert observables(spec) == spec.fields
    assert sources(spec)["wind_speed"] == spec.variables[-1]


def test_the_deviation_of_a_speed_is_the_mean_of_its_components() -> None:
    std = torch.tensor([2.0, 3.0, 4.0, 7.0])
    assert deviations(state(U, V), std).tolist() == [2.0, 3.0, 4.0, 7.0, 3.0, 5.0]
    assert torch.equal(deviations(state(U), std[:2]), std[:2])
