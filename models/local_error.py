"""The expected background error as a map, from the innovations around each place.

One number ℓ for the whole sphere is too small where nothing is observed, and too large where much is. With
the innovations d, of observations with the errors σ_o where that of a 24 h forecast is u, each cell of
the latent grid has

    n = Σ w,   e = Σ w (d² − σ_o²)/u² / n,   w = (1 + σ_o²/u²)^-2

(for methods that are not latent: of a coarse grid; w is the precision of what one observation says of e if the error is u), and the expected error is

    e^{2ℓ(p)} = Σ_q K(p, q) [m_q e_q + (1 − m_q) v²],   m = n/(n + 1),   K ∝ area · exp(−D²/2L²),

Σ_q K = 1: what the observations of a cell show, as far as they show it, else v, the error of what nobody
observes. The prior keeps its one number, the mean of ℓ(p); the map e^{ℓ(p) − mean} multiplies its scale.

After the idea of inflation that varies in space (Anderson 2009, doi 10.1111/j.1600-0870.2008.00361.x).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from models.grid import LatLonGrid
from models.observations.anomalies import AnomalyObservations
from models.observations.positions import unit_vectors

__all__ = ["LocalError", "of_ensemble", "on_grid"]

EARTH_RADIUS = 6371.0
LEAST = 0.1
"""Smallest expected error, in units of the 24 h background error."""


@dataclass(frozen=True)
class LocalError:
    """Estimates the expected background error of each cell of the latent grid.

    Attributes:
        kernel: K, from each cell (columns) to each cell (rows); rows have the sum 1.
        share: Share of the area that each cell has.
        grid: Number of rows and columns.
        unobserved: v, the error of what is not observed [24 h background error].
        wraps: Whether longitude is a circle.
    """

    kernel: Float[Tensor, "cell cell"]
    share: Float[Tensor, "cell"]
    grid: tuple[int, int]
    unobserved: float
    wraps: bool

    @classmethod
    def of(
        cls, grid: LatLonGrid, latent: tuple[int, int], unobserved: float, length: float
    ) -> "LocalError":
        """Prepare the estimate.

        Args:
            grid: Grid of the states.
            latent: Rows and columns of the latent grid, each of the same number of the states' cells.
            unobserved: v, the error of what is not observed [24 h background error].
            length: L, how far an observation says how large errors are [km].
        """
        axes = (
            torch.tensor(axis, dtype=torch.float64) for axis in (grid.latitude, grid.longitude)
        )
        latitude, longitude = torch.meshgrid(*axes, indexing="ij")
        area = grid.cell_area_weights().double()[:, None].expand(latitude.shape)
        moments = torch.cat([area[None], area * unit_vectors(latitude, longitude).movedim(-1, 0)])
        size, *vector = adaptive_avg_pool2d(moments, latent).flatten(1)
        center = torch.stack(vector, -1)
        center = center / center.norm(dim=-1, keepdim=True)
        chord = (2.0 - 2.0 * center @ center.T).clamp(min=0.0)
        kernel = size * torch.exp(-0.5 * chord * (EARTH_RADIUS / length) ** 2)
        kernel, share = kernel / kernel.sum(1, keepdim=True), size / size.sum()
        return cls(kernel.float(), share.float(), latent, unobserved, grid.wraps)

    def to(self, device: torch.device) -> "LocalError":
        """Return the same on another device."""
        return replace(self, kernel=self.kernel.to(device), share=self.share.to(device))

    def __call__(
        self, observed: AnomalyObservations, innovation: Float[Tensor, "batch obs"]
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch 1 latent_lat latent_lon"]]:
        """Return the mean of ℓ(p), and the map e^{ℓ(p) − mean} [1].

        Args:
            observed: The observations.
            innovation: Observations minus background, in the observations' units.

        Raises:
            ValueError: It is not known where the observations are.
        """
        if observed.gather is None:
            raise ValueError("the places of these observations are not known")
        ratio = (observed.error / observed.unit) ** 2
        weight = (1.0 + ratio) ** -2
        excess = (innovation / observed.unit) ** 2 - ratio
        known, shown = (self._cells(observed.gather(v)) for v in (weight, weight * excess))
        part = known / (known + 1.0)
        error = shown / known.clamp(min=torch.finfo(known.dtype).tiny)
        variance = (part * error + (1.0 - part) * self.unobserved**2) @ self.kernel.T
        level = 0.5 * torch.log(variance.clamp(min=LEAST**2))
        mean = level @ self.share
        return mean, torch.exp(level - mean[:, None]).reshape(-1, 1, *self.grid)

    def _cells(self, values: Float[Tensor, "batch lat lon"]) -> Float[Tensor, "batch cell"]:
        """Return the sums over the states' cells in each of the latent grid."""
        count = values[0].numel() / self.share.numel()
        return adaptive_avg_pool2d(values, self.grid).flatten(1) * count


def of_ensemble(
    relief: Float[Tensor, "member 1 rows columns"],
) -> Float[Tensor, "1 1 rows columns"]:
    """Return the map that the members of an ensemble share."""
    return relief.log().mean(0, keepdim=True).exp()


def on_grid(
    relief: Float[Tensor, "batch 1 rows columns"], shape: tuple[int, int], wraps: bool
) -> Float[Tensor, "batch 1 lat lon"]:
    """Return a map on a finer grid, without a seam where the grid wraps around the globe."""
    if not wraps:
        return interpolate(relief, shape, mode="bilinear")
    around = interpolate(relief.repeat(1, 1, 1, 3), (shape[0], 3 * shape[1]), mode="bilinear")
    return around[..., shape[1] : 2 * shape[1]]
