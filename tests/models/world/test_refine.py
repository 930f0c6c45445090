import numpy as np
import torch

from models.background_error.harmonics import HarmonicTransform
from models.grid import LatLonGrid
from models.world.refine import Refinement

COARSE = LatLonGrid.gaussian(16, 32)


def fine(rows: int = 40) -> LatLonGrid:
    latitude = (np.arange(rows) + 0.5) * 180 / rows - 90
    return LatLonGrid(tuple(latitude.tolist()), tuple((np.arange(2 * rows) * 180 / rows).tolist()))


def test_large_waves_are_the_same_function_on_the_fine_grid() -> None:
    refine = Refinement(COARSE, fine(), 10)
    coarse, own = HarmonicTransform(COARSE, 4), HarmonicTransform(fine(), 4)
    c = torch.randn(2, 3, len(coarse.wavenumber), generator=torch.Generator().manual_seed(0))
    found = refine(coarse.synthesis(c), torch.Generator())
    torch.testing.assert_close(found, own.synthesis(c), rtol=0, atol=1e-4)


def test_small_waves_continue_the_spectrum_downwards_and_last_in_time() -> None:
    refine = Refinement(COARSE, fine(), 10)
    generator = torch.Generator().manual_seed(1)
    c = torch.randn(20, 3, len(refine.coarse.wavenumber), generator=generator)
    c = c / (1 + refine.coarse.wavenumber) ** 2
    found = refine.fine.analysis(refine(refine.coarse.synthesis(c), generator))
    degree = refine.fine.wavenumber
    power = torch.stack([found[..., degree == n].square().mean() for n in range(5, 19)])
    near = power[4:8].log().diff()  # across the end of what is resolved, degrees 9 to 12
    assert (near.abs() < 1.0).all() and (power[6:].log().diff() < 0.1).all()
    last = found[..., degree == 15]
    lagged = (last[1:] * last[:-1]).mean() / last.square().mean()
    assert 0.75 < lagged < 1.0


def test_a_fine_grid_that_resolves_less_gets_less() -> None:
    x = Refinement(COARSE, fine(10), 10)(torch.randn(1, 2, 16, 32), torch.Generator())
    assert x.shape == (1, 2, 10, 20) and torch.isfinite(x).all()
