"""The autoencoder: z = encode(a), a ≈ decode(z), for normalized anomalies a.

A state is cut into patches of p × p points. The encoder is a linear map of each patch (started at
its principal components) plus a convolutional residual network; the decoder mirrors it. With the
weights w = 1 / (24 h background-error standard deviation) the loss of a batch is

    mean(w² (decode(z + ε) − a)²) + β mean(z²),    ε ~ N(0, s² I),

the evidence bound of a variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114) whose
posterior has the fixed standard deviation s: what is small compared with the error of a background
need not be kept, and the decoder is smooth on the scale s of an analysis error.
"""

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.networks import Convolution, ResidualBlock, Topology

__all__ = ["Autoencoder", "AutoencoderShape", "principal_components"]


@dataclass(frozen=True)
class AutoencoderShape:
    """Everything that fixes the architecture.

    Attributes:
        fields: Number of fields of a state.
        grid: Latitudes and longitudes of a state.
        wraps: Whether longitude is a circle.
        poles: Whether the grid reaches the poles.
        features: Number of static features (land, orography, latitude …).
        patch: Points per side of a patch.
        latent: Channels of the latent state.
        hidden: Channels of the residual networks.
        blocks: Residual blocks on each side.
    """

    fields: int
    grid: tuple[int, int]
    wraps: bool
    poles: bool
    features: int
    patch: int = 2
    latent: int = 64
    hidden: int = 96
    blocks: int = 2

    @property
    def latent_grid(self) -> tuple[int, int]:
        """Latitudes and longitudes of the latent state."""
        return -(-self.grid[0] // self.patch), -(-self.grid[1] // self.patch)

    @property
    def topology(self) -> Topology:
        """The topology of the latent grid."""
        return Topology(self.wraps, self.poles)

    def to_dict(self) -> dict[str, object]:
        """Return the fields for a checkpoint card."""
        return asdict(self)


class Autoencoder(nn.Module):
    """Encoder and decoder of normalized anomalies."""

    weights: Tensor
    features: Tensor
    latent_scale: Tensor

    def __init__(
        self,
        shape: AutoencoderShape,
        weights: Float[Tensor, "field"],
        static: Float[Tensor, "feature lat lon"],
    ) -> None:
        """Create the autoencoder.

        Args:
            shape: The architecture.
            weights: Weight of each field in the loss, 1 / background-error deviation [1].
            static: Static features on the state's grid [1].
        """
        super().__init__()
        self.shape = shape
        points, latent, hidden = shape.patch**2, shape.latent, shape.hidden
        size, extra = shape.fields * points, shape.features * points
        self.register_buffer("weights", weights.clone())
        self.register_buffer("features", self._patches(static[None]))
        self.register_buffer("latent_scale", torch.ones(latent))
        self.encode_linear = nn.Conv2d(size, latent, 1)
        self.decode_linear = nn.Conv2d(latent, size, 1)
        self.encode_in = nn.Conv2d(size + extra, hidden, 1)
        self.decode_in = nn.Conv2d(latent + extra, hidden, 1)
        self.encode_blocks, self.decode_blocks = self._blocks(), self._blocks()
        self.encode_out = Convolution(hidden, latent, shape.topology, 1).zeroed()
        self.decode_out = Convolution(hidden, size, shape.topology, 1).zeroed()

    def _blocks(self) -> nn.ModuleList:
        block = (
            ResidualBlock(self.shape.hidden, self.shape.topology) for _ in range(self.shape.blocks)
        )
        return nn.ModuleList(block)

    def _patches(self, x: Tensor) -> Tensor:
        """Cut into patches; an incomplete patch at the edge is filled with the last row."""
        p, (lat, lon) = self.shape.patch, self.shape.grid
        x = functional.pad(x, (0, -lon % p, 0, -lat % p), mode="replicate")
        return functional.pixel_unshuffle(x, p)

    def encode(
        self, a: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch latent latent_lat latent_lon"]:
        """Map normalized anomalies [1] to the latent state [1], of unit variance per channel."""
        x = self._patches(a * self.weights[:, None, None])
        h = self.encode_in(torch.cat([x, self.features.expand(len(x), -1, -1, -1)], 1))
        for block in self.encode_blocks:
            h = block(h)
        z: Tensor = self.encode_linear(x) + self.encode_out(h)
        return z / self.latent_scale[:, None, None]

    def decode(
        self, z: Float[Tensor, "batch latent latent_lat latent_lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Map the latent state back to normalized anomalies [1]."""
        z = z * self.latent_scale[:, None, None]
        h = self.decode_in(torch.cat([z, self.features.expand(len(z), -1, -1, -1)], 1))
        for block in self.decode_blocks:
            h = block(h)
        x = functional.pixel_shuffle(self.decode_linear(z) + self.decode_out(h), self.shape.patch)
        a: Tensor = x[..., : self.shape.grid[0], : self.shape.grid[1]]
        return a / self.weights[:, None, None]

    @torch.no_grad()
    def initialize_linear(self, a: Float[Tensor, "sample field lat lon"]) -> None:
        """Start the linear maps at the principal components of the weighted patches."""
        x = self._patches(a * self.weights[:, None, None])
        components = principal_components(x.movedim(1, -1).flatten(0, 2), self.shape.latent)
        self.encode_linear.weight.copy_(components.T[:, :, None, None])
        self.decode_linear.weight.copy_(components[:, :, None, None])
        nn.init.zeros_(self.encode_linear.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.decode_linear.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def standardize_latent(self, a: Float[Tensor, "sample field lat lon"]) -> None:
        """Scale the latent channels to unit variance over the samples."""
        self.latent_scale.fill_(1.0)
        self.latent_scale.copy_(self.encode(a).std((0, 2, 3)).clamp(min=1e-3))


def principal_components(
    x: Float[Tensor, "sample size"], count: int
) -> Float[Tensor, "size count"]:
    """Return the leading eigenvectors of the second-moment matrix of `x`, largest first."""
    moment = (x.T.double() @ x.double()) / len(x)
    vectors: Tensor = torch.linalg.eigh(moment)[1]
    return vectors.flip(1)[:, :count].to(x.dtype)
