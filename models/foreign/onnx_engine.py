"""ONNX models through onnxruntime, on a GPU where its build has one, else on the processor.

A model is data: it runs only operators of onnxruntime, since no library of others is loaded, and
must be one file (weights in files beside it would be read from wherever the process is).

References:
    | ONNX Runtime, Python API, https://onnxruntime.ai/docs/api/python/api_summary.html
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["OnnxEngine"]

PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxEngine:
    """One model, loaded."""

    def __init__(self, model: bytes, name: str) -> None:
        """Load a model.

        Args:
            model: The file's bytes.
            name: What it is called in messages.

        Raises:
            ValueError: onnxruntime is not installed, or refuses the model.
        """
        try:
            import onnxruntime
        except ImportError:
            raise ValueError(
                f"{name}: onnxruntime is missing; needed: pip install 'losda[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        available = onnxruntime.get_available_providers()
        providers = [provider for provider in PREFERRED if provider in available]
        try:
            self.session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # noqa: BLE001  (onnxruntime's share no class of their own)
            reason = " ".join(str(error).split())
            raise ValueError(f"{name}: not an ONNX model that can be run: {reason}") from None
        for given in (*self.session.get_inputs(), *self.session.get_outputs()):
            if given.type != "tensor(float)":
                raise ValueError(f"{name}: {given.name!r} is {given.type}; allowed: tensor(float)")

    @property
    def shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """The inputs' names and shapes; None where any length will do."""
        return {
            given.name: tuple(n if isinstance(n, int) else None for n in given.shape)
            for given in self.session.get_inputs()
        }

    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the outputs by name."""
        arrays = {name: value.float().contiguous().numpy() for name, value in inputs.items()}
        names = [given.name for given in self.session.get_outputs()]
        found = self.session.run(names, arrays)
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}
