"""The processes and the device of a training, from its configuration and from torchrun.

torchrun starts the same command several times, each with RANK, WORLD_SIZE and LOCAL_RANK in its
environment, and ends all if one ends badly. Without them a training is alone.
"""

import os
from datetime import timedelta

import torch
from torch import distributed

from configs.training import Train
from models.training.processes import ALONE, Processes

__all__ = ["device_of", "join", "leave"]

#: A process may wait as long as the first one needs for forecasts and cycles.
TIMEOUT = timedelta(days=7)
NETWORKS = ("autoencoder", "model_error", "denoiser", "emulator")


def join(settings: Train) -> Processes:
    """Join the processes that torchrun started, if it did.

    Raises:
        ValueError: They cannot have equal parts of a batch.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in os.environ:
        return ALONE
    for name in NETWORKS:
        batch = getattr(settings, name).batch
        if batch % count:
            raise ValueError(
                f"train.{name}.batch: {batch}; must be a multiple of the {count} processes"
            )
    device = device_of(settings)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=TIMEOUT)
    return Processes(distributed.get_rank(), count)


def leave(processes: Processes) -> None:
    """Close the group of the processes, when all that they do together is done."""
    if processes.count > 1:
        distributed.destroy_process_group()


def device_of(settings: Train) -> torch.device:
    """Return the device of this process.

    Raises:
        ValueError: There is no such device.
    """
    asked, there = settings.computing.device, torch.cuda.device_count()
    if asked == "cpu" or (asked == "auto" and not there):
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    number = local if asked in ("auto", "cuda") else torch.device(asked).index
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and number != local:
        raise ValueError(
            f"train.computing.device: {asked!r}; of several processes each takes a device of its "
            "own, allowed: auto, cpu, cuda"
        )
    if number >= there:
        allowed = ", ".join(["auto", "cpu", *(f"cuda:{k}" for k in range(there))])
        name = f"{asked!r} is cuda:{number}" if asked != f"cuda:{number}" else repr(asked)
        raise ValueError(f"train.computing.device: {name}, which is not here; allowed: {allowed}")
    return torch.device("cuda", number)
