"""The operator of a table of real variables: tangent linear, adjoint, members, order of the rows."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.observations.equivalents import EQUIVALENTS
from models.observations.mixed import MixedOperator, build_operator
from models.observations.operator import InterpolationOperator
from models.observations.positions import observation_positions
from tests.column_states import SPEC, Tables, heights, observed, random_table, weather


def test_tangent_linear_is_the_limit_of_differences(make_table: Tables) -> None:
    operator, x = build_operator(random_table(make_table), SPEC), weather(1)
    dx = weather(2) - x
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    for size, bound in ((1e-3, 2e-3), (1e-4, 2e-4)):
        difference = (operator(x + size * dx) - operator(x - size * dx)) / (2 * size)
        error = (difference - tangent).abs().max() / tangent.abs().max()
        assert error < bound


def test_adjoint_passes_the_dot_test(make_table: Tables) -> None:
    operator, x = build_operator(random_table(make_table), SPEC), weather(1)
    dx, y = torch.randn(1, *SPEC.shape).double(), torch.randn(1, len(operator.index)).double()
    tangent = torch.func.jvp(operator, (x,), (dx,))[1]
    adjoint = torch.func.vjp(operator, x)[1](y)[0]
    torch.testing.assert_close((tangent * y).sum(), (dx * adjoint).sum(), rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("variable", EQUIVALENTS)
def test_gradient_of_each_variable_agrees_with_differences(
    make_table: Tables, variable: str
) -> None:
    table = random_table(make_table, 3, names=(variable,))
    operator, x = build_operator(table, SPEC), weather(4)

    def along(step: torch.Tensor) -> torch.Tensor:
        return operator(x + step * direction).sum()

    direction = weather(5) - x
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(along, (zero,), eps=1e-5, rtol=1e-3, atol=1e-4)


def test_vmap_and_members_are_the_same(make_table: Tables) -> None:
    operator = build_operator(random_table(make_table, 5), SPEC)
    x = torch.cat([weather(i) for i in range(3)])
    one_by_one = torch.cat([operator(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(operator(x), one_by_one)
    mapped = torch.func.vmap(operator)(x[:, None])[:, 0]
    torch.testing.assert_close(mapped, one_by_one)


def test_rows_keep_their_order_among_those_that_are_interpolated_as_they_are(
    make_table: Tables,
) -> None:
    real = random_table(make_table, 4)
    twin = make_table(4, variable="t", level=0.51)
    mixed = pd.concat([real, twin], ignore_index=True).sample(frac=1.0, random_state=0)
    mixed = mixed.reset_index(drop=True)
    x = weather()
    found = build_operator(mixed, SPEC)(x)[0]
    for i in range(len(mixed)):
        alone = build_operator(mixed.iloc[[i]], SPEC)(x)[0, 0]
        torch.testing.assert_close(found[i], alone)
    assert isinstance(build_operator(twin, SPEC), InterpolationOperator)
    moved = build_operator(mixed, SPEC).to("cpu")
    assert isinstance(moved, MixedOperator) and torch.equal(moved(x)[0], found)


def test_linear_stencil_is_the_derivative_of_what_is_nearly_linear(make_table: Tables) -> None:
    # standard deviations of 1 K in temperature alone: those of temperatures come out as about 1 K
    deviation = torch.zeros(1, *SPEC.shape)
    deviation[:, SPEC.slices["t"]] = 1.0
    for name, pressure, elev in (("t", 5e4, np.nan), ("t2m", np.nan, 100.0)):
        table = observed(make_table, name, pressure, elev)
        spread = build_operator(table, SPEC).absolute()(deviation)[0]
        assert spread.numpy() == pytest.approx(np.ones(4), abs=0.02)
    deviation = torch.zeros(1, *SPEC.shape)
    deviation[:, SPEC.slices["sp"]] = 100.0
    table = observed(make_table, "sp", elev=heights().numpy())
    spread = build_operator(table, SPEC).absolute()(deviation)[0]
    assert spread.numpy() == pytest.approx(np.full(4, 100.0), rel=1e-3)


def test_the_operator_can_be_built_where_gradients_are_off(make_table: Tables) -> None:
    table = random_table(make_table, 3)
    with torch.no_grad():
        found = build_operator(table, SPEC)
    assert torch.equal(found.weight, build_operator(table, SPEC).weight)
    assert not found.weight.requires_grad


def test_positions_are_where_observations_are(make_table: Tables) -> None:
    table = random_table(make_table, 20, names=("t", "u", "q"))
    found = observation_positions(build_operator(table, SPEC), SPEC)
    assert found.latitude.numpy() == pytest.approx(table["lat"].to_numpy(), abs=3.0)
    expected = np.log(table["pres"].to_numpy() / 101_325.0)
    assert found.level.numpy() == pytest.approx(expected, abs=0.75)
    assert np.corrcoef(found.level.numpy(), expected)[0, 1] > 0.95
