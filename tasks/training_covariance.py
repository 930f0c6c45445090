"""The step of a training that estimates the background-error covariance of 3DVar.

First from one-day forecasts minus the truth they started from, then from the backgrounds of 3DVar's
own cycles, as the prior of LO-SDA is: what a covariance has to describe depends on the method.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from torch import Tensor

from models.background_error.covariance import BackgroundCovariance
from models.methods.threedvar import ThreeDVar, ThreeDVarSettings
from models.training.background_errors import cycled_errors, forecast_errors
from models.training.cycles import CycleSettings, World
from tasks.training_bench import Bench

__all__ = ["architecture", "empty_covariance", "fit_background_error"]

BATCH = 16
#: The cycles that give samples need not converge to the end.
CYCLED = ThreeDVarSettings(tolerance=0.05)


def architecture(bench: Bench) -> dict[str, int | None]:
    """Return what fixes the covariance besides the layout of the states."""
    options = bench.settings.background_error
    if not bench.spec.grid.reaches_poles:  # a region is one band, and resolves what it resolves
        return {"truncation": None, "bands": 1}
    return {"truncation": options.truncation, "bands": options.bands}


def empty_covariance(bench: Bench, world: World) -> BackgroundCovariance:
    """Return a covariance that is not fitted."""
    shape = architecture(bench)
    bands = shape["bands"] or 1
    return BackgroundCovariance(bench.spec, world.statistics.std.cpu(), shape["truncation"], bands)


def fit_background_error(bench: Bench, world: World, day: int) -> BackgroundCovariance:
    """Estimate the covariance, or load the estimate.

    Args:
        bench: What all steps share.
        world: Trajectories and forecast model.
        day: Steps of the trajectories in 24 h.
    """
    options, covariance = bench.settings.background_error, empty_covariance(bench, world)
    seed = bench.settings.seed + 5

    def load(generation: int, samples: Callable[[], Iterable[Tensor]]) -> None:
        def make() -> dict[str, Tensor]:
            kept = [a.half().cpu() for a in samples()]
            bench.report(f"covariance {generation}: {sum(map(len, kept))} background errors")
            covariance.cpu().fit(lambda: (a.float() for a in kept))
            return dict(covariance.state_dict())

        tensors = bench.workshop.tensors(f"background-error-{generation}", make)
        covariance.load_state_dict(tensors)
        covariance.to(bench.device)

    load(0, lambda: forecast_errors(world, day, options.forecasts, BATCH, seed))
    prior = bench.settings.denoiser
    settings = CycleSettings(
        fractions=prior.fractions,
        columns=prior.columns,
        streams=prior.streams,
        cycles=prior.cycles,
    )
    for generation in range(1, options.generations + 1):
        method = ThreeDVar(world.statistics, covariance, bench.area, CYCLED)
        cycles = replace(settings, seed=seed + 10 * generation)
        load(generation, lambda m=method, c=cycles: cycled_errors(world, m, c))  # type: ignore[misc]
    return covariance.eval()
