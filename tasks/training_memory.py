"""The memory of a training step, counted where tensors have shapes only (`tasks.live_memory`).

One step of each network with its batch: forward and backward pass under the precision and the
recomputation that the training has (`models.training.execution`), beside weights, gradients, the two
moments of the optimizer and the averaged weights. The loss is a plain mean square.
"""

from collections.abc import Callable, Sequence

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from models.training.execution import Execution
from tasks.live_memory import LiveMemory
from tasks.untrained import Network

__all__ = ["COPIES", "training_memory"]

#: Weights, gradients, two moments of the optimizer, averaged weights.
COPIES = 5


def training_memory(build: Callable[[], Sequence[Network]], execution: Execution) -> list[int]:
    """Return the memory of a training step of each network [bytes].

    Args:
        build: Makes the networks.
        execution: How their blocks are computed.
    """
    # autocast does not know the device `meta`; here the processor stands for any device
    with FakeTensorMode(), LiveMemory(torch.device("cpu")) as memory:
        return [step_memory(network, execution, memory) for network in build()]


def step_memory(network: Network, execution: Execution, memory: LiveMemory) -> int:
    """Return the memory of a training step of one of the networks that are there [bytes]."""
    parameters = list(network.module.parameters())
    others = memory.now - sum(p.untyped_storage().nbytes() for p in parameters)
    held = [torch.empty_like(p) for p in parameters for _ in range(COPIES - 2)]
    memory.restart()
    with execution.of(network.module):
        network.forward(network.batch).square().mean().backward()  # type: ignore[no-untyped-call]
    for parameter in parameters:
        parameter.grad = None
    del held
    return memory.peak - others
