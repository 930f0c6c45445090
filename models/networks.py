"""Convolutions on latitude–longitude grids: the blocks that the networks are made of.

A convolution needs neighbors beyond the edge of the array. Where the grid wraps, the neighbor of
the last longitude is the first; beyond a pole lies the same latitude on the opposite meridian,
i.e. the row turned by half the globe; at the edge of a regional grid the last row is repeated.

References:
    | He et al. (2016), Identity mappings in deep residual networks, doi 10.1007/978-3-319-46493-0_38
    | Perez et al. (2018), FiLM: visual reasoning with a general conditioning layer, arXiv 1709.07871
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "ResidualBlock", "Topology", "downsample", "pad_edges", "upsample"]


@dataclass(frozen=True)
class Topology:
    """How the edges of a latitude–longitude array join.

    Attributes:
        wraps: Whether the last longitude is a neighbor of the first.
        poles: Whether the first and the last latitude are next to the poles.
    """

    wraps: bool
    poles: bool


def pad_edges(
    x: Float[Tensor, "batch field lat lon"], width: int, topology: Topology
) -> Float[Tensor, "batch field padded_lat padded_lon"]:
    """Pad by `width` points on each side, with the true neighbors where there are any."""
    if not width:
        return x
    if topology.poles and topology.wraps and x.shape[-1] % 2 == 0:
        half = x.shape[-1] // 2
        south = x[..., :width, :].flip(-2).roll(half, -1)
        north = x[..., -width:, :].flip(-2).roll(half, -1)
        x = torch.cat([south, x, north], -2)
    else:
        x = functional.pad(x, (0, 0, width, width), mode="replicate")
    mode = "circular" if topology.wraps else "replicate"
    return functional.pad(x, (width, width, 0, 0), mode=mode)


class Convolution(nn.Module):
    """A convolution that knows the topology of its grid."""

    def __init__(self, inputs: int, outputs: int, topology: Topology, kernel: int = 3) -> None:
        """Create the convolution, `kernel` points wide (odd)."""
        super().__init__()
        self.topology = topology
        self.width = kernel // 2
        self.convolution = nn.Conv2d(inputs, outputs, kernel)

    def forward(self, x: Float[Tensor, "batch in lat lon"]) -> Float[Tensor, "batch out lat lon"]:
        """Convolve; the shape of the grid is kept."""
        y: Tensor = self.convolution(pad_edges(x, self.width, self.topology))
        return y

    def zeroed(self) -> "Convolution":
        """Return the same module with weights and bias set to zero."""
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]
        return self


class ResidualBlock(nn.Module):
    """x + f(x), with an optional embedding that scales and shifts the hidden channels."""

    def __init__(self, channels: int, topology: Topology, embedding: int = 0) -> None:
        """Create the block; the last convolution starts near zero, so the block near identity."""
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels)
        self.conv_in = Convolution(channels, channels, topology)
        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = Convolution(channels, channels, topology)
        nn.init.normal_(self.conv_out.convolution.weight, std=1e-3)
        nn.init.zeros_(self.conv_out.convolution.bias)  # type: ignore[arg-type]
        self.modulation = nn.Linear(embedding, 2 * channels) if embedding else None

    def forward(
        self,
        x: Float[Tensor, "batch channel lat lon"],
        e: Float[Tensor, "batch embedding"] | None = None,
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Apply the block."""
        h = self.norm_out(self.conv_in(functional.silu(self.norm_in(x))))
        if self.modulation is not None and e is not None:
            scale, shift = self.modulation(e)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        y: Tensor = x + self.conv_out(functional.silu(h))
        return y


def downsample(
    x: Float[Tensor, "batch channel lat lon"], side: int = 2
) -> Float[Tensor, "batch packed coarse_lat coarse_lon"]:
    """Pack side × side points into channels; the last row is repeated where some are missing."""
    lat, lon = x.shape[-2:]
    x = functional.pad(x, (0, -lon % side, 0, -lat % side), mode="replicate")
    return functional.pixel_unshuffle(x, side)


def upsample(
    x: Float[Tensor, "batch packed coarse_lat coarse_lon"], shape: tuple[int, int], side: int = 2
) -> Float[Tensor, "batch channel lat lon"]:
    """Undo `downsample`: unpack the channels and cut the edge that was repeated."""
    return functional.pixel_shuffle(x, side)[..., : shape[0], : shape[1]]
