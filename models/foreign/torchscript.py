"""TorchScript programs: code of others, run only where the configuration trusts it.

`torch.jit.load` does not use Python's pickle, but a script may call any operator of torch, also
those that write files. `torch.export` has replaced the format (see `models.foreign.graph`).
"""

import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["TorchScriptEngine"]


class TorchScriptEngine:
    """One program, loaded; the file does not say the shapes, so the layout does."""

    def __init__(self, model: bytes, shapes: Sequence[tuple[int, ...]], name: str) -> None:
        """Load a program.

        Args:
            model: The file's bytes.
            shapes: Shapes of the inputs in their order.
            name: What it is called in messages.

        Raises:
            ValueError: It is no TorchScript, or has another number of inputs.
        """
        try:
            self.module = torch.jit.load(io.BytesIO(model), map_location="cpu")  # type: ignore[no-untyped-call]
        except AttributeError:
            raise ValueError(f"{name}: TorchScript is off; needed: PYTORCH_JIT=1") from None
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"{name}: not a TorchScript program: {reason}") from None
        self.module.eval()
        names = [argument.name for argument in self.module.forward.schema.arguments[1:]]
        if len(names) != len(shapes):
            raise ValueError(f"{name}: has {len(names)} inputs, the layout has {len(shapes)}")
        self.own = dict(zip(names, shapes, strict=True))

    @property
    def shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """The inputs' names and shapes."""
        return {name: tuple(shape) for name, shape in self.own.items()}

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the outputs by number."""
        found = self.module(
            *(inputs[name].clone(memory_format=torch.contiguous_format) for name in self.own)
        )
        several = [found] if isinstance(found, Tensor) else list(found)
        return {str(number): output for number, output in enumerate(several)}
