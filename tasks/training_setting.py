"""What a training works with: bench, training world and validation world, for either reference."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from configs import Config
from configs.data import NatureReference
from configs.forecast import EmulatorForecast, ForeignForecast
from models.emulator import Emulator, sphere_coordinates
from models.features import position_features, world_features
from models.forecast import ForecastModel, Persistence, history_of
from models.normalization import Statistics
from models.state import StateSpec, embedded_spec
from models.training.cycles import World
from models.training.processes import ALONE, Processes
from models.training.trajectories import Trajectories
from tasks import training_data as data
from tasks.training_bench import Bench
from tasks.training_given import given_statistics
from tasks.training_processes import own_device
from tasks.training_publish import Publisher
from tasks.training_steps import fit_climatology, fit_error
from tasks.workshop import Workshop

__all__ = ["Setting", "open_setting"]

Extra = dict[str, tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], dict[str, Any]]]

DAY = pd.Timedelta(days=1)
#: Leaves room for 100 judged cycles, their first forecast and the dates that are drawn.
VALIDATION_DAYS = 40


@dataclass(frozen=True)
class Setting:
    """Everything around the training of autoencoder and prior.

    Attributes:
        config: The configuration.
        bench: What all steps share.
        world: Training trajectories, forecast model, statistics.
        validation: The same with trajectories that are not trained on.
        data: What the training data were, for the cards.
        extra: Other components to publish: name → (tensors, architecture, scores, configuration).
        judged_fractions: Observed fractions of the validation cycles.
    """

    config: Config
    bench: Bench
    world: World
    validation: World
    data: dict[str, Any]
    extra: Extra = field(default_factory=dict)
    judged_fractions: tuple[float, ...] = (0.01, 0.05, 0.10)

    def publish(self, publisher: Publisher) -> None:
        """Publish the statistics and the components that belong to the reference."""
        if "statistics" not in publisher.digests:
            publisher.statistics(self.bench, self.world.statistics)
        for name, (tensors, architecture, scores, configuration) in self.extra.items():
            if name == "emulator":
                publisher.emulator(tensors, architecture, scores)
            else:
                publisher.publish(name, tensors, architecture, scores, **configuration)


def open_setting(
    config: Config, directory: str, report: Callable[[str], None], processes: Processes = ALONE
) -> Setting:
    """Make or load trajectories, forecast model and statistics.

    Args:
        config: The configuration.
        directory: Working directory.
        report: Shows a line of progress.
        processes: Those that train together.

    Raises:
        ValueError: The configuration cannot be trained for, or the data are wrong.
    """
    workshop = Workshop(directory, processes)
    if isinstance(config.reference, NatureReference):
        return nature_setting(config, workshop, report)
    return data_setting(config, workshop, report)


def nature_setting(config: Config, workshop: Workshop, report: Callable[[str], None]) -> Setting:
    """Return the setting of the embedded world."""
    from models.world.boundary import land_fraction
    from models.world.forecast import EmbeddedForecast
    from models.world.nature import forecast_model

    trajectories = data.nature_trajectories(config, workshop, report)
    validation = data.validation_trajectories(config, workshop, report, VALIDATION_DAYS)
    spec, model = embedded_spec(), forecast_model()
    latitude, longitude = np.asarray(spec.grid.latitude), np.asarray(spec.grid.longitude)
    land = torch.from_numpy(land_fraction(latitude, longitude))
    altitude = model.transform.synthesis(model.orography.float())[0, 0]
    device = own_device(config.train)
    features = world_features(spec.grid, land, altitude).to(device)
    bench = Bench(workshop, config.train, spec, features, report, device)
    given = given_statistics(config, spec, device)
    statistics = given or fit_climatology(bench, trajectories, 7)
    forecast: ForecastModel = EmbeddedForecast(model.to(device))
    extra: Extra = {}
    if "world" not in config.train.given:
        starts = workshop.tensors("world", lambda: data.segments(config.train.nature.seed))
        extra["world"] = starts, {"truncation": 31}, {}, {"segments": data.SEGMENTS}
    if isinstance(config.forecast_model, EmulatorForecast):
        both = (trajectories, validation)
        place = torch.cat([sphere_coordinates(spec.grid), features[2:].cpu()])
        forecast, learned = learned_forecast(bench, config, spec, statistics, both, place)
        extra |= learned
    first = World(trajectories, forecast, statistics, bench.area)
    statistics = given or fit_error(bench, first, 4, 30)
    forecast = with_statistics(forecast, statistics)
    nature = config.train.nature.model_dump(mode="json")
    return Setting(
        config,
        bench,
        World(trajectories, forecast, statistics, bench.area),
        World(validation, forecast, statistics, bench.area),
        {"reference": "nature run", "first_year": data.FIRST_YEAR, **nature},
        extra,
    )


def data_setting(config: Config, workshop: Workshop, report: Callable[[str], None]) -> Setting:
    """Return the setting of a reference that is data."""
    period, judged = config.train.period, config.train.validation
    if period is None or judged is None:
        raise ValueError(
            "train.period and train.validation: needed to train on data, "
            "each with a start and an end"
        )
    if period.start <= judged.end and judged.start <= period.end:
        raise ValueError("train.validation: overlaps train.period; they must be disjoint")
    spec, trajectories = data.period_trajectories(config, period, str(workshop.directory))
    _, validation = data.period_trajectories(config, judged, str(workshop.directory))
    device = own_device(config.train)
    features = position_features(spec.grid).to(device)
    bench = Bench(workshop, config.train, spec, features, report, device)
    given = given_statistics(config, spec, device)
    functions = functions_of_time(trajectories, spec)
    statistics = given or fit_climatology(bench, trajectories, functions)
    forecast, extra = learned_forecast(bench, config, spec, statistics, (trajectories, validation))
    first = World(trajectories, forecast, statistics, bench.area)
    steps = max(1, round(DAY / trajectories.step))
    statistics = given or fit_error(bench, first, steps, config.train.error_forecasts)
    forecast = with_statistics(forecast, statistics)
    network = config.observations.network
    fraction = getattr(network, "fraction", 0.05)
    return Setting(
        config,
        bench,
        World(trajectories, forecast, statistics, bench.area),
        World(validation, forecast, statistics, bench.area),
        {
            "reference": config.reference.kind,
            "period": period.model_dump(mode="json"),
            "validation": judged.model_dump(mode="json"),
        },
        extra,
        tuple(sorted({fraction, *config.train.denoiser.fractions})),
    )


def with_statistics(forecast: ForecastModel, statistics: Statistics) -> ForecastModel:
    """Return a forecast model with the final statistics, if it holds any."""
    if not isinstance(forecast, Emulator):
        return forecast
    emulator = Emulator.from_tensors(forecast.shape, forecast.tensors(), statistics)
    return emulator.to(statistics.std.device)


def functions_of_time(trajectories: Trajectories, spec: StateSpec) -> int:
    """Return how many functions of time a single stream can tell apart: mean, seasons, hours."""
    if trajectories.length * trajectories.step < pd.Timedelta(days=360):
        return 1
    hours = trajectories.step <= pd.Timedelta(hours=8) and not DAY % trajectories.step
    return 7 if hours and spec.grid.wraps else 5


def learned_forecast(
    bench: Bench,
    config: Config,
    spec: StateSpec,
    statistics: Statistics,
    trajectories: tuple[Trajectories, Trajectories],
    features: Tensor | None = None,
) -> tuple[ForecastModel, Extra]:
    """Return the forecast model of a configuration, trained if it is learned."""
    if isinstance(config.forecast_model, ForeignForecast):
        return foreign_forecast(config, statistics, spec), {}
    if not isinstance(config.forecast_model, EmulatorForecast):
        return Persistence(), {}
    from tasks.training_emulator import fit_emulator
    from tasks.training_pictures import loss_summaries

    emulator, errors = fit_emulator(bench, spec, statistics, trajectories, features)
    loss = loss_summaries(bench.workshop.directory)["emulator"]
    scores: dict[str, Any] = {**errors, "loss": loss}
    extra: Extra = {"emulator": (emulator.tensors(), emulator.shape.to_dict(), scores, {})}
    return emulator, extra


def foreign_forecast(config: Config, statistics: Statistics, spec: StateSpec) -> ForecastModel:
    """Return a forecast model of others, with which the components are trained.

    Raises:
        ValueError: The model has memory.
    """
    from tasks.components import Components

    model = Components(config).forecast_model(statistics, spec)
    if history_of(model) is not None:
        raise ValueError(
            f"forecast_model.kind: {config.forecast_model.kind!r}; nothing is trained with a "
            "model that also needs the states before"
        )
    return model
