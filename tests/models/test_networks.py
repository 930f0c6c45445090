import math

import torch

from models.networks import Convolution, ResidualBlock, Topology, downsample, pad_edges, upsample

GLOBE = Topology(wraps=True, poles=True)
REGION = Topology(wraps=False, poles=False)


def sphere_field(latitude: torch.Tensor, longitude: torch.Tensor) -> torch.Tensor:
    """A smooth scalar on the sphere: a linear function of position in space."""
    lat, lon = torch.meshgrid(latitude, longitude, indexing="ij")
    return 0.3 * lat.cos() * lon.cos() - 0.7 * lat.cos() * lon.sin() + 0.5 * lat.sin()


def test_padding_continues_a_smooth_field_around_the_globe_and_across_the_poles() -> None:
    step = math.pi / 8
    latitude = -math.pi / 2 + step * (torch.arange(8) + 0.5)
    longitude = 2 * math.pi / 16 * torch.arange(16)
    padded = pad_edges(sphere_field(latitude, longitude)[None, None], 2, GLOBE)[0, 0]
    # beyond the pole the coordinate (latitude, longitude) continues as (π − latitude, longitude + π)
    wide_lat = -math.pi / 2 + step * (torch.arange(-2, 10) + 0.5)
    wide_lon = 2 * math.pi / 16 * torch.arange(-2, 18)
    torch.testing.assert_close(padded, sphere_field(wide_lat, wide_lon), atol=1e-6, rtol=0)


def test_a_region_does_not_wrap() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = pad_edges(x, 1, REGION)[0, 0]
    assert padded[1].tolist() == [0, 0, 1, 2, 3, 3]
    assert padded[0].tolist() == [0, 0, 1, 2, 3, 3]


def test_a_convolution_on_the_globe_commutes_with_rotation() -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(8, GLOBE), torch.randn(2, 8, 6, 12)
    torch.nn.init.normal_(block.conv_out.convolution.weight)
    torch.testing.assert_close(block(x.roll(5, -1)), block(x).roll(5, -1), atol=1e-5, rtol=1e-5)


def test_upsampling_undoes_downsampling_of_odd_grids() -> None:
    x = torch.randn(2, 3, 5, 7)
    assert downsample(x).shape == (2, 12, 3, 4)
    torch.testing.assert_close(upsample(downsample(x), (5, 7)), x)
    assert downsample(x, 4).shape == (2, 48, 2, 2)
    torch.testing.assert_close(upsample(downsample(x, 4), (5, 7), 4), x)
    assert torch.equal(downsample(x, 1), x) and torch.equal(upsample(x, (5, 7), 1), x)


def test_a_zeroed_convolution_is_zero() -> None:
    assert not Convolution(3, 4, GLOBE).zeroed()(torch.randn(1, 3, 6, 8)).any()
