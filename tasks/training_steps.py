"""The steps of a training: each makes one component from those before it, or goes on making it."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from configs.training import Stopping
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.features import coarsen
from models.methods.losda import LOSDA, PRESETS
from models.normalization import Statistics, fit_statistics
from models.training.cycles import (
    CycleSettings,
    World,
    cycled_pairs,
    forecast_pairs,
    latent_pairs,
)
from models.training.losses import (
    AutoencoderObjective,
    DenoiserObjective,
    LatentPairs,
    ModelErrorObjective,
    draw_anomalies,
)
from models.training.trajectories import BatchedStates, Trajectories
from tasks.training_bench import CURVE, Bench, load_network

__all__ = ["fit_climatology", "fit_denoiser", "fit_error", "train_autoencoder"]

#: Fields whose anomalies are too small to matter in the background-error measure.
THIN_HUMIDITY = (("q", 0), ("q", 1))
BLOCK_BYTES, SAMPLE_BYTES = 2**28, 2**28
#: An archive of decades is not read to the last state for seven coefficients.
CLIMATOLOGY_STATES = 8192


def fit_climatology(bench: Bench, trajectories: Trajectories, n_basis: int) -> Statistics:
    """Fit climatology and anomaly size to all training states."""

    def make() -> dict[str, Tensor]:
        bench.report("statistics: climatology")
        blocks = read_blocks(trajectories, bench.states_in(BLOCK_BYTES, 64))
        return dict(fit_statistics(blocks, bench.area.cpu(), n_basis).state_dict())

    return Statistics.from_tensors(bench.workshop.tensors("climatology", make)).to(bench.device)


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
        total = torch.zeros(bench.spec.n_fields, device=bench.device)
        for _, a, i, j in forecast_pairs(world, (steps,), batches, 16, bench.settings.seed):
            total += ((a - world.truth(i, j)) ** 2 * bench.area[:, None]).mean((0, 2, 3))
        statistics = world.statistics.with_error_std((total / batches).sqrt(), error_mask(bench))
        return dict(statistics.state_dict())

    return Statistics.from_tensors(bench.workshop.tensors("statistics", make)).to(bench.device)


def error_mask(bench: Bench) -> Tensor:
    """Return the fields that count in the background-error measure."""
    mask = torch.ones(bench.spec.n_fields, dtype=torch.bool)
    for name, level in THIN_HUMIDITY:
        part = bench.spec.slices.get(name)
        if bench.spec.vertical == "sigma" and part is not None:
            mask[part.start + level] = False
    return mask.to(bench.device)


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
    return Autoencoder(shape, statistics.weights, bench.features).to(bench.device)


def train_autoencoder(
    bench: Bench, trajectories: Trajectories, validation: Trajectories, statistics: Statistics
) -> Autoencoder:
    """Train the autoencoder, or load the trained one.

    Args:
        bench: What all steps share.
        trajectories: States to learn from.
        validation: States that say when to stop.
        statistics: Climatology and error sizes.
    """
    autoencoder = build_autoencoder(bench, statistics)

    def make() -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(bench.settings.seed + 1)
        count = bench.states_in(SAMPLE_BYTES, 400)
        sample = draw_anomalies(trajectories, statistics, count, generator)
        autoencoder.initialize_linear(sample)
        options = bench.settings.autoencoder
        settings = bench.optimizer(options, options.iterations, 0)
        stopping = bench.stopping(lambda: objective(validation))
        curves = bench.train(
            "autoencoder", autoencoder, objective(trajectories), settings, stopping
        )
        autoencoder.standardize_latent(sample)
        return dict(autoencoder.state_dict()) | curves

    def objective(of: Trajectories) -> AutoencoderObjective:
        batch = bench.settings.autoencoder.batch
        return AutoencoderObjective(autoencoder, of, statistics, bench.area, batch)

    load_network(autoencoder, bench.workshop.tensors("autoencoder", make, together=True))
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
    denoiser = LatentDenoiser(shape, coarsen(bench.features, grid))
    denoiser.to(bench.device)
    return denoiser


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
        error.cpu().fit_climatology(pairs.error, pairs.season)
        error.to(bench.device).requires_grad_(True)
        learned, kept = held_out(bench.settings.stopping, pairs, len(pairs))

        def objective(of: LatentPairs) -> ModelErrorObjective:
            return ModelErrorObjective(error, denoiser.features, of, options.batch)

        settings = bench.optimizer(options, options.iterations, 4)
        settings = replace(settings, weight_decay=0.02)
        stopping = bench.stopping(lambda: objective(kept))
        curves = bench.train("model-error", error, objective(learned), settings, stopping)
        return dict(error.state_dict()) | curves

    load_network(error, bench.workshop.tensors("model-error", make, together=True))
    error.requires_grad_(False)


def held_out(
    options: Stopping, pairs: LatentPairs, newest: int
) -> tuple[LatentPairs, LatentPairs]:
    """Return the pairs to learn from, and those that say when to stop; both all without stopping.

    Args:
        options: When a training stops.
        pairs: The pairs, the newest first and in the order in which they were made.
        newest: Number of the newest.
    """
    if not options.patience:
        return pairs, pairs
    first = newest - max(1, round(options.held_out * newest))
    index = torch.arange(len(pairs))
    kept = (index >= first) & (index < newest)
    return pairs.select(~kept), pairs.select(kept)


def fit_prior(bench: Bench, denoiser: LatentDenoiser, pairs: LatentPairs) -> None:
    """Set the scales and the covariance of the denoiser, on the CPU, where the pairs are."""
    denoiser.cpu()
    denoiser.reference_level.fill_(pairs.level.median())
    ratio = torch.exp(pairs.level - denoiser.reference_level)[:, None, None, None]
    r = (pairs.z.float() - pairs.center) / ratio
    scale = r.pow(2).mean((0, 2, 3)).sqrt()
    denoiser.residual_scale.copy_(scale)
    denoiser.covariance.fit(r / scale[:, None, None])
    denoiser.to(bench.device)


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

    def objective(of: LatentPairs) -> DenoiserObjective:
        return DenoiserObjective(denoiser, of, bench.settings.denoiser.batch)

    def make() -> dict[str, Tensor]:
        fit_prior(bench, denoiser, newest)
        if not iterations:
            return dict(denoiser.state_dict()) | {CURVE: torch.zeros(0)}
        options = bench.settings.denoiser
        network = denoiser.network.requires_grad_(True)
        learned, kept = held_out(bench.settings.stopping, pairs, len(newest))
        settings = bench.optimizer(options, iterations, generation)
        settings = replace(settings, weight_decay=options.weight_decay)
        stopping = bench.stopping(lambda: objective(kept))
        name = f"denoiser-{generation}"
        curves = bench.train(name, network, objective(learned), settings, stopping)
        return dict(denoiser.state_dict()) | curves

    product = bench.workshop.tensors(f"denoiser-{generation}", make, together=True)
    load_network(denoiser, product)
    denoiser.requires_grad_(False)
