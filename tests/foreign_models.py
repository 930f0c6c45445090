"""Small models in the layouts of published ones, made by the tests that use them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
UNITS = {"z": "m2 s-2", "q": "kg kg-1", "t": "K", "u": "m s-1", "v": "m s-1"}


def turned(source: str, target: str, columns: int, by: int) -> list[onnx.NodeProto]:
    """Turn the last axis eastward by some columns."""
    parts = {"a": (columns - by, columns), "b": (0, columns - by)}
    nodes = [
        helper.make_node(
            "Slice", [source, f"{p}0_{target}", f"{p}1_{target}", "axis"], [f"{p}_{target}"]
        )
        for p in parts
    ]
    join = helper.make_node("Concat", [f"a_{target}", f"b_{target}"], [target], axis=-1)
    return [*nodes, join]


def turn_numbers(target: str, columns: int, by: int) -> list[onnx.TensorProto]:
    numbers = {"a0": columns - by, "a1": columns, "b0": 0, "b1": columns - by}
    return [
        numpy_helper.from_array(np.array([value]), f"{name}_{target}")
        for name, value in numbers.items()
    ]


def saved(path: Path, nodes: Sequence[onnx.NodeProto], inputs: dict[str, list[object]],
          outputs: dict[str, list[object]], numbers: Sequence[onnx.TensorProto]) -> str:  # fmt: skip
    ports = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in port.items()]
        for port in (inputs, outputs)
    ]
    graph = helper.make_graph(list(nodes), "model", *ports, list(numbers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return str(path)


def pangu(path: Path, rows: int, columns: int, by: int, add: float = 0.0) -> str:
    """Write a model of Pangu's layout that turns all fields, and adds to the surface."""
    upper, surface = [5, 13, rows, columns], [4, rows, columns]
    nodes = [*turned("input", "output", columns, by), *turned("input_surface", "s", columns, by)]
    nodes.append(helper.make_node("Add", ["s", "add"], ["output_surface"]))
    numbers = turn_numbers("output", columns, by) + turn_numbers("s", columns, by)
    numbers += [numpy_helper.from_array(np.array([-1]), "axis")]
    numbers += [numpy_helper.from_array(np.array([add], np.float32), "add")]
    inputs = {"input": upper, "input_surface": surface}
    outputs = {"output": upper, "output_surface": surface}
    return saved(path, nodes, inputs, outputs, numbers)


def fengwu(path: Path, rows: int, columns: int, channels: int = 69) -> str:
    """Write a model of FengWu's layout that goes on in a straight line, 2 x(t) - x(t - 6 h)."""
    numbers = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in (
            ("zero", [0]),
            ("half", [channels]),
            ("all", [2 * channels]),
            ("axis", [1]),
        )
    ]
    numbers.append(numpy_helper.from_array(np.array(2.0, np.float32), "two"))
    nodes = [
        helper.make_node("Slice", ["input", "zero", "half", "axis"], ["before"]),
        helper.make_node("Slice", ["input", "half", "all", "axis"], ["now"]),
        helper.make_node("Mul", ["now", "two"], ["double"]),
        helper.make_node("Sub", ["double", "before"], ["next"]),
        helper.make_node("Concat", ["next", "now"], ["output"], axis=1),  # the second is not used
    ]
    shape: list[object] = ["batch", 2 * channels, rows, columns]
    return saved(path, nodes, {"input": shape}, {"output": shape}, numbers)


class Turning(nn.Module):
    """A torch model of the layout `channels`: all fields eastward by one column, and a network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.tail = nn.Conv2d(8, channels, 1)
        self.register_buffer("weight", torch.linspace(0.0, 1e-3, channels)[:, None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = nn.functional.gelu(self.norm(self.convolution(x)))
        rows = h.flatten(2).transpose(1, 2)
        first, second = self.attention(rows, rows, rows, need_weights=False)[0].chunk(2, dim=-1)
        h = h + torch.cat([second, first], -1).transpose(1, 2).view_as(h)
        h = nn.functional.pad(h, (1, 1, 0, 0), mode="circular")[..., 1:-1]
        turned = torch.cat([x[..., -1:], x[..., :-1]], -1)
        return turned + self.weight * self.tail(h) + torch.zeros(1, dtype=torch.float32)


def program(path: Path, model: nn.Module, *shapes: tuple[int, ...]) -> str:
    """Export a torch model."""
    given = tuple(torch.zeros(shape) for shape in shapes)
    torch.export.save(torch.export.export(model.eval(), given), str(path))
    return str(path)
