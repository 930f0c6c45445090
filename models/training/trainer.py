"""One training loop for every network: AdamW, warm-up and cosine decay, averaged weights.

The loss of iteration i is drawn from a generator keyed by (seed, i), so that a training that was
interrupted and goes on from its saved state gives the same weights as one that was not.

References:
    | Loshchilov & Hutter (2019), Decoupled weight decay regularization, arXiv 1711.05101
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Trainer", "TrainingSettings"]

Loss = Callable[[torch.Generator], Tensor]
Expect = Callable[[torch.Generator], None]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        iterations: Number of steps of the optimizer.
        learning_rate: Largest learning rate, reached after the warm-up.
        weight_decay: Decoupled weight decay.
        warm_up: Iterations of linear warm-up.
        averaging: Decay of the exponential average of the weights.
        seed: Seed of the losses.
    """

    iterations: int
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warm_up: int = 100
    averaging: float = 0.995
    seed: int = 0


class Trainer:
    """Trains a module; the averaged weights are the result."""

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        settings: TrainingSettings,
        expect: Expect | None = None,
    ) -> None:
        """Prepare to train `module` on `loss`.

        Args:
            module: What is trained.
            loss: The loss of an iteration, from its generator.
            settings: How it is trained.
            expect: Told the generator of the next iteration while this one computes, so that its
                data can be read meanwhile.
        """
        self.expect = expect
        self.module, self.loss, self.settings = module, loss, settings
        self.parameters = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self.average = {k: p.detach().clone() for k, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.99),
        )
        self.iteration = 0
        self.curve: list[float] = []

    def learning_rate(self) -> float:
        """Return the learning rate of the current iteration."""
        s = self.settings
        warm = min(1.0, (self.iteration + 1) / max(s.warm_up, 1))
        decay = 0.5 * (1 + math.cos(math.pi * min(self.iteration / s.iterations, 1.0)))
        return s.learning_rate * warm * (0.02 + 0.98 * decay)

    def generator(self, iteration: int) -> torch.Generator:
        """Return the generator of the draws of an iteration."""
        return torch.Generator().manual_seed(self.settings.seed * 10_000_019 + iteration)

    def step(self) -> float:
        """Take one step of the optimizer and return its loss."""
        generator = self.generator(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        if self.expect is not None and self.iteration + 1 < self.settings.iterations:
            self.expect(self.generator(self.iteration + 1))
        loss = self.loss(generator)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.iteration += 1
        decay = min(self.settings.averaging, self.iteration / (9 + self.iteration))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, 1 - decay)
        self.curve.append(loss.item())
        return self.curve[-1]

    def run(self, progress: Callable[["Trainer"], None] | None = None) -> None:
        """Train to the last iteration, then put the averaged weights into the module."""
        while self.iteration < self.settings.iterations:
            self.step()
            if progress is not None:
                progress(self)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to go on later."""
        state = {"iteration": torch.tensor(self.iteration), "curve": torch.tensor(self.curve)}
        for name, parameter in self.parameters.items():
            state[f"parameter/{name}"] = parameter.detach().clone()
            state[f"average/{name}"] = self.average[name]
            moments = self.optimizer.state.get(parameter, {})
            state |= {f"{key}/{name}": value for key, value in moments.items()}
        return state

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.iteration = int(state["iteration"])
        self.curve = state["curve"].tolist()
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"parameter/{name}"])
            self.average[name].copy_(state[f"average/{name}"])
            if f"exp_avg/{name}" in state:
                keys = ("step", "exp_avg", "exp_avg_sq")
                moments = {key: state[f"{key}/{name}"].clone() for key in keys}
                self.optimizer.state[parameter] = moments
