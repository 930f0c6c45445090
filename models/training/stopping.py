"""Early stopping: the averaged weights with the smallest validation loss are the result.

A training ends when the last `patience` evaluations brought nothing better (Prechelt 1998,
doi 10.1007/3-540-49430-8_3). What was found is part of a training's state, so a training that was
interrupted ends where it would have ended.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from models.training.objective import Objective
from models.training.processes import ALONE, Processes

__all__ = ["EarlyStopping", "loss_over"]


class EarlyStopping:
    """The best weights so far, and whether to go on."""

    def __init__(self, validate: Callable[[], Tensor], every: int, patience: int) -> None:
        """Prepare to evaluate.

        Args:
            validate: Returns the validation loss of the weights that are in the network.
            every: Iterations between evaluations.
            patience: Evaluations without a better one after which a training ends.
        """
        self.validate, self.every, self.patience = validate, every, patience
        self.curve: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_iteration = 0

    @property
    def exhausted(self) -> bool:
        """Whether the last evaluations brought nothing better."""
        return sum(i > self.best_iteration for i, _ in self.curve) >= self.patience

    def due(self, iteration: int) -> bool:
        """Return whether the weights of an iteration are to be evaluated, and are not yet."""
        last = self.curve[-1][0] if self.curve else -1
        return iteration > last and iteration % self.every == 0

    @torch.no_grad()
    def evaluate(self, iteration: int, weights: Mapping[str, Tensor]) -> None:
        """Evaluate the weights, which are in the network, and keep them if they are the best."""
        loss = float(self.validate())
        if not self.curve or loss < min(value for _, value in self.curve):
            self.best = {name: value.detach().clone() for name, value in weights.items()}
            self.best_iteration = iteration
        self.curve.append((iteration, loss))

    def tensors(self) -> dict[str, Tensor]:
        """Return what is needed to go on later."""
        curve = torch.tensor(self.curve, dtype=torch.float64).reshape(-1, 2)
        state = {"validation": curve, "best_iteration": torch.tensor(self.best_iteration)}
        return state | {f"best/{name}": value for name, value in self.best.items()}

    def restore(self, state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned, with the weights where those of the network are."""
        self.curve = [(int(i), float(loss)) for i, loss in state["validation"].tolist()]
        self.best_iteration = int(state["best_iteration"])
        self.best = {name: state[f"best/{name}"].to(value) for name, value in like.items()}


def loss_over(
    objective: Objective,
    batches: int,
    seed: int,
    device: torch.device,
    processes: Processes = ALONE,
) -> Callable[[], Tensor]:
    """Return the mean loss over some batches, the same ones each time.

    Args:
        objective: The loss, on data that are not trained on.
        batches: Number of batches.
        seed: Seed of the batches.
        device: Where the objective is.
        processes: Those among which each batch is divided.
    """

    def validate() -> Tensor:
        total = torch.zeros((), device=device)
        for number in range(batches):
            generator = torch.Generator().manual_seed(seed * 10_000_019 + number)
            batch = objective.draw(generator, processes)
            total += objective(tuple(t.to(device) for t in batch)).detach()
        return processes.mean(total / batches)

    return validate
