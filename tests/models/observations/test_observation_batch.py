from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from models.observations.batch import to_observations
from models.state import StateSpec

Tables = Callable[..., pd.DataFrame]


def test_all_rows_of_an_unscreened_table_are_taken(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(5)
    observations = to_observations(table, europe)
    np.testing.assert_allclose(observations.y, table["observation"], rtol=1e-7)
    np.testing.assert_allclose(observations.error, table["error"], rtol=1e-7)
    assert observations.y.dtype == observations.error.dtype == torch.float32
    assert observations.operator(torch.zeros(2, *europe.shape)).shape == (2, 5)


def test_only_used_rows_are_taken_in_their_order(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(5).assign(used=[True, False, True, True, False])
    table.loc[1, "lat"] = 99.0
    observations = to_observations(table, europe)
    expected = table.loc[[0, 2, 3], "observation"].to_numpy(np.float32)
    assert observations.y.tolist() == expected.tolist()
    x = torch.randn(1, *europe.shape)
    alone = to_observations(table.iloc[[2]], europe).operator(x)
    torch.testing.assert_close(observations.operator(x)[:, 1:2], alone)


def test_table_without_used_rows_is_empty(make_table: Tables, europe: StateSpec) -> None:
    observations = to_observations(make_table(2).assign(used=False), europe)
    assert len(observations.y) == 0


def test_moving_to_a_device_keeps_the_values(make_table: Tables, europe: StateSpec) -> None:
    observations = to_observations(make_table(3), europe)
    moved = observations.to("cpu")
    x = torch.randn(1, *europe.shape)
    assert torch.equal(moved.operator(x), observations.operator(x))
    assert torch.equal(moved.y, observations.y)
