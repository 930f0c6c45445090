import pytest
import torch

from models.grid import LatLonGrid
from models.plausibility import PLAUSIBLE, check_plausible, plausible_range
from models.state import StateSpec, Variable

SPEC = StateSpec(
    (
        Variable("t", "air_temperature", "K", (500.0, 850.0)),
        Variable("c", "concentration_of_something", "1"),
    ),
    LatLonGrid((40.0, 50.0), (0.0, 10.0, 20.0)),
    "pressure",
)


def state() -> torch.Tensor:
    return torch.tensor([255.0, 280.0, 1e9])[:, None, None].expand(4, 3, 2, 3).clone()


def test_ranges_are_ordered_and_unknown_quantities_unlimited() -> None:
    assert all(low < high for low, high in PLAUSIBLE.values())
    assert plausible_range("concentration_of_something") == (-float("inf"), float("inf"))


def test_plausible_states_pass() -> None:
    check_plausible(state(), SPEC)
    check_plausible(state()[0], SPEC)


def test_degrees_celsius_are_refused_with_their_place() -> None:
    x = state()
    x[2, 1, 1, 2] -= 273.15
    message = (
        r"variable 't@850': 1 of 48 values are not plausible, such as 6.85\S* at "
        r"latitude 50, longitude 20; allowed: 140 to 350 K$"
    )
    with pytest.raises(ValueError, match=message):
        check_plausible(x, SPEC)


def test_values_that_are_not_finite_are_not_plausible() -> None:
    x = state()
    x[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="such as nan"):
        check_plausible(x, SPEC)
