"""The memory that tensors take on a device, counted without computing anything.

On torch's device `meta` tensors have shapes and no values. While `LiveMemory` is entered, code runs
there as on an accelerator, and the bytes of all storages that are alive are counted: their sum has
a peak, as on the device. What depends on values takes one branch: a number read from the device is
1, a condition is not met (nothing has converged), and what is copied from there to the processor is 0. Not in it: what kernels need inside of
themselves, fragments, and the runtime of the device.

    with LiveMemory() as memory, torch.device("meta"):
        …
    memory.peak

Autocast does not know `meta`. Under torch's `FakeTensorMode` the processor has no values either, and
is counted by `LiveMemory(torch.device("cpu"))`.
"""

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveMemory"]

META = torch.device("meta")
aten = torch.ops.aten


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages of one device.

    Attributes:
        now: Bytes that are alive.
        peak: Largest of it so far.
    """

    def __init__(self, device: torch.device = META) -> None:
        """Count nothing yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.device, self.now, self.peak = device, 0, 0
        self._alive: set[int] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Begin to count."""
        self._stack.enter_context(FusedAttention())
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *reason: object) -> None:
        """Count no more; what was alive may still be freed."""
        super().__exit__(*reason)  # type: ignore[no-untyped-call]
        self._stack.close()

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak = self.now

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (an operation of torch)
        """Run an operation and count what it returns."""
        answer = ANSWERS.get(function)
        options = options or {}
        out = NotImplemented if answer is None else answer(*arguments, **options)
        if out is NotImplemented:
            out = function(*arguments, **options)
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.device.type == self.device.type:
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


class FusedAttention(TorchFunctionMode):
    """Attention by a fused kernel, as on accelerators: `meta` itself would make the weights."""

    def __torch_function__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (a function of torch)
        """Run a function of torch."""
        if function is functional.scaled_dot_product_attention and arguments[0].is_meta:
            keep = torch.is_grad_enabled()
            return aten._scaled_dot_product_efficient_attention(*arguments, None, keep)[0]
        return function(*arguments, **(options or {}))


def number(x: Tensor) -> Any:  # noqa: ANN401  (a number)
    """Read a number from a tensor that has no values."""
    if not (x.is_meta or isinstance(x, FakeTensor)):
        return NotImplemented
    return False if x.dtype is torch.bool else 1


def copied(x: Tensor, **options: Any) -> Any:  # noqa: ANN401
    """Copy to the processor from a device that has no values."""
    to = options.get("device")
    if not x.is_meta or to is None or torch.device(to).type == "meta":
        return NotImplemented
    return torch.zeros(x.shape, dtype=options.get("dtype") or x.dtype, device=to)


def eigenvectors(x: Tensor, *_: object, **__: object) -> Any:  # noqa: ANN401
    """Leave out the decomposition of matrices whose values are not known; it takes minutes."""
    real = torch.zeros((), dtype=x.dtype).real.dtype
    return torch.ones(x.shape[:-1], dtype=real, device=x.device), torch.zeros_like(x)


ANSWERS: Mapping[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: number,
    aten._to_copy.default: copied,
    aten._linalg_eigh.default: eigenvectors,
}
"""Operations that need values."""
