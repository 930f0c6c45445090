"""A transformer for latent states: F(r_t, σ, z_b, ℓ) of the denoiser, as published.

Tokens are 2 × 2 cells of the latent grid. Each block lets them attend to each other, then to the
tokens of the condition (latent background, place, season), then passes them through a perceptron;
noise level and expected background error scale, shift and gate all three (adaptive layer norm, zero
at first, so that F starts at zero).

References:
    | Peebles & Xie (2023), Scalable diffusion models with transformers, arXiv 2212.09748
    | Sun et al. (2025), Align-DA, arXiv 2505.22008 (tokens of 2 × 2, background by cross-attention)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.networks import downsample, upsample

__all__ = ["LatentTransformer", "TransformerShape"]

PATCH = 2


@dataclass(frozen=True)
class TransformerShape:
    """Everything that fixes the architecture.

    Attributes:
        channels: Channels of the latent state.
        condition: Channels of the condition.
        grid: Latitudes and longitudes of the latent state.
        width: Channels of a token.
        depth: Blocks.
        heads: Heads of each attention; they divide the width.
    """

    channels: int
    condition: int
    grid: tuple[int, int]
    width: int
    depth: int
    heads: int

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return -(-self.grid[0] // PATCH) * -(-self.grid[1] // PATCH)


class Attention(nn.Module):
    """Attention of tokens to tokens."""

    def __init__(self, width: int, heads: int) -> None:
        """Create the attention."""
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(
        self, x: Float[Tensor, "batch token width"], y: Float[Tensor, "batch other width"]
    ) -> Float[Tensor, "batch token width"]:
        """Let the tokens `x` attend to the tokens `y`."""
        key, value = self.key_value(y).chunk(2, -1)
        parts = (
            h.unflatten(-1, (self.heads, -1)).transpose(1, 2) for h in (self.query(x), key, value)
        )
        mixed = functional.scaled_dot_product_attention(*parts)
        z: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return z


class Block(nn.Module):
    """Self-attention, attention to the condition, perceptron; each gated by the embedding."""

    def __init__(self, width: int, heads: int, embedding: int) -> None:
        """Create the block, at first the identity."""
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.own, self.condition = Attention(width, heads), Attention(width, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(embedding, 9 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, y: Tensor, e: Float[Tensor, "batch embedding"]) -> Tensor:
        """Apply the block to tokens `x` with the condition `y`."""
        scale, shift, gate = (
            part.chunk(3, -1) for part in self.modulation(e)[:, None].chunk(3, -1)
        )
        h = [norm for norm in self.norms]
        n = h[0](x) * (1 + scale[0]) + shift[0]
        x = x + gate[0] * self.own(n, n)
        x = x + gate[1] * self.condition(h[1](x) * (1 + scale[1]) + shift[1], y)
        x = x + gate[2] * self.perceptron(h[2](x) * (1 + scale[2]) + shift[2])
        return x


class LatentTransformer(nn.Module):
    """F for latent states; zero before it is trained."""

    def __init__(self, shape: TransformerShape, levels: int, embedding: int = 256) -> None:
        """Create the network.

        Args:
            shape: The architecture.
            levels: Size of the embedded noise and background-error levels.
            embedding: Size of their joint embedding.

        Raises:
            ValueError: The heads do not divide the width.
        """
        super().__init__()
        if shape.width % shape.heads:
            raise ValueError(f"{shape.heads} heads; they must divide the width {shape.width}")
        self.shape, width = shape, shape.width
        self.embed = nn.Sequential(
            nn.Linear(levels, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        both = shape.channels + shape.condition
        self.enter = nn.Linear(both * PATCH**2, width)
        self.enter_condition = nn.Linear(shape.condition * PATCH**2, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, shape.tokens, width))
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, embedding) for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, shape.channels * PATCH**2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self, x: Float[Tensor, "batch input lat lon"], levels: Float[Tensor, "batch level"]
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Apply F.

        Args:
            x: Noisy residual and condition, one after the other.
            levels: Embedded noise and background-error levels.
        """
        e = self.embed(levels)
        tokens = self.enter(cut(x)) + self.position
        condition = self.enter_condition(cut(x[:, self.shape.channels :])) + self.position
        for block in self.blocks:
            tokens = block(tokens, condition, e)
        h = self.leave(self.norm(tokens)).transpose(1, 2)
        half = [-(-n // PATCH) for n in self.shape.grid]
        return upsample(h.unflatten(2, half), self.shape.grid)


def cut(x: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, "batch token packed"]:
    """Cut a latent state into tokens."""
    return downsample(x).flatten(2).transpose(1, 2)
