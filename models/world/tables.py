"""Constant tables of a module: made with numpy in float64, used in the type of the model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

__all__ = ["Array", "register_tables"]

Array = NDArray[np.float64]


def register_tables(
    module: nn.Module, dtype: torch.dtype, tables: Mapping[str, NDArray[Any]]
) -> None:
    """Register arrays as buffers that move with the module but are not saved."""
    for name, table in tables.items():
        tensor = torch.as_tensor(np.ascontiguousarray(table, np.float64)).to(dtype)
        module.register_buffer(name, tensor, persistent=False)
