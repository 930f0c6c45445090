"""Power spectra along latitude circles: how the variance of a field is spread over the scales.

On a circle of n points x_j = Σ_k c_k e^{2πijk/n} the power of wavenumber k is 2 |c_k|² (|c_0|² for
the mean and |c_{n/2}|² for the shortest wave), so that the powers sum to the mean of x². A row of a
regional grid is continued by its mirror image, which makes it periodic without a jump; its waves
are then half-waves of the domain (a discrete cosine transform).

References:
    | Denis, Côté & Laprise (2002), Spectral decomposition of two-dimensional atmospheric fields on
    | limited-area domains using the discrete cosine transform,
    | doi 10.1175/1520-0493(2002)130<1812:SDOTDA>2.0.CO;2
"""

import torch
from jaxtyping import Float
from torch import Tensor

from models.grid import LatLonGrid

__all__ = ["wavenumbers", "zonal_spectrum"]

MIDLATITUDES = (30.0, 60.0)


def zonal_spectrum(
    x: Float[Tensor, "*batch lat lon"],
    grid: LatLonGrid,
    band: tuple[float, float] = MIDLATITUDES,
) -> Float[Tensor, "*batch wavenumber"]:
    """Return the power of each zonal wavenumber, the mean over the rows of a band.

    Args:
        x: Fields.
        grid: Their grid.
        band: Least and largest |latitude| of the rows; all rows if none is inside
            [degrees_north].

    Returns:
        Power in the squared units of x, for the wavenumbers that `wavenumbers` returns.
    """
    latitude = torch.tensor(grid.latitude).abs()
    inside = (latitude >= band[0]) & (latitude <= band[1])
    inside = inside | ~inside.any()
    area = grid.cell_area_weights()[inside].to(x)
    rows = x[..., inside.to(x.device), :]
    rows = rows if grid.wraps else torch.cat([rows, rows.flip(-1)], -1)
    power = torch.fft.rfft(rows, norm="forward").abs() ** 2
    power[..., 1 : (rows.shape[-1] + 1) // 2] *= 2
    mean: Tensor = (power * area[:, None]).sum(-2) / area.sum()
    return mean


def wavenumbers(grid: LatLonGrid) -> Float[Tensor, "wavenumber"]:
    """Return the zonal wavenumbers of a spectrum, in waves around the whole circle [1]."""
    count = grid.shape[1]
    if grid.wraps:
        return torch.arange(count // 2 + 1).float()
    spacing = (grid.longitude[-1] - grid.longitude[0]) / (count - 1)
    return torch.arange(count + 1) * (180.0 / (count * spacing))
