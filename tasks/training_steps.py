"""The steps of a training: each makes one component from those before it, or goes on making it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from configs.training import Train
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.features import coarsen
from models.methods.losda import LOSDA, PRESETS
from models.normalization import Statistics, fit_statistics
from models.state import StateSpec
from models.training.cycles import (
    CycleSettings,
    World,
    cycled_pairs,
    forecast_pairs,
    latent_pairs,
)
from models.training.losses import (
    LatentPairs,
    autoencoder_loss,
    denoiser_loss,
    draw_anomalies,
    expect_anomalies,
    model_error_loss,
)
from models.training.trainer import Trainer, TrainingSettings
from models.training.trajectories import BatchedStates, Trajectories
from tasks.training_data import Report
from tasks.workshop import Workshop

__all__ = ["Bench", "fit_climatology", "fit_denoiser", "fit_error", "train_autoencoder"]

#: Fields whose anomalies are too small to matter in the background-error measure.
THIN_HUMIDITY = (("q", 0), ("q", 1))
BLOCK_BYTES, SAMPLE_BYTES = 2**28, 2**28
#: An archive of decades is not read to the last state for seven coefficients.
CLIMATOLOGY_STATES = 8192


@dataclass(frozen=True)
class Bench:
    """What all steps share.

    Attributes:
        workshop: Where products are kept.
        settings: The training's configuration.
        spec: Layout of the states.
        features: Static features on the state's grid.
        report: Shows a line of progress.
    """

    workshop: Workshop
    settings: Train
    spec: StateSpec
    features: Tensor
    report: Report

    @property
    def area(self) -> Tensor:
        """Cell-area weights, mean 1."""
        return self.spec.grid.cell_area_weights()

    def states_in(self, size: int, most: int) -> int:
        """Return how many states fit into so many bytes, at least 1 and at most so many."""
        fields, lat, lon = self.spec.shape
        return max(1, min(most, size // (4 * fields * lat * lon)))

    def progress(self, name: str, every: int = 50) -> Callable[[Trainer], None]:
        """Return a callback that reports the mean loss now and then."""

        def show(trainer: Trainer) -> None:
            if trainer.iteration % every == 0:
                recent = trainer.curve[-every:]
                total = trainer.settings.iterations
                loss = sum(recent) / len(recent)
                self.report(f"{name} {trainer.iteration}/{total} loss {loss:.4f}")

        return show


def fit_climatology(bench: Bench, trajectories: Trajectories, n_basis: int) -> Statistics:
    """Fit climatology and anomaly size to all training states."""

    def make() -> dict[str, Tensor]:
        bench.report("statistics: climatology")
        blocks = read_blocks(trajectories, bench.states_in(BLOCK_BYTES, 64))
        return dict(fit_statistics(blocks, bench.area, n_basis).state_dict())

    return Statistics.from_tensors(bench.workshop.tensors("climatology", make))


def read_blocks(
    trajectories: Trajectories, size: int
) -> Iterator[tuple[Tensor, list[pd.Timestamp]]]:
    """Yield all states in blocks, or as many of an archive as a climatology needs."""
    blocks = trajectories.blocks(size)
    if isinstance(trajectories.states, BatchedStates):
        blocks = blocks[:: -(-len(blocks) * size // CLIMATOLOGY_STATES)]
    for number, (i, j) in enumerate(blocks):
        if number + 1 < len(blocks):
            trajectories.expect(*blocks[number + 1])
        yield trajectories.x(i, j), trajectories.times(i, j)


def fit_error(bench: Bench, world: World, steps: int, batches: int) -> Statistics:
    """Add the 24 h background error, from forecasts that start from the truth.

    Args:
        bench: What all steps share.
        world: Trajectories and forecast model.
        steps: Steps of the trajectories in 24 h.
        batches: Sets of 16 forecasts.
    """

    def make() -> dict[str, Tensor]:
        bench.report(f"statistics: 24 h error of {16 * batches} forecasts")
        total = torch.zeros(bench.spec.n_fields)
        for _, a, i, j in forecast_pairs(world, (steps,), batches, 16, bench.settings.seed):
            total += ((a - world.truth(i, j)) ** 2 * bench.area[:, None]).mean((0, 2, 3))
        statistics = world.statistics.with_error_std((total / batches).sqrt(), error_mask(bench))
        return dict(statistics.state_dict())

    return Statistics.from_tensors(bench.workshop.tensors("statistics", make))


def error_mask(bench: Bench) -> Tensor:
    """Return the fields that count in the background-error measure."""
    mask = torch.ones(bench.spec.n_fields, dtype=torch.bool)
    for name, level in THIN_HUMIDITY:
        part = bench.spec.slices.get(name)
        if bench.spec.vertical == "sigma" and part is not None:
            mask[part.start + level] = False
    return mask


def build_autoencoder(bench: Bench, statistics: Statistics) -> Autoencoder:
    """Return an untrained autoencoder."""
    options, grid = bench.settings.autoencoder, bench.spec.grid
    shape = AutoencoderShape(
        fields=bench.spec.n_fields,
        grid=grid.shape,
        wraps=grid.wraps,
        poles=grid.reaches_poles,
        features=len(bench.features),
        **options.model_dump(include={"patch", "latent", "hidden", "blocks"}),
    )
    torch.manual_seed(bench.settings.seed)
    return Autoencoder(shape, statistics.weights, bench.features)


def train_autoencoder(
    bench: Bench, trajectories: Trajectories, statistics: Statistics
) -> Autoencoder:
    """Train the autoencoder, or load the trained one."""
    autoencoder = build_autoencoder(bench, statistics)

    def make() -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(bench.settings.seed + 1)
        count = bench.states_in(SAMPLE_BYTES, 400)
        sample = draw_anomalies(trajectories, statistics, count, generator)
        autoencoder.initialize_linear(sample)
        options = bench.settings.autoencoder
        loss = autoencoder_loss(autoencoder, trajectories, statistics, bench.area, options.batch)
        settings = TrainingSettings(options.iterations, seed=bench.settings.seed)
        expect = expect_anomalies(trajectories, options.batch)
        trainer = Trainer(autoencoder, loss, settings, expect)
        bench.workshop.train("autoencoder", trainer, bench.progress("autoencoder"))
        autoencoder.standardize_latent(sample)
        curve = {"loss_curve": torch.tensor(trainer.curve)}
        return dict(autoencoder.state_dict()) | curve

    tensors = bench.workshop.tensors("autoencoder", make)
    autoencoder.load_state_dict({k: v for k, v in tensors.items() if k != "loss_curve"})
    return autoencoder.eval().requires_grad_(False)


def build_denoiser(bench: Bench, autoencoder: Autoencoder, basis: int) -> LatentDenoiser:
    """Return an untrained denoiser for the latent space of an autoencoder."""
    options, grid = bench.settings.denoiser, autoencoder.shape.latent_grid
    shape = DenoiserShape(
        channels=autoencoder.shape.latent,
        grid=grid,
        wraps=autoencoder.shape.wraps,
        poles=autoencoder.shape.poles,
        features=len(bench.features),
        basis=basis,
        **options.model_dump(
            include={"hidden", "deep", "network", "depth", "heads", "covariance"}
        ),
        error_hidden=bench.settings.model_error.hidden,
        error_blocks=bench.settings.model_error.blocks,
    )
    torch.manual_seed(bench.settings.seed + 2)
    return LatentDenoiser(shape, coarsen(bench.features, grid))


def first_pairs(
    bench: Bench,
    world: World,
    autoencoder: Autoencoder,
    denoiser: LatentDenoiser,
    name: str,
    leads: tuple[int, ...],
    batches: int,
) -> LatentPairs:
    """Return pairs of forecasts that start from the truth."""

    def make() -> dict[str, Tensor]:
        bench.report(f"{name}: {16 * batches} forecasts from the truth")
        sets = forecast_pairs(world, leads, batches, 16, bench.settings.seed + 3 + max(leads))
        parts = world, autoencoder, denoiser
        return stacked([latent_pairs(*parts, a, i, j) for _, a, i, j in sets])

    return LatentPairs(**bench.workshop.tensors(name, make))


def stacked(pairs: list[LatentPairs]) -> dict[str, Tensor]:
    """Return the tensors of all pairs together."""
    columns = zip(*(vars(pair).values() for pair in pairs), strict=True)
    return dict(zip(vars(pairs[0]), (torch.cat(column) for column in columns), strict=True))


def next_pairs(bench: Bench, world: World, method: LOSDA, generation: int) -> LatentPairs:
    """Return pairs of the method's own cycles."""
    options = bench.settings.denoiser
    settings = CycleSettings(
        fractions=options.fractions,
        columns=options.columns,
        streams=options.streams,
        cycles=options.cycles,
        seed=bench.settings.seed + 10 * generation,
    )

    def make() -> dict[str, Tensor]:
        def show(cycle: int, errors: list[tuple[float, float]]) -> None:
            text = " ".join(f"{background:.3f}→{analysis:.3f}" for background, analysis in errors)
            bench.report(f"generation {generation} cycle {cycle}/{options.cycles} error {text}")

        return dict(vars(cycled_pairs(world, method, settings, show)))

    return LatentPairs(**bench.workshop.tensors(f"pairs-{generation}", make))


def fit_model_error(
    bench: Bench, world: World, autoencoder: Autoencoder, denoiser: LatentDenoiser
) -> None:
    """Fit the known part of the model's error to forecasts over one cycle from the truth."""
    options, error = bench.settings.model_error, denoiser.model_error
    parts = bench, world, autoencoder, denoiser

    def make() -> dict[str, Tensor]:
        pairs = first_pairs(*parts, "pairs-cycle", (1,), options.forecasts)
        error.fit_climatology(pairs.error, pairs.season)
        loss = model_error_loss(denoiser, pairs, options.batch)
        seed, name = bench.settings.seed + 4, "model error"
        settings = TrainingSettings(
            options.iterations, weight_decay=0.02, averaging=0.99, seed=seed
        )
        trainer = Trainer(error.requires_grad_(True), loss, settings)
        bench.workshop.train("model-error", trainer, bench.progress(name))
        return dict(error.state_dict()) | {"loss_curve": torch.tensor(trainer.curve)}

    tensors = bench.workshop.tensors("model-error", make)
    error.load_state_dict({k: v for k, v in tensors.items() if k != "loss_curve"})
    error.requires_grad_(False)


def fit_prior(denoiser: LatentDenoiser, pairs: LatentPairs) -> None:
    """Set the scales and the covariance of the denoiser."""
    denoiser.reference_level.fill_(pairs.level.median())
    ratio = torch.exp(pairs.level - denoiser.reference_level)[:, None, None, None]
    r = (pairs.z.float() - pairs.center) / ratio
    scale = r.pow(2).mean((0, 2, 3)).sqrt()
    denoiser.residual_scale.copy_(scale)
    denoiser.covariance.fit(r / scale[:, None, None])


def fit_denoiser(bench: Bench, world: World, autoencoder: Autoencoder, day: int) -> LatentDenoiser:
    """Train the prior to the fixed point of its own cycles, or load the trained one.

    Generation 0 is Gaussian, with the covariance of forecasts from the truth. Each generation runs
    cycles with the prior before it and takes its covariance from them. The first ones are Gaussian
    too: the network learns where the covariance has settled, from these cycles and those of the
    generation before.
    """
    denoiser = build_denoiser(bench, autoencoder, len(world.statistics.coefficients))
    options = bench.settings.denoiser
    parts = bench, world, autoencoder, denoiser
    fit_model_error(*parts)
    leads = tuple(sorted({max(1, day // 2), day}))
    pairs = first_pairs(*parts, "pairs-0", leads, options.forecasts)
    load_generation(bench, denoiser, 0, pairs, pairs, iterations=0)
    for generation in range(1, options.generations + 1):
        method = LOSDA(world.statistics, autoencoder, denoiser.eval(), bench.area, PRESETS["fast"])
        if generation <= options.gaussian or not options.iterations:
            method = method.with_settings(steps=1)
        new = next_pairs(bench, world, method, generation)
        learns = generation >= options.gaussian
        several = new + pairs if generation > 1 else new
        iterations = options.iterations if learns else 0
        load_generation(bench, denoiser, generation, new, several, iterations)
        pairs = new
    denoiser.eval()
    return denoiser


def load_generation(
    bench: Bench,
    denoiser: LatentDenoiser,
    generation: int,
    newest: LatentPairs,
    pairs: LatentPairs,
    iterations: int,
) -> None:
    """Train one generation of the prior, its covariance on the newest pairs, or load it."""

    def make() -> dict[str, Tensor]:
        fit_prior(denoiser, newest)
        curve: list[float] = []
        if iterations:
            options = bench.settings.denoiser
            settings = TrainingSettings(
                iterations,
                weight_decay=options.weight_decay,
                averaging=0.99,
                seed=bench.settings.seed + generation,
            )
            loss = denoiser_loss(denoiser, pairs, options.batch)
            trainer = Trainer(denoiser.network.requires_grad_(True), loss, settings)
            name = f"denoiser generation {generation}"
            bench.workshop.train(f"denoiser-{generation}", trainer, bench.progress(name))
            curve = trainer.curve
        return dict(denoiser.state_dict()) | {"loss_curve": torch.tensor(curve)}

    tensors = bench.workshop.tensors(f"denoiser-{generation}", make)
    denoiser.load_state_dict({k: v for k, v in tensors.items() if k != "loss_curve"})
    denoiser.requires_grad_(False)
