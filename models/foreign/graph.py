"""Exported torch programs, run without trusting them: a graph of ATen operators, and tensors.

`torch.export.load` unpickles weights that say so and the sample inputs, evaluates the text of
symbolic expressions and executes the text of guards. Here the graph is plain JSON in
`torch.export`'s own terms (schema 8 and later, torch 2.8 on), weights are safetensors, and each
node is one ATen operator called by name: no Python, no pickle and no compiled code of others is
ever run. In return shapes are fixed, and there are no control flow and no custom operators.

References:
    | torch.export, the exported IR, https://docs.pytorch.org/docs/stable/export/ir_spec.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

__all__ = ["DTYPES", "GraphEngine", "reduced"]

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
MEMORY = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
TARGET = re.compile(r"torch\.ops\.aten\.([a-z0-9_]+)\.([A-Za-z0-9_]+)")
FILES = {"from_file", "save"}
PLAIN = {"as_int", "as_ints", "as_bool", "as_bools", "as_string", "as_float", "as_floats"}
WEIGHTS = ("parameter", "buffer", "tensor_constant")
Node = Mapping[str, Any]
Values = dict[str, Any]


class GraphEngine:
    """One program, loaded."""

    def __init__(self, graph: bytes, weights: Mapping[str, Tensor], name: str) -> None:
        """Check a graph and find its operators.

        Args:
            graph: JSON that `reduced` made.
            weights: Parameters, buffers and constants by name.
            name: What it is called in messages.

        Raises:
            ValueError: The graph has something that is not run here.
        """
        self.name = name
        try:
            document = json.loads(graph)
            self.inputs: dict[str, list[int]] = document["inputs"]
            self.outputs: list[str] = document["outputs"]
            self.nodes: list[Node] = document["nodes"]
            own = {place: weights[key] for place, key in document["weights"].items()}
            self.operators = [operator(node["target"]) for node in self.nodes]
            for node, run in zip(self.nodes, self.operators, strict=True):
                check_writes(node, run, own)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{name}: not a program that can be run: {error!r}") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        self.weights = own
        self.dropped = last_uses(self.nodes, {*own, *self.outputs})

    @property
    def shapes(self) -> Mapping[str, tuple[int | None, ...]]:
        """The inputs' names and shapes."""
        return {name: tuple(shape) for name, shape in self.inputs.items()}

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the outputs by name.

        Raises:
            ValueError: A node does not fit its operator.
        """
        values: Values = {**self.weights, **{n: copied(inputs[n]) for n in self.inputs}}
        for node, run, dropped in zip(self.nodes, self.operators, self.dropped, strict=True):
            try:
                found = run(**{a["name"]: value_of(a["arg"], values) for a in node["inputs"]})
                keep(node["outputs"], found, values)
            except (RuntimeError, KeyError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split())
                raise ValueError(f"{self.name}: {node['target']}: {reason}") from None
            for place in dropped:
                values.pop(place, None)
        return {place: values[place] for place in self.outputs}


def operator(target: str) -> OpOverload:
    """Return the ATen operator of a name.

    Raises:
        ValueError: It is another function, or one that touches files.
    """
    found = TARGET.fullmatch(target)
    packet = getattr(torch.ops.aten, found[1], None) if found else None
    overload = getattr(packet, found[2], None) if found and packet is not None else None
    if found is None or not isinstance(overload, OpOverload) or found[1] in FILES:
        raise ValueError(f"operator {target!r} is not run; allowed: those of ATen, without files")
    if any(argument.name == "filename" for argument in overload._schema.arguments):
        raise ValueError(f"operator {target!r} touches files and is not run")
    return overload


def check_writes(node: Node, run: OpOverload, weights: Mapping[str, Tensor]) -> None:
    """Refuse an operator that changes a weight, with which no forecast could be repeated."""
    written = {a.name for a in run._schema.arguments if a.alias_info and a.alias_info.is_write}
    for argument in node["inputs"]:
        place = argument["arg"].get("as_tensor", {}).get("name")
        if argument["name"] in written and place in weights:
            raise ValueError(f"operator {node['target']!r} changes the weight {place!r}")


def copied(x: Tensor) -> Tensor:
    """Return a copy, which a program may overwrite."""
    return x.clone(memory_format=torch.contiguous_format)


def value_of(argument: Mapping[str, Any], values: Values) -> Any:  # noqa: ANN401
    """Return an argument of an operator; tensors are looked up.

    Raises:
        ValueError: It is of a kind that is not run here.
    """
    kind, value = next(iter(argument.items()))
    match kind:
        case "as_tensor":
            return values[value["name"]]
        case "as_tensors":
            return [values[each["name"]] for each in value]
        case "as_optional_tensor" | "as_optional_tensors":
            several = value if isinstance(value, list) else [value]
            found = [value_of(each, values) for each in several]
            return found if isinstance(value, list) else found[0]
        case "as_none":
            return None
        case "as_float":
            return float(value)
        case _ if kind in PLAIN:
            return value
        case "as_scalar_type":
            return DTYPES[value]
        case "as_memory_format":
            return MEMORY[value]
        case "as_layout":
            return torch.strided
        case "as_device":
            return torch.device("cpu")
        case "as_sym_int" if "as_int" in value:
            return value["as_int"]
        case "as_sym_ints" if all("as_int" in each for each in value):
            return [each["as_int"] for each in value]
    raise ValueError(f"arguments {kind[3:]!r} are not run; allowed: tensors and fixed numbers")


def keep(outputs: Sequence[Mapping[str, Any]], found: Any, values: Values) -> None:  # noqa: ANN401
    """Keep what an operator returned under the names of its outputs."""
    several = list(found) if len(outputs) > 1 else [found][: len(outputs)]
    for output, result in zip(outputs, several, strict=True):
        kind, value = next(iter(output.items()))
        if kind == "as_tensor":
            values[value["name"]] = result
        elif kind == "as_tensors":
            pairs = zip(value, result, strict=True)
            values.update((each["name"], part) for each, part in pairs)
        elif kind != "as_none":
            raise ValueError(f"results {kind[3:]!r} are not run; allowed: tensors")


def last_uses(nodes: Sequence[Node], kept: set[str]) -> list[list[str]]:
    """Return for each node the values that no later one needs."""
    dropped: list[list[str]] = [[] for _ in nodes]
    seen = set(kept)
    for number in range(len(nodes) - 1, -1, -1):
        names = re.findall(
            r'"name": "([^"]+)"', json.dumps([a["arg"] for a in nodes[number]["inputs"]])
        )
        dropped[number] = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(names)
    return dropped


def reduced(program: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `GraphEngine` needs of `torch.export`'s document of a program.

    Raises:
        ValueError: The program has no fixed shapes, or changes its weights.
    """
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    weights, inputs = {}, {}
    for spec in signature["input_specs"]:
        kind, value = next(iter(spec.items()))
        if kind == "user_input" and "as_tensor" in value["arg"]:
            name = value["arg"]["as_tensor"]["name"]
            inputs[name] = fixed_shape(name, graph["tensor_values"][name])
        elif kind in WEIGHTS:
            weights[value["arg"]["name"]] = value[f"{kind}_name"]
        else:
            raise ValueError(f"inputs {kind!r} are not run; allowed: tensors")
    outputs = []
    for spec in signature["output_specs"]:
        kind, value = next(iter(spec.items()))
        if kind != "user_output" or "as_tensor" not in value["arg"]:
            raise ValueError(f"outputs {kind!r} are not run; allowed: tensors")
        outputs.append(value["arg"]["as_tensor"]["name"])
    parts = ("target", "inputs", "outputs")
    nodes = [{part: node[part] for part in parts} for node in graph["nodes"]]
    return {"inputs": inputs, "weights": weights, "outputs": outputs, "nodes": nodes}


def fixed_shape(name: str, meta: Mapping[str, Any]) -> list[int]:
    """Return the shape of an input in single precision."""
    if meta["dtype"] != 7 or not all("as_int" in size for size in meta["sizes"]):
        raise ValueError(
            f"input {name!r}: allowed are float32 and fixed lengths; export without dynamic shapes"
        )
    return [size["as_int"] for size in meta["sizes"]]
