"""LO-SDA on a small linear-Gaussian world, where the analysis is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.grid import LatLonGrid
from models.latent_frame import LatentFrame, expected_level
from models.methods.base import AssimilationMethod
from models.methods.free import Free
from models.methods.losda import LOSDA, PRESETS
from models.normalization import Statistics
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator

TIME = pd.Timestamp("2005-01-01")
GRID = LatLonGrid.gaussian(8, 16)
FIELDS, SHAPE = 2, (2, 8, 16)


def statistics() -> Statistics:
    coefficients = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Statistics(coefficients, torch.tensor([2.0, 3.0]), torch.tensor([0.2, 0.3]))


@pytest.fixture
def method() -> LOSDA:
    """A lossless linear autoencoder and a Gaussian prior with the identity as covariance."""
    torch.manual_seed(0)
    shape = AutoencoderShape(FIELDS, GRID.shape, True, True, 1, latent=8, hidden=8, blocks=1)
    autoencoder = Autoencoder(shape, torch.tensor([5.0, 1 / 0.3]), torch.zeros(1, *GRID.shape))
    autoencoder.initialize_linear(torch.randn(100, *SHAPE))
    prior = LatentDenoiser(DenoiserShape(8, (4, 8), True, True, 1, 8, 8), torch.zeros(1, 4, 8))
    modules = [module.eval().requires_grad_(False) for module in (autoencoder, prior)]
    return LOSDA(statistics(), *modules, GRID.cell_area_weights(), PRESETS["fast"])


def observations(x: torch.Tensor, count: int, error: float, seed: int = 1) -> Observations:
    random = np.random.default_rng(seed)
    index = torch.from_numpy(random.choice(x[0].numel(), count, replace=False))[:, None]
    operator = InterpolationOperator(index, torch.ones(count, 1), SHAPE)
    noise = torch.from_numpy(random.standard_normal(count)).float()
    std = torch.full((count,), error)
    return Observations(operator(x)[0] + std * noise, std, operator)


def states(method: LOSDA, seed: int, size: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Background and truth, whose difference has the size of the 24 h error."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(1, *SHAPE, generator=g)
    error = size * method.statistics.error_std[:, None, None] * torch.randn(SHAPE, generator=g)
    both = [method.statistics.denormalize(value, [TIME]) for value in (a, a + error)]
    return both[0], both[1]


def test_an_offset_of_the_equivalents_is_the_same_as_other_observations(method: LOSDA) -> None:
    x_b, x = states(method, 11)
    observed, x_b = observations(x, 60, 0.2), x_b.expand(3, -1, -1, -1)
    shift = torch.randn(60, generator=torch.Generator().manual_seed(11))
    moved = replace(observed, y=observed.y + shift, offset=shift.expand(3, -1))
    first, second = (
        method(x_b, TIME, o, [torch.Generator().manual_seed(k) for k in range(3)])
        for o in (observed, moved)
    )
    torch.testing.assert_close(second.x_a, first.x_a, atol=1e-4, rtol=1e-4)
    assert second.expected_error == pytest.approx(first.expected_error, rel=1e-4)
    ignored = method(x_b, TIME, replace(moved, offset=None), [torch.Generator()] * 3).x_a
    assert (ignored - first.x_a).abs().max() > 0.1


def test_each_member_has_an_offset_of_its_own(method: LOSDA) -> None:
    x_b, x = states(method, 12)
    x_b, observed = x_b.expand(2, -1, -1, -1), observations(x, 60, 1e-3)
    offset = torch.stack([torch.zeros(60), torch.full((60,), 0.5)])
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    x_a = method(x_b, TIME, replace(observed, offset=offset), generators).x_a
    difference = observed.operator(x_a[:1] - x_a[1:])
    assert difference.mean() == pytest.approx(0.5, rel=0.2)


def test_it_is_an_assimilation_method(method: LOSDA) -> None:
    assert isinstance(method, AssimilationMethod) and isinstance(Free(), AssimilationMethod)


def test_one_step_on_a_gaussian_prior_is_the_kalman_filter(method: LOSDA) -> None:
    x_b, x = states(method, 2)
    observed = observations(x, 30, 0.3)
    one = method.with_settings(steps=1, start=1e3, representativeness=0.0)
    generator = [torch.Generator().manual_seed(0)]
    analysis = one(x_b, TIME, observed, generator)
    # prior covariance of x: an orthonormal map of i.i.d. latents, each field scaled by its unit
    unit = method.statistics.std * method.statistics.error_std * analysis.expected_error
    variance = (1.5 * unit) ** 2
    b = variance[:, None].expand(2, 128).flatten()[observed.operator.index[:, 0]]
    b = b * float(method.denoiser.scale(torch.zeros(1)).mean()) ** 2
    weight = b / (b + observed.error**2)
    innovation = observed.y - observed.operator(x_b)[0]
    increment = observed.operator(analysis.x_a - x_b)[0]
    torch.testing.assert_close(increment, weight * innovation, atol=2e-2, rtol=5e-2)


def test_without_observations_the_background_stays(method: LOSDA) -> None:
    x_b, x = states(method, 3)
    none = observations(x, 0, 0.3)
    assert torch.equal(method(x_b, TIME, none, [torch.Generator()]).x_a, x_b)


def test_observations_that_agree_with_the_background_change_nothing(method: LOSDA) -> None:
    x_b, _ = states(method, 4)
    exact = observations(x_b, 40, 1e-6)
    x_a = method(x_b, TIME, exact, [torch.Generator()]).x_a
    torch.testing.assert_close(x_a, x_b, atol=1e-3, rtol=1e-3)


def test_the_analysis_is_nearer_to_the_truth_and_the_members_differ(method: LOSDA) -> None:
    x_b, x = states(method, 5)
    observed = observations(x, 180, 0.1)
    single = method(x_b, TIME, observed, [torch.Generator().manual_seed(0)]).x_a
    assert ((single - x) ** 2).mean() < 0.6 * ((x_b - x) ** 2).mean()
    generators = [torch.Generator().manual_seed(k) for k in range(4)]
    members = method(x_b.expand(4, -1, -1, -1), TIME, observed, generators).x_a
    assert members.std(0).mean() > 0


def test_the_same_generators_give_the_same_analysis_bit_for_bit(method: LOSDA) -> None:
    x_b, x = states(method, 6)
    observed = observations(x, 20, 0.2)
    paper = LOSDA(
        method.statistics, method.autoencoder, method.denoiser, method.area, PRESETS["paper"]
    )
    first, second = (
        paper.with_settings(steps=6)(x_b, TIME, observed, [torch.Generator().manual_seed(9)]).x_a
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_the_part_of_the_background_that_the_decoder_cannot_say_is_kept(method: LOSDA) -> None:
    lossy = method.autoencoder
    lossy.decode_linear.weight.mul_(0.7)
    a_b = torch.randn(1, *SHAPE)
    frame = LatentFrame.at(a_b, torch.ones(1, 1), lossy, method.denoiser)
    torch.testing.assert_close(frame.anomaly(torch.zeros_like(frame.z_b)), a_b)
    assert (lossy.decode(frame.z_b) - a_b).abs().max() > 0.1


def test_the_known_model_error_is_taken_off_the_background(method: LOSDA) -> None:
    x_b, _ = states(method, 8)
    a_b = method.statistics.normalize(x_b, [TIME])
    bias = torch.randn(1, 8, 4, 8, generator=torch.Generator().manual_seed(8))
    method.denoiser.model_error.climatology.copy_(bias)
    frame = LatentFrame.at(a_b, method.season([TIME]), method.autoencoder, method.denoiser)
    truth = frame.anomaly(torch.zeros_like(frame.z_b))
    torch.testing.assert_close(method.autoencoder.encode(truth) - frame.z_b, bias)
    exact = observations(method.statistics.denormalize(truth, [TIME]), 40, 1e-6)
    x_a = method(x_b, TIME, exact, [torch.Generator()]).x_a
    a_a = method.statistics.normalize(x_a, [TIME])
    torch.testing.assert_close(a_a, truth, atol=1e-3, rtol=1e-3)


def test_a_field_that_does_not_count_keeps_its_background(method: LOSDA) -> None:
    x_b, x = states(method, 9)
    method.statistics.error_mask[1] = False
    x_a = method(x_b, TIME, observations(x, 180, 0.1), [torch.Generator()]).x_a
    torch.testing.assert_close(x_a[:, 1], x_b[:, 1])
    assert ((x_a - x)[:, 0] ** 2).mean() < 0.7 * ((x_b - x)[:, 0] ** 2).mean()


def test_the_expected_error_is_found_from_the_innovations() -> None:
    generator = torch.Generator().manual_seed(7)
    unit, error = torch.full((1, 20000), 2.0), torch.full((1, 20000), 1.0)
    noise = torch.randn(2, 1, 20000, generator=generator)
    innovation = 3.0 * unit * noise[0] + error * noise[1]
    level = expected_level(innovation, error, unit, torch.ones_like(unit))
    assert float(level.exp()) == pytest.approx(3.0, rel=0.02)
