r"""Balance: the part of the other fields that follows from the streamfunction.

At each latitude the vertical profiles of errors are regressed on that of ψ,

    x = K p:    x_i = p_i + Σ_j R_ij(φ) ψ_j    for the balanced fields i (χ, t, sp),

so that the unbalanced rest p_i is uncorrelated with ψ at the same place. Mass and wind are coupled
as in a geostrophic flow, with the sign of the Coriolis parameter, and less towards the equator.

References:
    | Derber & Bouttier (1999), A reformulation of the background error covariance in the ECMWF
    | global data assimilation system, doi 10.3402/tellusa.v51i2.12316
    | Wu et al. (2002), Three-dimensional variational analysis with spatially inhomogeneous
    | covariances, doi 10.1175/1520-0493(2002)130<2905:TDVAWS>2.0.CO;2
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Balance"]


class Balance(nn.Module):
    """K, its adjoint and its inverse; the identity where nothing is balanced."""

    regression: Float[Tensor, "lat balanced psi"]

    def __init__(self, rows: int, psi: list[int], balanced: list[int]) -> None:
        """Create the identity.

        Args:
            rows: Number of latitudes.
            psi: Positions of ψ in the state.
            balanced: Positions of the fields that are balanced with it.
        """
        super().__init__()
        self.psi, self.balanced = psi, balanced
        self.register_buffer("regression", torch.zeros(rows, len(balanced), len(psi)))

    def forward(
        self, p: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return K p."""
        return self._add(p, self.balanced, self._product("jip,bpjk->bijk", p[:, self.psi]))

    def inverse(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return K⁻¹ x."""
        return self._add(x, self.balanced, -self._product("jip,bpjk->bijk", x[:, self.psi]))

    def adjoint(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return Kᵀ x."""
        return self._add(x, self.psi, self._product("jip,bijk->bpjk", x[:, self.balanced]))

    def _product(self, indices: str, x: Tensor) -> Tensor:
        product: Tensor = torch.einsum(indices, self.regression.to(x), x)
        return product

    def _add(self, x: Tensor, fields: list[int], change: Tensor) -> Tensor:
        return x.index_add(1, torch.tensor(fields, device=x.device, dtype=torch.int64), change)

    @torch.no_grad()
    def fit(self, moment: Float[Tensor, "lat lon field field"], ridge: float = 1e-4) -> None:
        """Fit the regression by least squares.

        Args:
            moment: Second moments of the errors.
            ridge: Added to the diagonal, relative to it, where levels of ψ are nearly alike.
        """
        moment = moment.mean(1)
        of_psi = moment[:, self.psi][..., self.psi]
        of_psi = of_psi + torch.diag_embed(ridge * of_psi.diagonal(dim1=-2, dim2=-1))
        regression = torch.linalg.solve(of_psi, moment[:, self.psi][..., self.balanced]).mT
        self.regression.copy_(regression)

    def unbalanced(
        self, moment: Float[Tensor, "lat lon field field"]
    ) -> Float[Tensor, "lat lon field field"]:
        """Return the second moments K⁻¹ M K⁻ᵀ of the unbalanced fields."""
        rows, fields = len(moment), moment.shape[-1]
        inverse = torch.eye(fields).to(moment).repeat(rows, 1, 1, 1)
        index = torch.tensor(self.balanced)[:, None], torch.tensor(self.psi)
        if self.psi:
            inverse[..., *index] = -self.regression.to(moment)[:, None]
        return inverse @ moment @ inverse.mT
