"""The working directory of a training: one file for each product, written whole or not at all.

    DIRECTORY/training.json            what is trained; another configuration is refused
    DIRECTORY/NAME.npy                 large arrays (trajectories), read through a memory map
    DIRECTORY/NAME.safetensors         finished products
    DIRECTORY/NAME.partial.safetensors the state of a training that goes on

A step is done if and only if its product exists, so a killed training goes on with the step, or
the iteration, that it had reached. Of several processes the first alone writes; the others wait for
its products and read them.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from configs.training import Train
from models.training.processes import ALONE, Processes
from models.training.trainer import Trainer
from tasks.messages import first_error
from tasks.store import write_bytes

__all__ = ["Workshop"]


class Workshop:
    """Products of a training on the local disk."""

    def __init__(self, directory: str | Path, processes: Processes = ALONE) -> None:
        """Use a directory, made if it does not exist, with the processes that train together."""
        self.directory, self.processes = Path(directory), processes
        self.directory.mkdir(parents=True, exist_ok=True)

    def claim(self, settings: Train) -> None:
        """Bind the directory to a configuration; what was set by default need not be written there.

        Raises:
            ValueError: The directory holds a training of another configuration.
        """
        path, here = self.directory / "training.json", settings.identity()
        if not path.exists():
            write_bytes(str(path), json.dumps(here, indent=1, sort_keys=True).encode())
        elif (there := identity_in(path)) != here:
            keys = [k for k in sorted(here) if there[k] != here[k]]
            raise ValueError(
                f"{path}: {keys[0]} is {there[keys[0]]!r} there and {here[keys[0]]!r} "
                "here; train another configuration in another directory (--out)"
            )

    def path(self, name: str) -> Path:
        """Return the path of a product of tensors."""
        return self.directory / f"{name}.safetensors"

    def tensors(
        self, name: str, make: Callable[[], Mapping[str, Tensor]], together: bool = False
    ) -> dict[str, Tensor]:
        """Return a product, made and kept if it does not exist.

        Args:
            name: Name of the product.
            make: Makes it.
            together: Whether all processes take part in making it.
        """
        path = self.path(name)
        if not self.processes.agree(path.exists()):
            if together or self.processes.leads:
                made = make()
            if self.processes.leads:
                tensors = {key: value.cpu().contiguous() for key, value in made.items()}
                unfinished = path.with_name(f"{name}.{os.getpid()}.unfinished")
                save_file(tensors, unfinished)  # pairs are gigabytes: no copy as bytes
                unfinished.replace(path)
            self.wait()
        return load_file(path)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.processes.agree(0)

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
        if self.processes.agree(path.exists()):
            trainer.restore(load_file(path))
        self.wait()  # nobody writes while another still reads

        def keep(state: Trainer) -> None:
            progress(state)
            if self.processes.leads and state.iteration % every == 0:
                tensors = {key: value.cpu().contiguous() for key, value in state.tensors().items()}
                write_bytes(str(path), save(tensors), durable=False)

        trainer.run(keep)


def identity_in(path: Path) -> dict[str, Any]:
    """Return what is trained according to a file.

    Raises:
        ValueError: The file is not one that `claim` wrote.
    """
    try:
        return Train.model_validate_json(path.read_bytes()).identity()
    except ValidationError as error:
        place, reason = first_error(error)
        raise ValueError(f"{path}: {place}: {reason}; it says what is trained here") from None
