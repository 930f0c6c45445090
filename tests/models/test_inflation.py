import pytest
import torch

from models.inflation import Inflation, centered

SHAPE = (10, 2, 3, 4)


def perturbations(seed: int, size: float = 1.0) -> torch.Tensor:
    draws = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return centered(size * draws)[1]


def test_by_default_nothing_is_inflated() -> None:
    posterior = perturbations(0)
    assert Inflation().relax(posterior, perturbations(1)) is posterior
    assert Inflation().prior_factor(torch.ones(3), torch.ones(2, 3), torch.ones(3)) == 1


def test_full_relaxation_to_perturbations_returns_the_prior() -> None:
    prior = perturbations(1)
    relaxed = Inflation(to_perturbations=1.0).relax(perturbations(0, 0.5), prior)
    assert torch.equal(relaxed, prior)


def test_half_relaxation_to_perturbations_is_half_way() -> None:
    posterior, prior = perturbations(0, 0.5), perturbations(1)
    relaxed = Inflation(to_perturbations=0.5).relax(posterior, prior)
    torch.testing.assert_close(relaxed, (posterior + prior) / 2)


@pytest.mark.parametrize("weight", [0.3, 1.0, 1.2])
def test_relaxation_to_spread_moves_the_spread_and_not_the_pattern(weight: float) -> None:
    posterior, prior = perturbations(0, 0.5), perturbations(1)
    relaxed = Inflation(to_spread=weight).relax(posterior, prior)
    expected = (1 - weight) * posterior.std(0) + weight * prior.std(0)
    torch.testing.assert_close(relaxed.std(0), expected)
    torch.testing.assert_close(relaxed / relaxed.std(0), posterior / posterior.std(0))


@pytest.mark.parametrize("to_perturbations", [0.0, 0.37])
def test_what_was_not_analyzed_stays_bit_for_bit(to_perturbations: float) -> None:
    prior = perturbations(2).float()
    inflation = Inflation(to_perturbations=to_perturbations, to_spread=0.7)
    assert torch.equal(inflation.relax(prior.clone(), prior), prior)


def test_members_without_spread_stay_without_it() -> None:
    flat = torch.zeros(SHAPE)
    assert torch.equal(Inflation(to_spread=0.9).relax(flat, flat), flat)


@pytest.mark.parametrize("truth", [0.8, 1.0, 1.7])
def test_the_adaptive_factor_finds_how_much_the_spread_is_too_small(truth: float) -> None:
    generator = torch.Generator().manual_seed(3)
    spread, error = 2.0 + torch.rand(40000, generator=generator), torch.tensor(0.5)
    innovation = (
        torch.randn(40000, generator=generator) * ((truth * spread) ** 2 + error**2).sqrt()
    )
    y = torch.randn(60, 40000, generator=generator) * spread
    factor = Inflation(1.1, (0.5, 3.0)).prior_factor(innovation, y, error.expand(40000))
    assert factor / 1.1 == pytest.approx(truth, rel=0.03)


def test_the_adaptive_factor_keeps_its_bounds() -> None:
    inflation, error = Inflation(adaptive=(0.9, 1.5)), torch.ones(4)
    y = torch.randn(5, 4, generator=torch.Generator().manual_seed(4))
    assert inflation.prior_factor(torch.zeros(4), y, error) == pytest.approx(0.9)
    assert inflation.prior_factor(torch.full((4,), 1e3), y, error) == pytest.approx(1.5)
    assert inflation.prior_factor(torch.full((4,), 9.0), 0 * y, error) == pytest.approx(1.5)
    none = torch.zeros(0)
    assert inflation.prior_factor(none, torch.zeros(5, 0), none) == 1


def test_centered_keeps_small_perturbations_of_large_values() -> None:
    generator = torch.Generator().manual_seed(5)
    perturbation = 30 * torch.randn(40, 100, generator=generator, dtype=torch.float64)
    x = (1e5 + perturbation).float()
    mean, found = centered(x)
    exact = x.double() - x.double().mean(0)
    assert (found.double() - exact).abs().max() < 5e-3  # one bit of 1e5 is 8e-3
    assert found.mean(0).abs().max() < 1e-5
    assert (mean.double() - x.double().mean(0)).abs().max() < 8e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factor": 0.0}, "factor 0"),
        ({"adaptive": (1.5, 1.0)}, r"\(1.5, 1.0\)"),
        ({"additive": -1.0}, "additive inflation -1"),
        ({"to_perturbations": 1.1}, "perturbations 1.1"),
        ({"to_spread": -0.1}, "spread -0.1"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inflation(**settings)  # type: ignore[arg-type]
