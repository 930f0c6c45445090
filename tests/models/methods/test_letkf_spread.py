"""The LETKF keeps its spread: inflation, relaxation and static members, against their equations."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from models.inflation import Inflation, centered
from models.methods.letkf import LETKF, LETKFSettings
from models.static_members import StaticMembers
from tests.letkf_problem import (
    GLOBE,
    MEMBERS,
    NOWHERE,
    TIME,
    draws,
    ensemble,
    filtered,
    generators,
    matrix,
    observe,
)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_relaxation_to_perturbations_returns_the_priors(weight: float) -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    settings = LETKFSettings(inflation=Inflation(to_perturbations=weight))
    (mean, x), (_, x_prior) = centered(filtered(settings, x_b, observed)), centered(x_b)
    torch.testing.assert_close(mean, filtered(LETKFSettings(), x_b, observed).mean(0))
    assert torch.allclose(x, x_prior) == (weight == 1)


def test_full_relaxation_to_spread_restores_the_prior_spread() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    plain = filtered(LETKFSettings(), x_b, observed)
    x_a = filtered(LETKFSettings(inflation=Inflation(to_spread=1.0)), x_b, observed)
    assert (plain.std(0) < 0.9 * x_b.std(0)).any()
    torch.testing.assert_close(x_a.std(0), x_b.std(0))
    torch.testing.assert_close(x_a.mean(0), plain.mean(0))


def test_prior_inflation_is_the_filter_of_the_inflated_members() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    x_a = filtered(LETKFSettings(inflation=Inflation(1.3)), x_b, observed)
    mean, x = centered(x_b)
    torch.testing.assert_close(x_a, filtered(LETKFSettings(), mean + 1.3 * x, observed))


def test_adaptive_inflation_is_that_of_its_factor() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    method = LETKF(GLOBE, LETKFSettings(inflation=Inflation(adaptive=(0.2, 9.0))))
    analysis = method(x_b, TIME, observed, generators())
    factor = analysis.trace[0]["inflation"]
    assert 0.2 < factor < 9.0 and factor != 1
    fixed = filtered(LETKFSettings(inflation=Inflation(factor)), x_b, observed)
    torch.testing.assert_close(analysis.x_a, fixed)


def test_additive_inflation_keeps_the_mean_and_adds_to_the_spread() -> None:
    x_b, none = ensemble(members=50), observe(GLOBE, 0)
    settings = LETKFSettings(inflation=Inflation(additive=3.0))
    x_a = filtered(settings, x_b, none, model_error=draws)
    torch.testing.assert_close(x_a.mean(0), x_b.mean(0))
    expected = (x_b.var(0) + 9).mean((1, 2))
    torch.testing.assert_close(x_a.var(0).mean((1, 2)), expected, rtol=0.15, atol=0)


def test_additive_inflation_comes_before_the_update() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 60)
    settings = LETKFSettings(inflation=Inflation(additive=0.5))
    x_a = filtered(settings, x_b, observed, model_error=draws)
    noisy = x_b + 0.5 * centered(draws(generators()).double())[1]
    torch.testing.assert_close(x_a, filtered(LETKFSettings(), noisy, observed))


def test_static_members_make_it_the_kalman_filter_of_the_hybrid_covariance() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 40)
    settings = LETKFSettings(NOWHERE, static=StaticMembers(8, 0.7))
    x_a = filtered(settings, x_b, observed, model_error=draws).flatten(1)
    g = generators()
    s = 0.7 * centered(torch.cat([draws(g), draws(g)])[:8].double().flatten(1))[1].T
    mean, x = (value.flatten(-3) for value in centered(x_b))
    h, p = matrix(observed, GLOBE), x.T @ x / (MEMBERS - 1) + s @ s.T / 7
    r = observed.error.square().diag()
    gain = p @ h.T @ torch.linalg.inv(h @ p @ h.T + r)
    torch.testing.assert_close(x_a.mean(0), mean + gain @ (observed.y - h @ mean))
    inside = torch.eye(len(mean)).double() + p @ h.T @ torch.linalg.inv(r) @ h
    root = torch.from_numpy(np.real(scipy.linalg.sqrtm(inside.numpy())))
    torch.testing.assert_close(centered(x_a)[1], torch.linalg.solve(root, x.T).T)


def test_static_members_meet_observations_of_other_times() -> None:
    x_b, observed = ensemble(), observe(GLOBE, 40)
    settings = LETKFSettings(static=StaticMembers(8, 0.7))
    later = torch.linspace(-1, 1, 40, dtype=torch.float64)
    shifted = replace(observed, y=observed.y + later, offset=later.expand(MEMBERS, -1))
    analyses = [filtered(settings, x_b, o, model_error=draws) for o in (observed, shifted)]
    torch.testing.assert_close(*analyses)


def test_without_observations_the_background_stays_but_for_inflation() -> None:
    x_b, none = ensemble().float(), observe(GLOBE, 0)
    settings = LETKFSettings(inflation=Inflation(1.0, (0.5, 2.0), 0.0, 0.5, 0.5))
    assert torch.equal(filtered(settings, x_b, none), x_b)
    inflated = filtered(LETKFSettings(inflation=Inflation(1.2)), x_b, none)
    torch.testing.assert_close(inflated.std(0), 1.2 * x_b.std(0))


def test_one_member_and_missing_model_error_are_refused() -> None:
    with pytest.raises(ValueError, match="1 member, at least 2"):
        filtered(LETKFSettings(), ensemble(members=1), observe(GLOBE, 5))
    additive = LETKFSettings(inflation=Inflation(additive=1.0))
    static = LETKFSettings(static=StaticMembers(8))
    for settings in (additive, static):
        with pytest.raises(ValueError, match="need draws of the model error"):
            LETKF(GLOBE, settings)
    with pytest.raises(ValueError, match="static members 1: allowed is 0, or 2 and more"):
        StaticMembers(1)
    with pytest.raises(ValueError, match=r"model error has the shape \(5, 7, 6, 12\)"):
        filtered(additive, ensemble(), observe(GLOBE, 5), model_error=lambda g: draws(g[:5]))
    with pytest.raises(ValueError, match="coarsen 0"):
        LETKFSettings(coarsen=0)
