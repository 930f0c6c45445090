import pytest
import torch

from models.autoencoder import Autoencoder, AutoencoderShape, principal_components


def autoencoder(
    grid: tuple[int, int] = (6, 8), wraps: bool = True, latent: int = 12
) -> Autoencoder:
    torch.manual_seed(0)
    shape = AutoencoderShape(3, grid, wraps, wraps, 2, latent=latent, hidden=8, blocks=1)
    return Autoencoder(shape, torch.tensor([1.0, 2.0, 4.0]), torch.zeros(2, *grid))


def test_with_as_many_channels_as_numbers_the_linear_map_loses_nothing() -> None:
    network = autoencoder()
    a = torch.randn(40, 3, 6, 8)
    network.initialize_linear(a)
    torch.testing.assert_close(network.decode(network.encode(a)), a, atol=1e-4, rtol=1e-4)


def test_fewer_channels_keep_the_leading_components_of_the_weighted_patches() -> None:
    network = autoencoder(latent=4)
    a = torch.randn(200, 3, 6, 8)
    network.initialize_linear(a)
    weights = network.weights[:, None, None]
    kept = ((network.decode(network.encode(a)) * weights) ** 2).mean()
    patches = network._patches(a * weights).movedim(1, -1).flatten(0, 2)
    values = torch.linalg.eigvalsh(patches.T @ patches / len(patches))
    assert kept.item() == pytest.approx(float(values[-4:].sum() / 12), rel=1e-3)


def test_a_regional_grid_of_odd_size_comes_back_with_its_shape() -> None:
    network = autoencoder((5, 7), wraps=False)
    a = torch.randn(2, 3, 5, 7)
    assert network.encode(a).shape == (2, 12, 3, 4)
    assert network.decode(network.encode(a)).shape == a.shape


def test_encoding_on_the_globe_commutes_with_rotation_by_a_patch() -> None:
    network = autoencoder()
    for parameter in network.encode_out.parameters():
        torch.nn.init.normal_(parameter)
    a = torch.randn(1, 3, 6, 8)
    turned = network.encode(a.roll(2, -1))
    torch.testing.assert_close(turned, network.encode(a).roll(1, -1), atol=1e-5, rtol=1e-5)


def test_standardized_codes_have_unit_variance() -> None:
    network = autoencoder()
    a = 7 * torch.randn(300, 3, 6, 8)
    network.standardize_latent(a)
    torch.testing.assert_close(
        network.encode(a).std((0, 2, 3)), torch.ones(12), atol=1e-3, rtol=1e-3
    )


def test_principal_components_are_orthonormal_and_ordered() -> None:
    x = torch.randn(500, 6) * torch.tensor([1.0, 5.0, 2.0, 0.1, 3.0, 0.5])
    u = principal_components(x, 3)
    torch.testing.assert_close(u.T @ u, torch.eye(3), atol=1e-5, rtol=0)
    assert u.abs().argmax(0).tolist() == [1, 4, 2]
