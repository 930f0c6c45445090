import numpy as np
import pandas as pd
import pytest
import torch
from scores.probability import crps_for_ensemble
from xarray import DataArray

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.state import StateSpec, Variable
from models.verification.compact import compact_scores, fair_crps
from models.verification.scoring import score_state

SPEC = StateSpec(
    (
        Variable("t", "air_temperature", "K", (0.2, 0.8)),
        Variable("sp", "surface_air_pressure", "Pa"),
    ),
    LatLonGrid.gaussian(8, 16),
    "sigma",
)
TIME = pd.Timestamp("2005-01-01")


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, Statistics]:
    g = torch.Generator().manual_seed(0)
    mask = torch.tensor([False, True, True])
    statistics = Statistics(
        torch.zeros(1, *SPEC.shape), torch.tensor([2.0, 3.0, 400.0]), torch.tensor([0.1, 0.2, 0.3])
    )
    statistics.error_mask.copy_(mask)
    scale = statistics.std[:, None, None]
    truth = scale * torch.randn(*SPEC.shape, generator=g)
    return truth + scale * torch.randn(6, *SPEC.shape, generator=g), truth, statistics


def test_the_errors_are_those_of_the_long_table(case) -> None:  # noqa: ANN001
    x, truth, statistics = case
    found = compact_scores(x, truth, SPEC, statistics)
    table = score_state(x, truth, SPEC, statistics, TIME, TIME, pd.Timedelta(0), "analysis")
    squares = table[table["metric"] == "mse_climatology"].groupby("variable")["value"].mean()
    for name in ("all", "t", "sp"):
        assert found[name, "mse_climatology"] == pytest.approx(squares[name], rel=1e-5)
    relative = table[table["metric"] == "mse_background_24h"]["value"].item()
    assert found["all", "mse"] == pytest.approx(relative, rel=1e-5)


def test_the_fair_crps_is_that_of_the_library() -> None:
    d = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = DataArray(d.numpy(), dims=("member", "point"))
    fair = crps_for_ensemble(x, DataArray(np.zeros(5), dims="point"), "member", method="fair",
                             preserve_dims="all")  # fmt: skip
    np.testing.assert_allclose(fair_crps(d).numpy(), fair.to_numpy())


def test_a_perfect_ensemble_has_spread_over_error_one_and_flat_ranks(case) -> None:  # noqa: ANN001
    _, _, statistics = case
    g = torch.Generator().manual_seed(2)
    scores = []
    for _ in range(60):
        both = statistics.std[:, None, None] * torch.randn(6, *SPEC.shape, generator=g)
        scores.append(compact_scores(both[:5], both[5], SPEC, statistics))
    mean = {key: np.mean([s[key] for s in scores]) for key in scores[0]}
    ratio = 6 / 5 * mean["all", "variance"] / mean["all", "mse"]
    assert ratio == pytest.approx(1.0, abs=0.04)
    shares = [mean["all", f"rank_{k:02d}"] for k in range(6)]
    assert sum(shares) == pytest.approx(1.0)
    assert max(abs(share - 1 / 6) for share in shares) < 0.02


def test_one_state_has_no_spread(case) -> None:  # noqa: ANN001
    x, truth, statistics = case
    assert ("all", "crps") not in compact_scores(x[:1], truth, SPEC, statistics)
