# ruff: noqa: ANN401  (whatever the operations of torch take and give)
"""A device that is not there: tensors on it are kept by the CPU, and mix with no others.

Inside `stand_in()` whatever is moved to the device `meta` keeps its numbers. An operation with
operands on both devices fails as it does on a GPU, so code that runs through places its tensors as a
GPU needs them, and must have the CPU's results bit for bit. (`meta` and not `cuda`: the backward
pass of a CPU build of torch has no thread for the other.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")


class Away(Tensor):
    """A tensor on the device."""

    kept: Tensor

    @staticmethod
    def __new__(cls: type[Self], kept: Tensor) -> Self:
        made: Self = Tensor._make_wrapper_subclass(
            cls, kept.shape, strides=kept.stride(), dtype=kept.dtype, device=DEVICE
        )
        made.kept = kept
        return made

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return perform(operation, args, kwargs or {})


def perform(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, if all operands are on one device."""
    name = operation._schema.name
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    away = any(isinstance(t, Away) for t in tensors)
    indexed = name.startswith("aten::index") and isinstance(args[0], Away)  # by the CPU: allowed
    if away and not indexed and name not in ("aten::_to_copy", "aten::copy_"):
        here = [t for t in tensors if t.ndim and not isinstance(t, Away)]
        if here:
            raise RuntimeError(f"{name}: operands on two devices")
    target = kwargs.get("device")
    if target is not None:
        away = torch.device(target) == DEVICE
        kwargs = kwargs | {"device": torch.device("cpu")}
    args_here, kwargs = tree_map(lambda t: t.kept if isinstance(t, Away) else t, (args, kwargs))
    result = operation(*args_here, **kwargs)
    if operation._schema.is_mutable and args and isinstance(args[0], Tensor):
        return args[0]
    # the conjugation of a tensor is a bit of it that a wrapper does not have
    return tree_map(
        lambda t: Away(t.resolve_conj().resolve_neg()) if away and isinstance(t, Tensor) else t,
        result,
    )


class Dispatch(TorchDispatchMode):
    """Brings tensors to the device."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return perform(operation, args, kwargs or {})


class Creation(TorchFunctionMode):
    """Makes tensors of numbers, and numbers of tensors, by way of the CPU."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.new_tensor and args[0].device == DEVICE:
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(DEVICE)
        if function is torch.tensor and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        if function is Tensor.tolist and isinstance(args[0], Away):
            return args[0].kept.tolist()
        return function(*args, **kwargs)


@contextmanager
def stand_in() -> Iterator[torch.device]:
    """Have the device, as long as the context lasts."""
    with Dispatch(), Creation():
        yield DEVICE
