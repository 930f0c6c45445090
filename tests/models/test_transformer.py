import pytest
import torch

from models.denoiser import DenoiserShape, LatentDenoiser
from models.transformer import LatentTransformer, TransformerShape, cut

SIZES = {"channels": 4, "grid": (5, 6), "wraps": True, "poles": True, "features": 2}


def network() -> LatentTransformer:
    torch.manual_seed(0)
    net = LatentTransformer(TransformerShape(4, 6, (5, 6), 16, 2, 4), 18)
    for parameter in net.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def test_it_starts_at_zero_so_that_the_prior_is_gaussian() -> None:
    shape = DenoiserShape(**SIZES, hidden=16, network="transformer", depth=2, heads=4)
    denoiser = LatentDenoiser(shape, torch.randn(2, 5, 6))
    r, z_b = torch.randn(2, 3, 4, 5, 6)
    sigma = torch.tensor([0.1, 1.0, 3.0])
    mean = denoiser.denoise(r, sigma, z_b, torch.zeros(3), torch.ones(3, 1))
    torch.testing.assert_close(mean, denoiser.covariance.wiener(r, sigma))


def test_the_output_depends_on_noise_background_and_every_token() -> None:
    net, x, levels = network(), torch.randn(1, 10, 5, 6), torch.randn(1, 18)
    x.requires_grad_()
    levels.requires_grad_()
    f = net(x, levels)
    assert f.shape == (1, 4, 5, 6)
    gradient, by_level = torch.autograd.grad(f[0, 0, 2, 3], (x, levels))
    tokens = cut(gradient)[0].abs().sum(1)
    assert (tokens > 0).all() and by_level.abs().sum() > 0
    assert gradient[:, 4:].abs().sum() > 0


def test_samples_of_a_batch_do_not_see_each_other() -> None:
    net, x, levels = network(), torch.randn(3, 10, 5, 6), torch.randn(3, 18)
    torch.testing.assert_close(net(x, levels)[1:2], net(x[1:2], levels[1:2]), rtol=1e-4, atol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 heads; they must divide the width 16"):
        LatentTransformer(TransformerShape(4, 6, (5, 6), 16, 2, 3), 18)
