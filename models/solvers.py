"""Conjugate gradients for A x = b, A symmetric and positive definite, for a batch of problems.

References:
    | Hestenes & Stiefel (1952), Methods of conjugate gradients for solving linear systems,
    | doi 10.6028/jres.049.044
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["conjugate_gradients", "dot"]

Operator = Callable[[Tensor], Tensor]


def dot(a: Tensor, b: Tensor) -> Float[Tensor, "batch"]:
    """Return the scalar product of each sample."""
    return (a * b).flatten(1).sum(1)


def conjugate_gradients(
    operator: Operator, b: Tensor, iterations: int, tolerance: float = 0.0
) -> tuple[Tensor, int]:
    """Solve A x = b for each sample of the batch.

    Args:
        operator: v ↦ A v.
        b: Right-hand side, with shape (batch, *).
        iterations: Largest number of iterations from x = 0.
        tolerance: A sample stays where |b − A x| ≤ tolerance |b|, whatever the others need; the
            iterations end where all samples do.

    Returns:
        The solution, with the shape of `b`, and the number of iterations.
    """

    def expand(value: Tensor) -> Tensor:
        return value.view(-1, *[1] * (b.dim() - 1))

    x, residual, direction = torch.zeros_like(b), b, b
    square = dot(residual, residual)
    goal = tolerance**2 * square
    for iteration in range(iterations):
        done = square <= goal
        if tolerance and bool(done.all()):
            return x, iteration
        image = operator(direction)
        length = square / dot(direction, image).clamp(min=1e-30)
        length = expand(length.masked_fill(done, 0.0))
        x, residual = x + length * direction, residual - length * image
        new = dot(residual, residual)
        direction = residual + expand(new / square.clamp(min=1e-30)) * direction
        square = new
    return x, iterations
