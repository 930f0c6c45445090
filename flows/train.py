"""The flow `train`: trajectories → statistics → autoencoder → prior → registry, resumable.

Every task keeps its product in the working directory and returns at once if it is there, so the
same command goes on where a killed one stopped. The embedded world trains on nature runs of its
own; a configuration with data trains on `train.period` and is judged on `train.validation`.

Started by torchrun, the processes train each network together. The first one is the flow, makes all
else and alone writes and prints; the others follow it through the same steps.
"""

import sys
import time
from typing import Any

from configs import Config
from flows import server

__all__ = ["train"]


def report(text: str) -> None:
    """Write a line of progress to standard error."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def train(config: Config, registry: str, directory: str) -> dict[str, Any] | None:
    """Train and publish the components of a configuration.

    Args:
        config: What to train for.
        registry: Address of the registry to publish to.
        directory: Working directory.

    Returns:
        The digests of the components and their scores; None in a process that follows.

    Raises:
        ValueError: The configuration or the data are wrong.
    """
    from tasks.training_processes import join, leave
    from tasks.workshop import Workshop

    processes = join(config.train)
    if not processes.leads:
        from flows.training import follow

        follow(config, directory, processes)
        leave(processes)
        return None
    api = server.start()
    from flows.training import train_flow

    Workshop(directory).claim(config.train)
    api.wait()
    began = time.perf_counter()
    document: dict[str, Any] = train_flow(config, registry, directory, processes)
    leave(processes)
    return document | {"seconds": time.perf_counter() - began}
