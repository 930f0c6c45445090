"""One training loop for every network: AdamW, warm-up and cosine decay, averaged weights.

The batch of iteration i is drawn from a generator keyed by (seed, i), so that a training that was
interrupted and goes on from its saved state gives the same weights as one that was not. The same
holds for the number of processes, up to rounding.

References:
    | Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv 1711.05101
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.training.execution import PLAIN, Execution
from models.training.objective import Batch, Objective, Prefetch
from models.training.processes import ALONE, Processes
from models.training.stopping import EarlyStopping

__all__ = ["Trainer", "TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        iterations: Largest number of steps of the optimizer.
        learning_rate: Largest learning rate, reached after the warm-up.
        weight_decay: Decoupled weight decay.
        warm_up: Iterations of linear warm-up.
        averaging: Decay of the exponential average of the weights.
        seed: Seed of the losses.
        execution: How the blocks of the network are computed.
        ahead: Batches that threads draw ahead.
    """

    iterations: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warm_up: int = 100
    averaging: float = 0.995
    seed: int = 0
    execution: Execution = PLAIN
    ahead: int = 0


class Trainer:
    """Trains a module; the averaged weights are the result."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        settings: TrainingSettings,
        stopping: EarlyStopping | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Prepare to train `module`, which is where it shall be trained.

        Args:
            module: What is trained, a part of the objective.
            objective: What is minimized.
            settings: How it is trained.
            stopping: Evaluates the averaged weights and ends the training early.
            processes: Those that train together.

        Raises:
            ValueError: The batch cannot be divided among the processes.
        """
        if objective.batch % processes.count:
            raise ValueError(
                f"a batch of {objective.batch}: {processes.count} processes cannot have equal parts"
            )
        self.module, self.objective, self.settings = module, objective, settings
        self.stopping, self.processes = stopping, processes
        self.parameters = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self.average = {k: p.detach().clone() for k, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.99),
        )
        self.device = next(iter(self.parameters.values())).device
        self.joined = processes.joined(objective)
        self.iteration = 0
        self.curve: list[float] = []
        self.waited = self.spent = 0.0

    @property
    def waiting(self) -> float:
        """Share of the time in which steps waited for their data."""
        return self.waited / self.spent if self.spent else 0.0

    def learning_rate(self) -> float:
        """Return the learning rate of the current iteration."""
        s = self.settings
        warm = min(1.0, (self.iteration + 1) / max(s.warm_up, 1))
        decay = 0.5 * (1 + math.cos(math.pi * min(self.iteration / s.iterations, 1.0)))
        return s.learning_rate * warm * (0.02 + 0.98 * decay)

    def draw(self, iteration: int) -> Batch:
        """Draw this process's part of the batch of an iteration, on the CPU."""
        generator = torch.Generator().manual_seed(self.settings.seed * 10_000_019 + iteration)
        batch = self.objective.draw(generator, self.processes)
        return tuple(t.pin_memory() for t in batch) if self.device.type == "cuda" else batch

    def step(self, batch: Batch) -> float:
        """Take one step of the optimizer and return its loss, the mean over all processes."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        loss = self.joined(tuple(t.to(self.device, non_blocking=True) for t in batch))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.iteration += 1
        decay = min(self.settings.averaging, self.iteration / (9 + self.iteration))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, 1 - decay)
        self.curve.append(self.processes.mean(loss).item())
        return self.curve[-1]

    def run(self, progress: Callable[["Trainer"], None] | None = None) -> None:
        """Train to the end, then put the averaged weights, or the best of them, into the module."""
        s = self.settings
        with s.execution.of(self.module), Prefetch(self.draw, s.ahead, s.iterations) as batches:
            self._evaluate()
            while self.iteration < s.iterations and not self._stopped:
                began = time.perf_counter()
                batch = batches.take(self.iteration)
                self.waited += time.perf_counter() - began
                self.step(batch)
                self.spent += time.perf_counter() - began
                self._evaluate()
                if progress is not None:
                    progress(self)
        self._put(self.average if self.stopping is None else self.stopping.best)

    @property
    def _stopped(self) -> bool:
        return self.stopping is not None and self.stopping.exhausted

    def _evaluate(self) -> None:
        """Evaluate the averaged weights where that is due."""
        if self.stopping is not None and self.stopping.due(self.iteration):
            with self.averaged():
                self.stopping.evaluate(self.iteration, self.average)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the averaged weights in the module as long as the context lasts."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()}
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on later."""
        state = {"iteration": torch.tensor(self.iteration), "curve": torch.tensor(self.curve)}
        for name, parameter in self.parameters.items():
            state[f"parameter/{name}"] = parameter.detach().clone()
            state[f"average/{name}"] = self.average[name]
            moments = self.optimizer.state.get(parameter, {})
            state |= {f"{key}/{name}": value for key, value in moments.items()}
        return state | (self.stopping.tensors() if self.stopping else {})

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.iteration = int(state["iteration"])
        self.curve = state["curve"].tolist()
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"parameter/{name}"])
            self.average[name].copy_(state[f"average/{name}"])
            if f"exp_avg/{name}" in state:
                keys = ("exp_avg", "exp_avg_sq")
                moments = {k: state[f"{k}/{name}"].to(parameter, copy=True) for k in keys}
                step = {"step": state[f"step/{name}"].clone()}  # AdamW counts on the CPU
                self.optimizer.state[parameter] = step | moments
        if self.stopping is not None:
            self.stopping.restore(state, self.average)
