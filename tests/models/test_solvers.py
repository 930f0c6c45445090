import torch

from models.solvers import conjugate_gradients


def systems(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    factors = torch.randn(3, 9, 9, generator=generator, dtype=torch.float64)
    matrices = factors @ factors.mT + torch.eye(9, dtype=torch.float64)
    return matrices, torch.randn(3, 9, generator=generator, dtype=torch.float64)


def test_conjugate_gradients_solve_each_sample_of_a_batch() -> None:
    matrices, b = systems(torch.Generator().manual_seed(6))
    x, count = conjugate_gradients(lambda v: (matrices @ v[..., None])[..., 0], b, 30)
    torch.testing.assert_close(x, torch.linalg.solve(matrices, b), rtol=1e-6, atol=1e-8)
    assert count == 30


def test_they_stop_where_all_residuals_are_small_enough() -> None:
    matrices, b = systems(torch.Generator().manual_seed(7))
    operator = lambda v: (matrices @ v[..., None])[..., 0]
    x, count = conjugate_gradients(operator, b, 30, tolerance=0.01)
    early, _ = conjugate_gradients(operator, b, count - 1)
    size = b.norm(dim=1)
    assert ((b - operator(x)).norm(dim=1) <= 0.0101 * size).all()
    assert ((b - operator(early)).norm(dim=1) > 0.01 * size).any()
    assert 1 < count < 30
