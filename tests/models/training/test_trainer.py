import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.training.objective import Batch, Objective
from models.training.processes import ALONE, Processes
from models.training.stopping import EarlyStopping, loss_over
from models.training.trainer import Trainer, TrainingSettings
from tasks.workshop import Workshop

WEIGHTS = torch.tensor([1.0, -2.0, 0.5])


class Line(Objective):
    """Squared error of a linear function, of so many noisy samples."""

    def __init__(self, module: nn.Linear, noise: float = 0.0, offset: float = 0.0) -> None:
        super().__init__(16)
        self.module, self.noise, self.offset = module, noise, offset

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        x = torch.randn(16, 3, generator=generator)
        y = x @ WEIGHTS + self.offset + self.noise * torch.randn(16, generator=generator)
        return processes.part(x), processes.part(y)

    def forward(self, batch: Batch) -> Tensor:
        x, y = batch
        return ((self.module(x)[:, 0] - y) ** 2).mean()


def trainer(iterations: int = 60, ahead: int = 0, patience: int = 0) -> Trainer:
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    objective = Line(module, noise=1.0 if patience else 0.0)
    settings = TrainingSettings(
        iterations, learning_rate=0.1, warm_up=5, averaging=0.9, ahead=ahead
    )
    # where the truth is another one, learning helps at first and harms later
    validate = loss_over(Line(module, offset=2.0), 2, 99, torch.device("cpu"))
    stopping = EarlyStopping(validate, 5, patience) if patience else None
    return Trainer(module, objective, settings, stopping)


def test_training_finds_the_minimum() -> None:
    t = trainer(300)
    t.run()
    torch.testing.assert_close(t.module.weight.detach(), WEIGHTS[None], atol=0.01, rtol=0)


class Killed(Exception):
    """Stands for the end of the process."""


def killed_at(iteration: int) -> Callable[[Trainer], None]:
    def progress(state: Trainer) -> None:
        if state.iteration == iteration:
            raise Killed

    return progress


@pytest.mark.parametrize("patience", [0, 3])
def test_a_training_killed_at_any_step_ends_with_the_same_weights_bit_for_bit(
    tmp_path: Path, patience: int
) -> None:
    whole = trainer(30, patience=patience)
    whole.run()
    for iteration in range(1, len(whole.curve) + 1):
        workshop = Workshop(tmp_path / str(iteration))
        with pytest.raises(Killed):
            workshop.train("line", trainer(30, 1, patience), killed_at(iteration), every=4)
        again = trainer(30, 1, patience)
        workshop.train("line", again, lambda _: None, every=4)
        assert torch.equal(again.module.weight, whole.module.weight), iteration
        assert again.curve == whole.curve
        if again.stopping is not None and whole.stopping is not None:
            assert again.stopping.curve == whole.stopping.curve


def test_the_learning_rate_warms_up_and_decays() -> None:
    t = trainer()
    rates = []
    for _ in range(60):
        rates.append(t.learning_rate())
        t.step(t.draw(t.iteration))
    assert rates[0] < rates[4] and max(rates) <= 0.1 and rates[-1] < 0.01


def test_batches_that_are_drawn_ahead_change_nothing() -> None:
    now, ahead = trainer(40), trainer(40, ahead=3)
    now.run()
    ahead.run()
    assert torch.equal(now.module.weight, ahead.module.weight) and now.curve == ahead.curve


def test_the_next_batch_is_drawn_while_a_step_computes() -> None:
    t = trainer(6, ahead=1)
    drawn = [threading.Event() for _ in range(6)]
    draw, step = t.draw, t.step

    def watched(iteration: int) -> Batch:
        drawn[iteration].set()
        return draw(iteration)

    def waits_for_the_next(batch: Batch) -> float:
        assert all(event.wait(30) for event in drawn[: t.iteration + 2])
        return step(batch)

    t.draw, t.step = watched, waits_for_the_next  # type: ignore[method-assign]
    t.run()
    assert t.iteration == 6


@pytest.mark.parametrize(("ahead", "low", "high"), [(0, 0.4, 0.7), (2, 0.0, 0.3)])
def test_the_share_of_the_time_that_steps_wait_for_data_is_measured(
    ahead: int, low: float, high: float
) -> None:
    t = trainer(20, ahead)
    draw, step = t.draw, t.step

    def slow_draw(iteration: int) -> Batch:
        time.sleep(0.05)
        return draw(iteration)

    def slow_step(batch: Batch) -> float:
        time.sleep(0.05)
        return step(batch)

    t.draw, t.step = slow_draw, slow_step  # type: ignore[method-assign]
    t.run()
    assert low <= t.waiting <= high


def test_what_goes_wrong_while_a_batch_is_drawn_is_told_and_ends_the_threads() -> None:
    t = trainer(9, ahead=2)
    draw = t.draw

    def failing(iteration: int) -> Batch:
        if iteration == 5:
            raise ValueError("chunk 5 is missing")
        return draw(iteration)

    t.draw = failing  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="chunk 5 is missing"):
        t.run()
    assert t.iteration == 5
    assert not any(thread.name.startswith("prefetch") for thread in threading.enumerate())


def test_a_training_ends_early_with_the_weights_of_the_smallest_validation_loss() -> None:
    t = trainer(300, patience=3)
    t.run()
    assert t.stopping is not None
    losses = dict(t.stopping.curve)
    best = t.stopping.best_iteration
    assert t.iteration == best + 15 < 300 and losses[best] == min(losses.values())
    assert float(t.stopping.validate()) == losses[best]


def test_processes_that_cannot_have_equal_parts_of_a_batch_are_refused() -> None:
    module = nn.Linear(3, 1)
    with pytest.raises(ValueError, match="a batch of 16: 3 processes cannot have equal parts"):
        Trainer(module, Line(module), TrainingSettings(1), processes=Processes(0, 3))
