"""The Prefect flow and tasks of a training; each task is one step of `tasks.training_steps`."""

from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from prefect import flow, task
from prefect.cache_policies import NONE

from configs import Config
from flows.train import report
from models.methods.losda import LOSDA, PRESETS
from models.training.losses import draw_anomalies
from models.training.processes import ALONE, Processes
from tasks import training_steps as steps
from tasks.registry import Registry
from tasks.training_covariance import architecture, fit_background_error
from tasks.training_given import given_autoencoder, given_digests
from tasks.training_pictures import draw_curves, loss_summaries
from tasks.training_publish import Publisher, cycle_scores, judge, reconstruction_scores
from tasks.training_setting import Setting, open_setting

__all__ = ["train_flow"]

OPTIONS: dict[str, Any] = {"cache_policy": NONE, "persist_result": False}
DAY = pd.Timedelta(days=1)
#: Products of the training whose losses are on the card of the prior.
PRIOR = ("model-error", "denoiser")


@flow(name="train", flow_run_name="train-{config.name}", validate_parameters=False)
def train_flow(
    config: Config, registry: str, directory: str, processes: Processes = ALONE
) -> dict[str, Any]:
    """Make, judge and publish all components of a configuration."""
    use_threads(config)
    setting = prepare(config, directory, processes)
    autoencoder = fit_autoencoder(setting)
    denoiser = fit_prior(setting, autoencoder)
    covariance = fit_covariance(setting)
    scores = judge_all(setting, autoencoder, denoiser)
    return publish(setting, registry, autoencoder, denoiser, covariance, scores)


def follow(config: Config, directory: str, processes: Processes) -> None:
    """Take part in the training as one of the other processes, without a flow and in silence."""
    use_threads(config)
    setting = open_setting(config, directory, lambda _: None, processes)
    fit_prior.fn(setting, fit_autoencoder.fn(setting))
    fit_covariance.fn(setting)


def use_threads(config: Config) -> None:
    """Set how this process computes on the CPU."""
    torch.set_num_threads(config.train.threads)
    torch.set_flush_denormal(True)


@task(name="data-and-statistics", **OPTIONS)
def prepare(config: Config, directory: str, processes: Processes) -> Setting:
    """Make the trajectories, the forecast model and the statistics."""
    return open_setting(config, directory, report, processes)


@task(name="autoencoder", **OPTIONS)
def fit_autoencoder(setting: Setting) -> Any:  # noqa: ANN401  (a module; Prefect only hands it on)
    """Train the autoencoder."""
    parts = setting.config, setting.bench.spec, setting.bench.device
    if (given := given_autoencoder(*parts)) is not None:
        return given
    trajectories = setting.world.trajectories, setting.validation.trajectories
    return steps.train_autoencoder(setting.bench, *trajectories, setting.world.statistics)


@task(name="prior", **OPTIONS)
def fit_prior(setting: Setting, autoencoder: Any) -> Any:  # noqa: ANN401
    """Train the prior on its own cycles."""
    day = round(DAY / setting.world.trajectories.step)
    return steps.fit_denoiser(setting.bench, setting.world, autoencoder, day)


@task(name="background-error", **OPTIONS)
def fit_covariance(setting: Setting) -> Any:  # noqa: ANN401
    """Estimate the covariance of 3DVar."""
    day = round(DAY / setting.world.trajectories.step)
    return fit_background_error(setting.bench, setting.world, day)


@task(name="judge", **OPTIONS)
def judge_all(setting: Setting, autoencoder: Any, denoiser: Any) -> dict[str, Any]:  # noqa: ANN401
    """Score autoencoder and prior on states and cycles that were not trained on."""
    world, bench = setting.validation, setting.bench
    generator = torch.Generator().manual_seed(5)
    count = bench.states_in(steps.SAMPLE_BYTES, 64)
    sample = draw_anomalies(world.trajectories, world.statistics, count, generator)
    reconstruction = reconstruction_scores(bench, autoencoder, world.statistics, sample)
    report(f"decoded truth, error / 24 h background-error variance: {reconstruction}")
    method = LOSDA(world.statistics, autoencoder, denoiser, bench.area, PRESETS["fast"])
    cycles, length = {}, setting.config.train.judged_cycles
    for fraction in setting.judged_fractions:
        errors = judge(world, method, fraction, length, 4)
        cycles[f"{fraction:g}"] = cycle_scores(errors, length // 5)
        report(f"validation cycle, {fraction:.0%} observed: {cycles[f'{fraction:g}']}")
    return {
        "reconstruction": reconstruction,
        "cycles": cycles,
        "settings": asdict(method.settings),
    }


@task(name="publish", **OPTIONS)
def publish(
    setting: Setting,
    registry: str,
    autoencoder: Any,  # noqa: ANN401
    denoiser: Any,  # noqa: ANN401
    covariance: Any,  # noqa: ANN401
    scores: dict[str, Any],
) -> dict[str, Any]:
    """Publish everything under the configuration's name."""
    config = setting.config
    configuration = {"train": config.train.identity()}
    given = given_digests(config)
    publisher = Publisher(
        Registry(registry), config.checkpoints.denoiser, configuration, setting.data, given
    )
    setting.publish(publisher)
    loss = loss_summaries(setting.bench.workshop.directory)
    if "autoencoder" not in given:
        publisher.autoencoder(
            autoencoder,
            {"reconstruction": scores["reconstruction"], "loss": loss.get("autoencoder")},
        )
    publisher.background_error(covariance, architecture(setting.bench))
    prior = {name: curve for name, curve in loss.items() if name.startswith(PRIOR)}
    publisher.denoiser(
        denoiser, {key: scores[key] for key in ("cycles", "settings")} | {"loss": prior}
    )
    report(f"published to {registry}: {', '.join(sorted(publisher.digests.keys() - given))}")
    curves = draw_curves(setting.bench.workshop.directory)
    report(f"loss curves: {curves}")
    return {
        "registry": registry,
        "components": publisher.digests,
        "scores": scores,
        "curves": str(curves) if curves else None,
    }
