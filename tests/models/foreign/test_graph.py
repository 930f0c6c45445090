import io
import json
import pickle  # noqa: TID251  (an attack in a file)
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.foreign.graph import GraphEngine
from models.foreign.torchscript import TorchScriptEngine
from tasks.adoption_files import read_model
from tests.foreign_models import Turning, program


def loaded(address: str) -> GraphEngine:
    form, tensors = read_model(address, 6)
    assert form == "program"
    start = "weights.6."
    weights = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    return GraphEngine(tensors["graph.6"].numpy().tobytes(), weights, "model")


def test_an_exported_program_gives_what_the_model_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Turning(3)
    engine = loaded(program(tmp_path / "m.pt2", model, (1, 3, 8, 16)))
    x = torch.randn(1, 3, 8, 16)
    with torch.no_grad():
        assert torch.equal(next(iter(engine({"x": x}).values())), model(x))
    assert engine.shapes == {"x": (1, 3, 8, 16)}


class Many(nn.Module):
    """Several inputs and outputs, a constant, a scan of types and layouts."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        top = a.topk(2, dim=-1)
        mean = torch.tensor([1.0, 2.0]) * a.mean((-1, -2), keepdim=True)
        rolled = torch.roll(b, 1, -1).to(torch.float64).float()
        up = nn.functional.interpolate(b, scale_factor=2.0, mode="bilinear")
        return mean + top.values.sum(), rolled + up[..., ::2, ::2] * (top.indices.max() >= 0)


def test_programs_with_many_kinds_of_arguments_run(tmp_path: Path) -> None:
    model = Many()
    address = program(tmp_path / "m.pt2", model, (1, 2, 4, 6), (1, 3, 4, 6))
    a, b = torch.randn(1, 2, 4, 6), torch.randn(1, 3, 4, 6)
    found = list(loaded(address)({"a": a, "b": b}).values())
    for own, expected in zip(found, model(a, b), strict=True):
        assert torch.equal(own, expected)


def rewritten(address: str, change: Any) -> str:  # noqa: ANN401
    """Change the files of an archive, by their names without the archive's own."""
    with zipfile.ZipFile(address) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(files)).partition("/")[0]
    own = {name.partition("/")[2]: data for name, data in files.items()}
    change(own)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in own.items():
            archive.writestr(f"{root}/{name}", data)
    Path(address).write_bytes(buffer.getvalue())
    return address


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def test_pickles_in_an_archive_are_not_read(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    def change(files: dict[str, bytes]) -> None:
        files["data/sample_inputs/model.pt"] = pickle.dumps(Evil(marker))

    address = rewritten(program(tmp_path / "m.pt2", Turning(3), (1, 3, 8, 16)), change)
    loaded(address)({"x": torch.zeros(1, 3, 8, 16)})
    assert not marker.exists()
    with suppress(Exception):  # whatever torch says
        torch.export.load(address)
    assert marker.exists(), "torch itself reads it, so the test shows something"


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        name = "data/weights/model_weights_config.json"
        table = json.loads(files[name])
        table["config"]["tail.bias"]["use_pickle"] = True
        files[name] = json.dumps(table).encode()

    address = rewritten(program(tmp_path / "m.pt2", Turning(3), (1, 3, 8, 16)), change)
    with pytest.raises(ValueError, match=r"m\.pt2: weight 'tail\.bias' is pickled, and no pickle"):
        read_model(address, 6)


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.hub.load",
        "_operator.getitem",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.prim.device.default",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten.nothing.default",
        "os.system",
    ],
)
def test_only_operators_of_aten_without_files_are_run(target: str) -> None:
    node = {"target": target, "inputs": [], "outputs": []}
    graph = {"inputs": {}, "outputs": [], "nodes": [node], "weights": {}}
    with pytest.raises(ValueError, match=r"^model: operator '.*' .*not run"):
        GraphEngine(json.dumps(graph).encode(), {}, "model")


class Counting(nn.Module):
    """A model that is another one at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1.0)
        return x + self.count


def test_programs_that_change_their_weights_are_refused(tmp_path: Path) -> None:
    address = program(tmp_path / "m.pt2", Counting(), (1, 3, 8, 16))
    with pytest.raises(ValueError, match=r"buffer_mutation|changes the weight 'b_count'"):
        loaded(address)


class Overwriting(nn.Module):
    """A model that uses its input's memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul(1.0).add_(1.0) + x


def test_a_program_leaves_its_inputs_alone(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 8, 16)
    before = x.clone()
    engine = loaded(program(tmp_path / "m.pt2", Overwriting(), (1, 3, 8, 16)))
    (found,) = engine({"x": x}).values()
    assert torch.equal(x, before) and torch.allclose(found, 2 * x + 1)


def test_free_shapes_are_refused(tmp_path: Path) -> None:
    rows = torch.export.Dim("rows", min=2, max=64)
    free = torch.export.export(
        Turning(3), (torch.zeros(1, 3, 8, 16),), dynamic_shapes=({2: rows},)
    )
    torch.export.save(free, str(tmp_path / "m.pt2"))
    with pytest.raises(ValueError, match=r"input 'x': .* fixed lengths"):
        read_model(str(tmp_path / "m.pt2"), 6)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"m\.pt2: not a program of torch\.export"):
        read_model(str(tmp_path / "m.pt2"), 6)
    with pytest.raises(ValueError, match=r"m\.bin: a model's file ends in one of \.onnx"):
        read_model(str(tmp_path / "m.bin"), 6)
    with pytest.raises(ValueError, match=r"gone\.onnx: no such file"):
        read_model(str(tmp_path / "gone.onnx"), 6)


class Half(nn.Module):
    """A script with a branch, which an exported program cannot have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            return x / 2
        return x


def test_torchscript_that_is_switched_off_is_one_line(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    torch.jit.script(Half()).save(str(tmp_path / "m.pt"))
    code = """
import os, sys
os.environ["PYTORCH_JIT"] = "0"
from models.foreign.torchscript import TorchScriptEngine
try:
    TorchScriptEngine(open(sys.argv[1], "rb").read(), [(1,)], "model")
except ValueError as error:
    print(error)
"""
    out, _ = run_python(code, str(tmp_path / "m.pt")).communicate()
    assert out.strip() == "model: TorchScript is off; needed: PYTORCH_JIT=1"


def test_torchscript_runs_where_it_is_trusted(tmp_path: Path) -> None:
    torch.jit.script(Half()).save(str(tmp_path / "m.pt"))
    form, tensors = read_model(str(tmp_path / "m.pt"), 6)
    assert form == "torchscript"
    data = tensors["model.6"].numpy().tobytes()
    engine = TorchScriptEngine(data, [(1, 3, 8, 16)], "model")
    for sign in (1.0, -1.0):
        x = sign * torch.ones(1, 3, 8, 16)
        assert torch.equal(engine({"x": x})["0"], Half()(x))
    with pytest.raises(ValueError, match="model: not a TorchScript program"):
        TorchScriptEngine(data[:100], [(1, 3, 8, 16)], "model")
