"""A second device that computes: what is not on it is found without an accelerator.

While `second_device` is entered, torch's device `meta` holds real values. A tensor that is moved or
made there is a wrapper around one of the processor; every operation runs on the wrapped tensors,
and one that mixes the two devices raises, as it would with `cuda`. Only tensors without dimensions
and the indices of `x[index]` may be of the processor, as there. So the values are those of the
processor, wherever the code runs through.
"""

# ruff: noqa: ANN401 - an operation has any arguments
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

__all__ = ["DEVICE", "second_device"]

DEVICE = torch.device("meta")
CROSSING = {"aten::_to_copy", "aten::copy_"}
"""Operations that carry values from one device to the other."""
INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


PLAIN = {
    "aten::_efficientzerotensor": torch.ops.aten.zeros.default,
    "aten::_conj": torch.ops.aten.conj_physical.default,
    "aten::_neg_view": torch.ops.aten.neg.default,
}
"""Operations that only mark a tensor, which a wrapper does not pass on, and what they mean."""


class There(Tensor):
    """A tensor of the second device."""

    values: Tensor

    @staticmethod
    def __new__(cls: type[Self], values: Tensor) -> Self:
        """Wrap a tensor of the processor."""
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )
        made.values = values
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Compute on the wrapped tensors."""
        return compute(function, arguments, options or {})


class SecondDevice(TorchDispatchMode):
    """Sees also what has no tensor of the second device among its arguments."""

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Compute on the wrapped tensors."""
        return compute(function, arguments, options or {})


class MovedData(TorchFunctionMode):
    """Makes tensors of numbers on the processor: on `meta` torch itself gives them no values."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Run a function of torch."""
        options = dict(options or {})
        if function in (torch.tensor, torch.as_tensor, Tensor.new_tensor):
            if function is Tensor.new_tensor:
                arguments, like = arguments[1:], arguments[0]
                options = {"dtype": like.dtype, "device": like.device} | options
                function = torch.tensor
            if options.get("device") is not None and not isinstance(arguments[0], There):
                device = options.pop("device")
                return function(*arguments, **options).to(device)
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            index = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
            index = tuple(torch.tensor(i) if isinstance(i, list) else i for i in index)
            arguments = (arguments[0], index, *arguments[2:])
        return function(*arguments, **options)


def compute(function: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """Return what an operation gives, on the device where it belongs.

    Raises:
        RuntimeError: Its arguments are on two devices.
    """
    tensors = [x for x in tree_flatten((arguments, options))[0] if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, There)]
    name = function._schema.name
    if any(x.device == DEVICE for x in tensors if not isinstance(x, There)):
        raise RuntimeError(f"{name}: a tensor has no values; `MovedData` does not know its maker")
    wanted = options.get("device")
    if there and name not in CROSSING:
        checked = tree_flatten(arguments[:1])[0] if name in INDEXED else tensors
        here = [
            x for x in checked if isinstance(x, Tensor) and not isinstance(x, There) and x.dim()
        ]
        if here:
            raise RuntimeError(
                f"{name}: expected all tensors to be on the same device, but found "
                f"{tuple(there[0].shape)} on the second and {tuple(here[0].shape)} on the processor"
            )
    is_there = bool(there) if wanted is None else torch.device(wanted).type == DEVICE.type
    if name == "aten::copy_":
        is_there = isinstance(arguments[0], There)
    inner = options | ({} if wanted is None else {"device": torch.device("cpu")})
    out = PLAIN.get(name, function)(*tree_map(unwrap, arguments), **tree_map(unwrap, inner))
    if not is_there:
        return out
    return return_and_correct_aliasing(function, arguments, options, tree_map(wrap, out))


def unwrap(x: Any) -> Any:
    """Return the tensor of the processor."""
    return x.values if isinstance(x, There) else x


def wrap(x: Any) -> Any:
    """Return a tensor of the second device."""
    return There(x) if isinstance(x, Tensor) and not isinstance(x, There) else x


@contextmanager
def second_device() -> Iterator[torch.device]:
    """Let the device `meta` compute."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with SecondDevice(), MovedData():
            yield DEVICE
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
