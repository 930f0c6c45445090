"""The report of a synthetic experiment, written with the real storage functions."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from torch import Tensor

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.observations.batch import to_observations
from models.observations.networks import Network, draw_network
from models.observations.table import background_check, screen
from models.state import StateSpec, Variable
from models.verification.scoring import score_observations, score_state
from tasks import archive, store
from tasks.ledger import Attempt, Ledger, StageResult, open_experiment, run_stage
from tasks.report import write_report

START, STEP, NOW = pd.Timestamp("2005-01-01"), pd.Timedelta(hours=6), pd.Timedelta(0)
MEANS = {"u": 8.0, "v": 0.0, "t": 260.0, "q": 4e-3, "sp": 98500.0, "msl": 1.013e5, "z": 5.5e4}
SPREADS = {"u": 8.0, "v": 7.0, "t": 3.0, "q": 1e-3, "sp": 750.0, "msl": 800.0, "z": 1000.0}


@dataclass(frozen=True)
class Recipe:
    """What a synthetic experiment has."""

    spec: StateSpec
    cycles: int = 6
    spin_up: int = 2
    members: int = 1
    free: bool = True
    forecasts: bool = True
    trace: bool = True
    keep_truth: bool = True
    network: Network = Network("columns", fraction=0.1)


def small_spec(vertical: Any = "sigma") -> StateSpec:
    levels = (0.2, 0.51, 0.95)
    return StateSpec(
        (
            Variable("u", "eastward_wind", "m s-1", levels, "eastward wind"),
            Variable("t", "air_temperature", "K", levels, "temperature"),
            Variable("q", "specific_humidity", "kg kg-1", levels[1:], "specific humidity", True),
            Variable("sp", "surface_air_pressure", "Pa", None, "surface pressure"),
        ),
        LatLonGrid.gaussian(8, 16),
        vertical,
    )


def regional_spec() -> StateSpec:
    """The layout of the reanalysis over Europe: north first, longitudes across Greenwich."""
    variables = (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa", None, "sea-level pressure"),
        Variable("z", "geopotential", "m2 s-2", (500.0,), "geopotential"),
        Variable("t", "air_temperature", "K", (850.0,), "temperature"),
    )
    latitude = tuple(np.linspace(55, 30, 11).tolist())
    longitude = tuple(np.linspace(-15, 15, 13).tolist())
    return StateSpec(variables, LatLonGrid(latitude, longitude), "pressure")


class World:
    """Smooth random states about a climatology: truth, background, analysis and free run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.spec = recipe, recipe.spec
        self.generator = np.random.default_rng(1)
        names = [field.variable for field in self.spec.fields]
        self.mean = np.array([MEANS[n] for n in names])[:, None, None]
        self.std = np.array([SPREADS[n] for n in names])[:, None, None]
        shape = (5, *self.spec.shape)
        coefficients = torch.zeros(shape)
        coefficients[0] = torch.as_tensor(np.broadcast_to(self.mean, shape[1:]).copy())
        std = torch.as_tensor(self.std.ravel(), dtype=torch.float32)
        error = torch.full_like(std, 0.3)
        self.statistics = Statistics(coefficients, std, error, torch.ones_like(std, dtype=bool))
        self.anomaly = self.noise()
        self.error = 0.9 * self.noise(recipe.members)

    def noise(self, count: int | None = None) -> np.ndarray:
        """Fields of unit variance whose power falls with the wavenumber."""
        shape = (*(() if count is None else (count,)), *self.spec.shape)
        wave = [np.fft.fftfreq(n) * n for n in shape[-2:]]
        k = np.hypot(wave[0][:, None] * (1 if self.spec.grid.wraps else 2), wave[1])
        white = np.fft.fft2(self.generator.standard_normal(shape))
        smooth = np.fft.ifft2(white / (1 + (k / 4) ** 2) ** 1.2).real
        return smooth / smooth.std((-1, -2), keepdims=True)

    def state(self, anomaly: np.ndarray) -> Tensor:
        return torch.as_tensor(self.mean + self.std * anomaly, dtype=torch.float32)

    def step(self) -> dict[str, Tensor]:
        """Advance the truth, spoil the background, and mend it in the analysis."""
        self.anomaly = 0.95 * self.anomaly + 0.31 * self.noise()
        self.error = 0.92 * self.error + 0.12 * self.noise(self.recipe.members)
        background = self.error
        self.error = 0.8 * self.error + 0.06 * self.noise(self.recipe.members)
        states = {
            "truth": self.anomaly,
            "background": self.anomaly + background,
            "analysis": self.anomaly + self.error,
            "free": (0.3 * self.anomaly + 0.9 * self.noise())[None],
        }
        return {name: self.state(anomaly) for name, anomaly in states.items()}


def make_experiment(root: str, recipe: Recipe) -> World:
    """Write what a run leaves: configuration, commits, attempts, archive, feedback, scores."""
    world = World(recipe)
    settings = {
        "name": "synthetic", "seed": 0, "start": START.isoformat(), "step": "PT6H",
        "spin_up": recipe.spin_up,
        "forecast_model": {"kind": "embedded"},
        "observations": {"network": {"kind": recipe.network.kind, "fraction": 0.1, "noise": 0.1}},
        "method": {"kind": "losda", "preset": "fast", "members": recipe.members},
    }  # fmt: skip
    components = {"autoencoder": "a1" * 32, "denoiser": "b2" * 32, "statistics": "c3" * 32}
    open_experiment(root, {"configuration": settings, "components": components})
    for number in range(recipe.cycles):
        write_cycle(root, world, START + number * STEP, number)
    return world


def write_cycle(root: str, world: World, time: pd.Timestamp, number: int) -> None:
    recipe, spec, states = world.recipe, world.spec, world.step()
    feedback = make_feedback(world, time, states)
    scores = make_scores(world, time, states, feedback)
    noise = 1 + 0.1 * world.generator.random()

    def work(stage: str) -> Callable[[Attempt], StageResult]:
        def write(attempt: Attempt) -> StageResult:
            if stage == "verification" and recipe.keep_truth:
                address = store.join(attempt.address, "truth")
                archive.write_fields(address, spec, states["truth"][None], time)
            if stage == "analysis":
                trace = make_trace(number, len(feedback)) if recipe.trace else []
                document = str({"trace": trace}).replace("'", '"').encode()
                store.write_bytes(store.join(attempt.address, "trace.json"), document)
            parts = {"read": 0.01, "model": 1.5, "write": 0.05}
            return StageResult({name: value * noise for name, value in parts.items()})

        return write

    for stage in ("forecast", "observations", "analysis", "verification"):
        run_stage(Ledger(root), time, stage, fingerprint="f", inputs={}, work=work(stage))
    for name in ("background", "analysis"):
        archive.publish(root, name, spec, START, STEP, time, states[name])
    for folder, table in (("feedback", feedback), ("scores", scores)):
        archive.write_table(store.join(root, folder, f"{time:%Y%m%dT%H}.parquet"), table)


def make_trace(number: int, count: int) -> list[dict[str, float]]:
    start = count * (3 + 20 / (1 + number))
    rows = [{"step": 0, "sigma": 10.0, "J_o_before": start, "J_b": count / 6, "J_o": count / 1.6}]
    return [*rows, {"step": 1, "sigma": 1.0, "J_o_before": count / 1.6, "J_b": 9.0, "J_o": count / 2}]


def make_feedback(world: World, time: pd.Timestamp, states: dict[str, Tensor]) -> pd.DataFrame:
    spec = world.spec
    table = draw_network(world.recipe.network, spec, world.statistics.std, states["truth"], time, 0)
    table.loc[table.index[:2], "observation"] = [np.inf, 1e9]
    table = screen(table, spec)
    observations = to_observations(table, spec)
    used = table["used"].to_numpy(bool)
    for letter, name in (("b", "background"), ("a", "analysis")):
        column = np.full(len(table), np.nan)
        equivalent = observations.operator(states[name]).mean(0)
        column[used] = (observations.y - equivalent).double().numpy()
        table[f"o_minus_{letter}"] = column
    table["background_error"] = 5 * table["error"]
    return background_check(table, table["o_minus_b"], table["background_error"], 4.0)


def make_scores(
    world: World, time: pd.Timestamp, states: dict[str, Tensor], feedback: pd.DataFrame
) -> pd.DataFrame:
    def score(x: Tensor, lead: pd.Timedelta, source: str) -> pd.DataFrame:
        truth, valid = states["truth"], time + lead
        return score_state(x, truth, world.spec, world.statistics, valid, time, lead, source)

    names = ["background", "analysis", *(["free"] if world.recipe.free else [])]
    tables = [score(states[name], NOW, name) for name in names]
    if world.recipe.forecasts and time.hour == 0:
        for day in range(1, 6):
            worse = world.state(world.anomaly + 0.25 * day * world.noise())[None]
            tables.append(score(worse, day * pd.Timedelta(days=1), "forecast"))
    return pd.concat([*tables, score_observations(feedback)], ignore_index=True)
