"""Files of other people's models as tensors of a component; nothing in them is executed.

An exported program (`.pt2` of torch 2.8 and later) is a zip archive: the graph as JSON, and the
weights as raw bytes with a table beside them. What is pickled in it (the sample inputs always, and
weights that cannot be written raw) is not read, and a program that needs it is refused.
"""

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.foreign.graph import DTYPES, reduced
from tasks.store import read_bytes

__all__ = ["as_bytes", "read_model", "read_numbers"]

FORMATS = {".onnx": "onnx", ".pt2": "program", ".pt": "torchscript", ".ts": "torchscript"}
MODEL, CONFIG = "models/model.json", "data/{0}/model_{0}_config.json"


def read_model(address: str, step: int) -> tuple[str, dict[str, Tensor]]:
    """Return the format of a model's file and the tensors that keep it.

    Args:
        address: Local path or s3:// address of the file.
        step: Step of the model [h].

    Raises:
        ValueError: There is no such file, or it is none that can be kept.
    """
    form = next((f for end, f in FORMATS.items() if address.endswith(end)), None)
    if form is None:
        allowed = ", ".join(FORMATS)
        raise ValueError(f"{address}: a model's file ends in one of {allowed}")
    data = content(address)
    if form != "program":
        return form, {f"model.{step}": as_bytes(data)}
    try:
        graph, weights = read_program(data)
    except ValueError as error:
        raise ValueError(f"{address}: {error}") from None
    except (KeyError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{address}: not a program of torch.export: {error!r}") from None
    kept = {f"weights.{step}.{name}": tensor for name, tensor in weights.items()}
    return form, {f"graph.{step}": as_bytes(graph)} | kept


def read_numbers(address: str, count: int) -> Tensor:
    """Return one number for each channel from a NumPy file without pickled objects.

    Raises:
        ValueError: The file is none, or has another number of numbers.
    """
    try:
        values = np.load(BytesIO(content(address)), allow_pickle=False)
        found = torch.from_numpy(np.asarray(values, np.float32).reshape(-1).copy())
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{address}: no NumPy file of numbers: {error}") from None
    if len(found) != count or not found.isfinite().all():
        raise ValueError(f"{address}: has {len(found)} numbers; needed: {count}, all finite")
    return found


def content(address: str) -> bytes:
    """Return the bytes of a file."""
    try:
        return read_bytes(address)
    except (FileNotFoundError, IsADirectoryError):
        raise ValueError(f"{address}: no such file") from None


def as_bytes(data: bytes) -> Tensor:
    """Return bytes as a tensor."""
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def read_program(data: bytes) -> tuple[bytes, dict[str, Tensor]]:
    """Return the graph of an exported program as JSON, and its tensors by name."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        files = {name.partition("/")[2]: name for name in archive.namelist()}
        if MODEL not in files:
            raise ValueError("no program of torch.export; export with torch 2.8 or later")
        graph = reduced(json.loads(archive.read(files[MODEL])))
        weights: dict[str, Tensor] = {}
        for folder in ("weights", "constants"):
            table = json.loads(archive.read(files[CONFIG.format(folder)]))["config"]
            for name in sorted(set(table) & set(graph["weights"].values())):
                place = table[name]
                if place["use_pickle"] or not place["tensor_meta"]:
                    raise ValueError(f"weight {name!r} is pickled, and no pickle is read")
                raw = archive.read(files[f"data/{folder}/{place['path_name']}"])
                weights[name] = raw_tensor(raw, place["tensor_meta"], name)
    lacking = sorted(set(graph["weights"].values()) - set(weights))
    if lacking:
        raise ValueError(f"weight {lacking[0]!r} is missing")
    return json.dumps(graph, sort_keys=True).encode(), weights


def raw_tensor(raw: bytes, meta: Mapping[str, Any], name: str) -> Tensor:
    """Return a tensor from its bytes and its place in them."""
    if meta["dtype"] not in DTYPES:
        raise ValueError(f"weight {name!r} has a type of numbers that is not kept")
    sizes, strides = ([each["as_int"] for each in meta[key]] for key in ("sizes", "strides"))
    if not raw:
        return torch.zeros(sizes, dtype=DTYPES[meta["dtype"]])
    flat = torch.frombuffer(bytearray(raw), dtype=DTYPES[meta["dtype"]])
    offset = meta["storage_offset"]["as_int"]
    return flat.as_strided(sizes, strides, offset).clone(memory_format=torch.contiguous_format)
