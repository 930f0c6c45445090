"""Datasets as the documents and chunks of Zarr v3, each a pure function of its content.

A time is one file of every variable, so adding a time adds files and changes none; only the length
in the metadata grows. The file is one chunk, or where maps are large a shard of them: who reads one
map at all times then reads little else, and who reads all maps of one time has one file a variable
(`tests/benchmarks/test_archive_speed.py` times both). The chunks of the coordinate `time` hold TIMES values each, which
start, step and position determine, also beyond the length (readers ignore those), so they never
change either. Nothing here knows the date, the machine or what is there already.

References:
    Zarr core specification, version 3,
    https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np
import pandas as pd
import xarray as xr
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from pydantic import JsonValue

__all__ = [
    "METADATA",
    "TIMES",
    "Document",
    "Series",
    "chunk_key",
    "decode_file",
    "dump",
    "encode_chunk",
    "length_of",
    "time_chunks",
]

METADATA = "zarr.json"
TIMES = 1024
LEVEL = 1
#: Maps of at least so many bytes are chunks of their own.
SHARDED = 2**16
INDEX_SIZE, CHECKSUM_SIZE = 16, 4
#: For these: 0.74 of the size of 69 x 128 x 256 smooth fields, packed with 2.1 GB/s and unpacked with
#: 5 GB/s a core; zstd at level 1 takes 0.86, 0.9 GB/s and 1.6 GB/s.
LZ4 = Blosc("lz4", 5, Blosc.SHUFFLE)
EPOCH = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}

Document = dict[str, JsonValue]


def encode_chunk(values: NDArray[np.generic]) -> bytes:
    """Return the bytes of a chunk: little endian, C order, zstd."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return bytes(Zstd(level=LEVEL).encode(little))


def encode_shard(maps: Sequence[NDArray[np.generic]]) -> bytes:
    """Return the bytes of a shard: chunks one after the other, then where they are and a checksum."""
    parts = [bytes(LZ4.encode(np.ascontiguousarray(v, v.dtype.newbyteorder("<")))) for v in maps]
    sizes = np.array([len(part) for part in parts], "<u8")
    index = np.stack([np.cumsum(sizes) - sizes, sizes], 1).astype("<u8").tobytes()
    checksum = google_crc32c.value(index).to_bytes(4, "little")
    return b"".join([*parts, index, checksum])


def decode_file(data: bytes, document: Mapping[str, Any]) -> NDArray[np.generic]:
    """Return the values of a file of one time, with the dimension of time.

    Args:
        data: All of the file.
        document: The metadata of its array.

    Raises:
        ValueError: It is not a file that this module wrote.
    """
    shape = document["chunk_grid"]["configuration"]["chunk_shape"]
    kind = np.dtype(document["data_type"]).newbyteorder("<")
    codec = document["codecs"][0]
    if codec["name"] != "sharding_indexed":
        return np.frombuffer(Zstd().decode(data), kind).reshape(shape)
    values = np.empty(shape, kind)
    maps = values.reshape(-1, *shape[-2:])
    index = data[-INDEX_SIZE * len(maps) - CHECKSUM_SIZE : -CHECKSUM_SIZE]
    if google_crc32c.value(index) != int.from_bytes(data[-CHECKSUM_SIZE:], "little"):
        raise ValueError("the index of a shard has another checksum")
    for part, (start, size) in zip(maps, np.frombuffer(index, "<u8").reshape(-1, 2), strict=True):
        LZ4.decode(memoryview(data)[start : start + size], out=part)
    return values


def chunk_key(document: Mapping[str, Any], index: int) -> str:
    """Return the name of the file of one time in the folder of its array."""
    return ".".join(["c", str(index), *("0" for _ in document["shape"][1:])])


def is_sharded(variable: xr.Variable) -> bool:
    """Return whether the maps of a variable are chunks of their own, in one shard for each time."""
    maps = math.prod(variable.shape[:-2])
    return variable.dims[:1] == ("time",) and maps > 1 and variable.nbytes >= maps * SHARDED


def length_of(names: tuple[str, ...]) -> int:
    """Return the number of times of a variable whose folder has these files."""
    return max((int(name.split(".")[1]) + 1 for name in names if name.startswith("c.")), default=0)


def time_chunks(start: pd.Timestamp, step: pd.Timedelta, block: int) -> dict[str, bytes]:
    """Return a chunk of the coordinate of a series of times by file name.

    Args:
        start: First time.
        step: Time between times.
        block: Number of the chunk.
    """
    zero, first = np.datetime64(0, "s"), np.datetime64(start, "s")
    times = first + np.timedelta64(step, "s") * (block * TIMES + np.arange(TIMES))
    return {f"time/c.{block}": encode_chunk((times - zero).astype(np.int64))}


@dataclass(frozen=True)
class Series:
    """A regular series of times, given by the dataset of one of them.

    Attributes:
        dataset: One time of every variable, and the coordinates.
        start: First time.
        step: Time between times.
        index: Position of the dataset's time.
    """

    dataset: xr.Dataset
    start: pd.Timestamp
    step: pd.Timedelta
    index: int

    @cached_property
    def growing(self) -> tuple[str, ...]:
        """Names of the variables with a dimension of time, without `time`."""
        names = (str(name) for name in self.dataset.data_vars)
        return tuple(name for name in names if self.dataset[name].dims[:1] == ("time",))

    def chunks(self) -> dict[str, bytes]:
        """Return the chunks of this time and of the coordinates by file name."""
        contents = time_chunks(self.start, self.step, self.index // TIMES)
        for name, variable in self._variables().items():
            position = [self.index if dim == "time" else 0 for dim in variable.dims]
            key = ".".join(["c", *map(str, position)])
            if name != "time":
                contents[f"{name}/{key}"] = _encoded(variable)
        return contents

    def changing(self, contents: dict[str, bytes], settled: bool) -> dict[str, bytes]:
        """Return the files, without those that no time changes if these are `settled`."""
        if not settled:
            return contents
        kept = {*self.growing, "time", METADATA}
        return {name: data for name, data in contents.items() if name.split("/")[0] in kept}

    def documents(self, length: int) -> dict[str, bytes]:
        """Return the metadata of a series of this length by file name, the group's last.

        The group's holds all the others', so that a reader who takes it sees one instant.
        """
        arrays = {name: _array(name, v, length) for name, v in self._variables().items()}
        contents = {f"{name}/{METADATA}": dump(array) for name, array in arrays.items()}
        return contents | {METADATA: dump(self.group(length))}

    def group(self, length: int) -> Document:
        """Return the metadata of the group."""
        arrays = {name: _array(name, v, length) for name, v in self._variables().items()}
        attributes = {str(key): value for key, value in self.dataset.attrs.items()}
        attributes |= {"start": self.start.isoformat(), "step": self.step.isoformat()}
        inline: Document = {"kind": "inline", "must_understand": False, "metadata": {**arrays}}
        return {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": attributes,
            "consolidated_metadata": inline,
        }

    def _variables(self) -> Mapping[str, xr.Variable]:
        return {str(name): variable for name, variable in self.dataset.variables.items()}


def _encoded(variable: xr.Variable) -> bytes:
    """Return the bytes of one time of a variable."""
    if not is_sharded(variable):
        return encode_chunk(variable.values)
    return encode_shard(list(variable.values.reshape(-1, *variable.shape[-2:])))


def _codecs(variable: xr.Variable) -> list[JsonValue]:
    """Return how the bytes of one time of a variable are made."""
    little: Document = {"name": "bytes", "configuration": {"endian": "little"}}
    if not is_sharded(variable):
        zstd: Document = {"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}}
        return [little, zstd]
    lz4: Document = {
        "cname": "lz4",
        "clevel": LZ4.clevel,
        "shuffle": "shuffle",
        "typesize": variable.dtype.itemsize,
        "blocksize": 0,
    }
    inner: list[JsonValue] = [*([1] * (variable.ndim - 2)), *variable.shape[-2:]]
    settings: Document = {
        "chunk_shape": inner,
        "codecs": [little, {"name": "blosc", "configuration": lz4}],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": settings}]


def _array(name: str, variable: xr.Variable, length: int) -> Document:
    """Return the metadata of one array."""
    chunk: list[JsonValue] = [TIMES] if name == "time" else [*variable.shape]
    shape: list[JsonValue] = [*variable.shape]
    if variable.dims[:1] == ("time",):
        shape[0] = length
    attributes = {str(key): value for key, value in variable.attrs.items()}
    document: Document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "int64" if name == "time" else str(variable.dtype),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "NaN" if variable.dtype.kind == "f" else 0,
        "codecs": _codecs(variable),
        "attributes": attributes | (EPOCH if name == "time" else {}),
        "storage_transformers": [],
    }
    if variable.dims:
        document["dimension_names"] = [str(dim) for dim in variable.dims]
    return document


def dump(document: Document) -> bytes:
    """Return a document as it is written."""
    return json.dumps(document, indent=1).encode() + b"\n"
