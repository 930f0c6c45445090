"""Training of the emulator: ridge regression first, then the network with early stopping.

The network is trained on initial states with errors such as analyses have: noise, and for a part
of the samples a state between the truth and the emulator's own forecast of it. So it stays near
the climate when it runs freely. The averaged weights with the smallest error on the undisturbed
validation samples are kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from models.emulator import Emulator, EmulatorShape, sphere_coordinates
from models.normalization import Statistics
from models.state import StateSpec
from models.training.emulator_samples import (
    JUDGED,
    Period,
    Samples,
    StateSeries,
    evenly,
    forecast_errors,
)
from models.training.trainer import Trainer, TrainingSettings

__all__ = ["EmulatorSettings", "TrainedEmulator", "forecast_errors", "train_emulator"]

OPTIMIZER = TrainingSettings(
    iterations=800, learning_rate=2e-3, weight_decay=1e-2, warm_up=50, averaging=0.99
)


@dataclass(frozen=True)
class EmulatorSettings:
    """How the emulator is trained.

    Attributes:
        training: First and last time of the training states.
        validation: First and last time of the validation states.
        hours: Native step [h].
        hidden: Channels of the network.
        blocks: Residual blocks of the network.
        noise: Standard deviation of the disturbance of the initial states [1].
        lagged: Share of the initial states that lie between the truth and a forecast of it.
        batch: Samples in a batch.
        linear_samples: Largest number of samples for a local linear part.
        linear_rows: Largest number of points in them.
        evaluate_every: Iterations between evaluations.
        patience: Evaluations without a better one after which the training stops.
        optimizer: The optimizer's settings.
    """

    training: Period
    validation: Period
    hours: int = 24
    hidden: int = 32
    blocks: int = 3
    noise: float = 0.3
    lagged: float = 0.5
    batch: int = 64
    linear_samples: int = 512
    linear_rows: int = 2**18
    evaluate_every: int = 50
    patience: int = 4
    optimizer: TrainingSettings = OPTIMIZER


@dataclass(frozen=True)
class TrainedEmulator:
    """An emulator and how it came about.

    Attributes:
        emulator: The emulator with its best weights.
        training_curve: Loss of each iteration, the mean squared error of anomalies [1].
        validation_curve: (iteration, loss) of each evaluation; iteration 0 is the linear part.
        best_iteration: Iteration of the weights that were kept.
    """

    emulator: Emulator
    training_curve: tuple[float, ...]
    validation_curve: tuple[tuple[int, float], ...]
    best_iteration: int


def train_emulator(
    x: Tensor | StateSeries,
    times: Sequence[pd.Timestamp],
    statistics: Statistics,
    spec: StateSpec,
    settings: EmulatorSettings,
    progress: Callable[[Trainer], None] | None = None,
) -> TrainedEmulator:
    """Train an emulator.

    Args:
        x: States in the order of their times [SI], in memory or read where they are needed.
        times: Time of each state, UTC.
        statistics: Climatology and scales, fitted to the training period.
        spec: Layout of the states.
        settings: How to train.
        progress: Called after each iteration.

    Raises:
        ValueError: A period does not hold enough states one native step apart.
    """
    emulator = create_emulator(statistics, spec, settings)
    samples = Samples(emulator, x, times, spec)
    starts = samples.starts(settings.training, 2) + 1
    search = Search(samples, settings)
    fit_linear_part(samples, settings)

    shape = settings.batch, *spec.shape
    lagged = round(settings.lagged * settings.batch)

    def loss(generator: torch.Generator) -> Tensor:
        drawn = starts[torch.randint(len(starts), (settings.batch,), generator=generator)]
        noise = settings.noise * torch.randn(shape, generator=generator).to(samples.basis)
        return samples.loss(samples.disturbed(drawn, lagged, noise, generator), drawn)

    trainer = Trainer(emulator, loss, settings.optimizer)
    search.evaluate(trainer)
    while trainer.iteration < settings.optimizer.iterations and not search.exhausted:
        trainer.step()
        if progress is not None:
            progress(trainer)
        if trainer.iteration % settings.evaluate_every == 0:
            search.evaluate(trainer)
    emulator.load_state_dict(search.weights, strict=False)
    emulator.requires_grad_(False).eval()
    curves = tuple(trainer.curve), tuple(search.curve)
    return TrainedEmulator(emulator, *curves, search.best_iteration)


def create_emulator(
    statistics: Statistics, spec: StateSpec, settings: EmulatorSettings
) -> Emulator:
    """Create the untrained emulator; its random weights depend on the seed alone."""
    shape = EmulatorShape.of(spec, statistics, settings.hours, settings.hidden, settings.blocks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.optimizer.seed)
        emulator = Emulator(shape, statistics, sphere_coordinates(spec.grid))
    return emulator.to(statistics.std.device)


def fit_linear_part(samples: Samples, settings: EmulatorSettings) -> None:
    """Fit the linear part; a local one has few unknowns and needs few samples."""
    starts = samples.starts(settings.training, 1)
    shape = samples.emulator.shape
    if not shape.dense:
        rows = max(settings.linear_rows // (shape.grid[0] * shape.grid[1]), 8)
        starts = evenly(starts, min(settings.linear_samples, rows))
    # The rows of a local part are 9 times the state, in double precision.
    blocks = torch.split(starts, samples.batch if shape.dense else max(1, samples.batch // 4))
    pairs = ((samples.a[block], samples.a[block + 1]) for block in blocks)
    samples.emulator.fit_linear(pairs, settings.noise)


class Search:
    """Early stopping: keeps the averaged weights with the smallest validation error."""

    def __init__(self, samples: Samples, settings: EmulatorSettings) -> None:
        """Prepare to evaluate on the validation period."""
        self.samples, self.settings = samples, settings
        self.starts = evenly(samples.starts(settings.validation, 1), JUDGED)
        self.curve: list[tuple[int, float]] = []
        self.weights: dict[str, Tensor] = {}
        self.best_iteration = 0

    @property
    def exhausted(self) -> bool:
        """Whether the last evaluations brought nothing better."""
        return sum(i > self.best_iteration for i, _ in self.curve) >= self.settings.patience

    @torch.no_grad()
    def evaluate(self, trainer: Trainer) -> None:
        """Compute the validation error and keep the weights if they are the best."""
        own = {name: value.detach().clone() for name, value in trainer.parameters.items()}
        self._put(trainer, trainer.average)
        total = 0.0
        for block in torch.split(self.starts, self.samples.batch):
            loss = self.samples.loss(self.samples.a[block], block)
            total += float(loss) * len(block) / len(self.starts)
        if not self.curve or total < min(value for _, value in self.curve):
            self.weights = {name: value.clone() for name, value in trainer.average.items()}
            self.best_iteration = trainer.iteration
        self.curve.append((trainer.iteration, total))
        self._put(trainer, own)

    def _put(self, trainer: Trainer, values: dict[str, Tensor]) -> None:
        for name, parameter in trainer.parameters.items():
            parameter.copy_(values[name])
