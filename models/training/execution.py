"""How the blocks of a network are computed while it is trained.

Nearly all operations of the networks are in their residual blocks, convolutional ones and those of
transformers. Three choices concern these alone:

- `precision`: bfloat16 in the products of a block (autocast). Weights, their averages and the
  optimizer stay in float32, and so do the sums between blocks and all outside of them: climatology,
  covariance, loss;
- `recompute`: the backward pass computes a block again instead of keeping what is inside it; memory
  falls to the inputs of the blocks, for one more forward pass;
- `compiled`: torch.compile of each block. Blocks of the same shape share their code.

References:
    | Micikevicius et al. (2018), Mixed precision training, arXiv 1710.03740
    | Chen et al. (2016), Training deep nets with sublinear memory cost, arXiv 1604.06174
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from models.networks import ResidualBlock
from models.transformer import Block

__all__ = ["PLAIN", "Execution"]

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Execution:
    """How blocks are computed.

    Attributes:
        precision: Of the products in the blocks.
        recompute: Whether a backward pass computes the blocks again.
        compiled: Whether they are compiled.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    recompute: bool = False
    compiled: bool = False

    @contextmanager
    def of(self, network: nn.Module) -> Iterator[None]:
        """Compute the blocks of a network in this way, as long as the context lasts."""
        blocks = [m for m in network.modules() if isinstance(m, ResidualBlock | Block)]
        if self == PLAIN:
            blocks = []
        for block in blocks:
            block.forward = self._forward(block)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for block in blocks:
                del block.forward  # the class's own again

    def _forward(self, block: nn.Module) -> Forward:
        kernel: Forward = block.forward
        if self.compiled:
            kernel = torch.compile(kernel)
        device = next(block.parameters()).device.type
        mixed = self.precision == "bfloat16"

        def run(*inputs: Any) -> Any:  # noqa: ANN401  (whatever the block takes and gives)
            if not mixed:
                return kernel(*inputs)
            with torch.autocast(device, torch.bfloat16):
                return kernel(*inputs)

        if not self.recompute:
            return run
        return lambda *inputs: checkpoint(
            run, *inputs, use_reentrant=False, preserve_rng_state=False
        )


#: Everything in float32, kept, and not compiled.
PLAIN = Execution()
