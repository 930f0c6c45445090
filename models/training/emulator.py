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
from jaxtyping import Float
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
    mean_square,
)
from models.training.objective import Batch, Objective
from models.training.processes import ALONE, Processes
from models.training.stopping import EarlyStopping
from models.training.trainer import Trainer, TrainingSettings

__all__ = [
    "EmulatorObjective",
    "EmulatorSettings",
    "TrainedEmulator",
    "forecast_errors",
    "train_emulator",
]

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
        patch: Points per side of the patches that the network sees as channels.
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
    patch: int = 1
    noise: float = 0.3
    lagged: float = 0.5
    batch: int = 64
    linear_samples: int = 512
    linear_rows: int = 2**18
    evaluate_every: int = 50
    patience: int = 4
    optimizer: TrainingSettings = OPTIMIZER

    def shape(self, spec: StateSpec, statistics: Statistics) -> EmulatorShape:
        """Return the architecture for a state."""
        size = self.hidden, self.blocks, self.patch
        return EmulatorShape.of(spec, statistics, self.hours, *size)


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
    run: Callable[[Trainer], None] = Trainer.run,
    processes: Processes = ALONE,
    features: Float[Tensor, "feature lat lon"] | None = None,
) -> TrainedEmulator:
    """Train an emulator.

    Args:
        x: States in the order of their times [SI], in memory or read where they are needed.
        times: Time of each state, UTC.
        statistics: Climatology and scales, fitted to the training period.
        spec: Layout of the states.
        settings: How to train.
        run: Runs the trainer, perhaps from where it was interrupted.
        processes: Those that train together.
        features: What tells the places apart [1]; their position on the sphere if not given.

    Raises:
        ValueError: A period does not hold enough states one native step apart.
    """
    emulator = create_emulator(statistics, spec, settings, features)
    samples = Samples(emulator, x, times, spec)
    objective = EmulatorObjective(samples, settings)
    fit_linear_part(samples, settings)
    validate = validation(samples, settings, processes)
    stopping = EarlyStopping(validate, settings.evaluate_every, settings.patience)
    trainer = Trainer(emulator, objective, settings.optimizer, stopping, processes)
    run(trainer)
    emulator.requires_grad_(False).eval()
    curves = tuple(trainer.curve), tuple(stopping.curve)
    return TrainedEmulator(emulator, *curves, stopping.best_iteration)


class EmulatorObjective(Objective):
    """Mean squared error of forecasts over one native step, from disturbed initial states."""

    area: Tensor

    def __init__(self, samples: Samples, settings: EmulatorSettings) -> None:
        """Create the objective.

        Raises:
            ValueError: The training period does not hold three states in a row.
        """
        super().__init__(settings.batch)
        self.samples, self.emulator, self.noise = samples, samples.emulator, settings.noise
        self.starts = samples.starts(settings.training, 2) + 1
        self.lagged = round(settings.lagged * settings.batch)
        self.register_buffer("area", samples.area)

    def draw(self, generator: torch.Generator, processes: Processes = ALONE) -> Batch:
        """Draw initial states, those before, the states to forecast, and the disturbances.

        The first `lagged` samples of a batch lie between the truth and a forecast of it.
        """
        index = torch.randint(len(self.starts), (self.batch,), generator=generator)
        shape = self.emulator.shape
        noise = torch.randn(self.batch, shape.fields, *shape.grid, generator=generator)
        part = torch.rand(self.lagged, 1, 1, 1, generator=generator)
        starts = processes.part(self.starts[index])
        before = processes.part(self.starts[index[: self.lagged]]) - 1
        a, basis = self.samples.a, self.samples.basis
        states = a[starts], basis[starts], a[starts + 1], a[before], basis[before]
        return *states, processes.part(noise), processes.part(part)

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        truth, basis, target, before, basis_before, noise, part = batch
        disturbance = self.noise * noise
        lagged = before + disturbance[: len(before)], basis_before, part
        a = self.disturbed(truth, disturbance, *lagged)
        return mean_square(self.emulator(a, basis) - target, self.area)

    def disturbed(
        self,
        truth: Float[Tensor, "sample field lat lon"],
        noise: Float[Tensor, "sample field lat lon"],
        before: Float[Tensor, "lagged field lat lon"],
        basis: Float[Tensor, "lagged basis"],
        part: Float[Tensor, "lagged 1 1 1"],
    ) -> Float[Tensor, "sample field lat lon"]:
        """Return anomalies with errors such as analyses have.

        Args:
            truth: Undisturbed anomalies.
            noise: Noise that all of them get.
            before: Anomalies one step before the first ones, with noise.
            basis: Functions of time then.
            part: Part of the way from these ones towards their forecast by the emulator.
        """
        a = truth + noise
        with torch.no_grad():
            forecast = self.emulator(before, basis)
        a[: len(part)] += part * (forecast - truth[: len(part)])
        return a


def validation(
    samples: Samples, settings: EmulatorSettings, processes: Processes
) -> Callable[[], Tensor]:
    """Return the mean squared error over undisturbed samples of the validation period."""
    starts = evenly(samples.starts(settings.validation, 1), JUDGED)

    def validate() -> Tensor:
        total = 0.0
        for block in torch.split(starts, samples.batch):
            total += float(samples.loss(block)) * len(block) / len(starts)
        return processes.mean(torch.tensor(total, dtype=torch.float64))

    return validate


def create_emulator(
    statistics: Statistics,
    spec: StateSpec,
    settings: EmulatorSettings,
    features: Float[Tensor, "feature lat lon"] | None = None,
) -> Emulator:
    """Create the untrained emulator; its random weights depend on the seed alone."""
    place = sphere_coordinates(spec.grid) if features is None else features
    shape = settings.shape(spec, statistics)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.optimizer.seed)
        emulator = Emulator(shape, statistics, place)
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
    pairs = ((samples.anomalies(block), samples.anomalies(block + 1)) for block in blocks)
    samples.emulator.fit_linear(pairs, settings.noise)
