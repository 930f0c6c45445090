"""The working directory of a training: one file for each product, written whole or not at all.

    DIRECTORY/training.json            what is trained; another configuration is refused
    DIRECTORY/NAME.npy                 large arrays (trajectories), read through a memory map
    DIRECTORY/NAME.safetensors         finished products
    DIRECTORY/NAME.partial.safetensors the state of a training that goes on

A step is done if and only if its product exists, so a killed training goes on with the step, or
the iteration, that it had reached.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from models.training.trainer import Trainer
from tasks.store import write_bytes

__all__ = ["Workshop"]


class Workshop:
    """Products of a training on the local disk."""

    def __init__(self, directory: str | Path) -> None:
        """Use a directory, made if it does not exist."""
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)

    def claim(self, configuration: Mapping[str, object]) -> None:
        """Bind the directory to a configuration.

        Raises:
            ValueError: The directory holds a training of another configuration.
        """
        path = self.directory / "training.json"
        text = json.dumps(configuration, indent=1, sort_keys=True, default=str)
        if not path.exists():
            write_bytes(str(path), text.encode())
        elif (there := json.loads(path.read_text())) != (here := json.loads(text)):
            keys = [k for k in sorted({*there, *here}) if there.get(k) != here.get(k)]
            raise ValueError(
                f"{path}: {keys[0]} is {there.get(keys[0])!r} there and {here.get(keys[0])!r} "
                "here; train another configuration in another directory (--out)"
            )

    def path(self, name: str) -> Path:
        """Return the path of a product of tensors."""
        return self.directory / f"{name}.safetensors"

    def tensors(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return a product, made and kept if it does not exist."""
        path = self.path(name)
        if not path.exists():
            tensors = {key: value.contiguous() for key, value in make().items()}
            unfinished = path.with_name(f"{name}.{os.getpid()}.unfinished")
            save_file(tensors, unfinished)  # pairs are gigabytes: no copy as bytes
            unfinished.replace(path)
        return load_file(path)

    def array(self, name: str) -> NDArray[np.float32] | None:
        """Return a finished array as a read-only memory map, or None."""
        path = self.directory / f"{name}.npy"
        return np.load(path, mmap_mode="r") if path.exists() else None

    @contextmanager
    def new_array(self, name: str, shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
        """Open an array for writing; it appears under its name when the block ends."""
        path = self.directory / f"{name}.npy"
        partial = path.with_suffix(".partial.npy")
        array = open_memmap(partial, "w+", np.float32, shape)
        yield array
        array.flush()
        partial.replace(path)

    def train(
        self, name: str, trainer: Trainer, progress: Callable[[Trainer], None], every: int = 100
    ) -> None:
        """Run a trainer from where it was interrupted, and keep its state on the way."""
        path = self.directory / f"{name}.partial.safetensors"
        if path.exists():
            trainer.restore(load_file(path))

        def keep(state: Trainer) -> None:
            progress(state)
            if state.iteration % every == 0:
                tensors = {key: value.contiguous() for key, value in state.tensors().items()}
                write_bytes(str(path), save(tensors), durable=False)

        trainer.run(keep)
