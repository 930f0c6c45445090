"""Fields on a finer grid: the waves that are there, and a tail of smaller ones.

The spherical harmonics of the coarse fields are evaluated on the fine grid, and continued beyond
their truncation by random waves whose variance falls as l⁻³ summed over the orders of a degree l,
from that of the last resolved degrees, as kinetic energy does in the troposphere. They change
smoothly in time (a first-order autoregression) and with height.

References:
    | Nastrom & Gage (1985), A climatology of atmospheric wavenumber spectra,
    | doi 10.1175/1520-0469(1985)042<0950:ACOAWS>2.0.CO;2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.background_error.harmonics import HarmonicTransform
from models.grid import LatLonGrid

__all__ = ["Refinement"]

SLOPE, FITTED, PERSISTENCE, VERTICAL = 4.0, 5, 0.9, 0.9


class Refinement:
    """Refines fields of one coarse grid to one fine grid."""

    def __init__(self, coarse: LatLonGrid, fine: LatLonGrid, truncation: int) -> None:
        """Tabulate the harmonics.

        Args:
            coarse: Grid of the fields.
            fine: Grid of the result.
            truncation: Largest degree that the fields have.
        """
        self.coarse = HarmonicTransform(coarse, truncation)
        self.fine = HarmonicTransform(fine)
        self.resolved = min(len(self.coarse.wavenumber), len(self.fine.wavenumber))
        self._tail: Tensor | None = None

    def __call__(
        self, x: Float[Tensor, "time field lat lon"], generator: torch.Generator
    ) -> Float[Tensor, "time field lat lon"]:
        """Return the fields on the fine grid; consecutive calls go on in time.

        Args:
            x: Fields in the order of their times; neighboring fields are neighboring levels.
            generator: Draws the small scales.
        """
        c = self.coarse.analysis(x)
        degree = self.fine.wavenumber[self.resolved :].float()
        last = self.coarse.truncation
        near = self.coarse.wavenumber > last - FITTED
        power = c[..., near].pow(2).mean((0, 2))
        # The mode variance at the last degrees stands for their middle one.
        middle = last - FITTED / 2
        size = (power[:, None] * (degree / middle) ** -SLOPE).sqrt()
        tail = torch.stack(
            [size * noise for noise in self._noise(x.shape, len(degree), generator)]
        )
        return self.fine.synthesis(torch.cat([c[..., : self.resolved], tail], -1))

    def _noise(
        self, shape: torch.Size, modes: int, generator: torch.Generator
    ) -> list[Float[Tensor, "field mode"]]:
        """Return noise of variance 1, correlated between times and between neighboring fields."""
        found = []
        for _ in range(shape[0]):
            draw = torch.randn(shape[1], modes, generator=generator)
            for k in range(1, shape[1]):
                draw[k] = VERTICAL * draw[k - 1] + (1 - VERTICAL**2) ** 0.5 * draw[k]
            if self._tail is not None:
                draw = PERSISTENCE * self._tail + (1 - PERSISTENCE**2) ** 0.5 * draw
            self._tail = draw
            found.append(draw)
        return found
