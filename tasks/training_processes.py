"""The processes and the device of a training, from its configuration and from torchrun.

torchrun starts the same command several times, each with RANK, WORLD_SIZE and LOCAL_RANK in its
environment, and ends all if one ends badly. Without them a training is alone.
"""

import os
from datetime import timedelta

import torch
from torch import distributed

from configs.training import Train
from models.device import CPU, device_of
from models.training.processes import ALONE, Processes

__all__ = ["join", "leave", "own_device"]

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
    device = own_device(settings)
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


def own_device(settings: Train) -> torch.device:
    """Return the device of this process.

    Raises:
        ValueError: There is no such device, or another process has it.
    """
    setting, asked = "train.computing.device", settings.computing.device
    if asked == "cpu" or (asked == "auto" and device_of(asked) == CPU):
        return CPU
    own = int(os.environ.get("LOCAL_RANK", "0"))
    number = own if asked in ("auto", "cuda") else torch.device(asked).index
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and number != own:
        raise ValueError(
            f"{setting}: {asked!r}; of several processes each takes a device of its own, "
            "allowed: auto, cpu, cuda"
        )
    return device_of(f"cuda:{number}", setting)
