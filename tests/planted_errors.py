"""How much of what is wrong the quality control finds, and how much of what is right it refuses.

Positions, times, types and errors are those of real files; values are those of the nature run with
Gaussian errors of the assigned size; the background is a 24 h forecast of the other model from the
truth. Three mistakes are planted:

    gross      a value in a hundred is wrong by 5 to 20 σ_o of either sign
    bias       a station in fifty has all values of one variable wrong by the same 4 to 8 σ_o
    displaced  a station in fifty is in truth 500 to 3000 km away from where it says

    python -m tests.planted_errors FILE…        prints the rates (`make quality`)
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from configs import load
from configs.observing import Files
from models.normalization import Statistics
from models.observations.background import WindowBackground
from models.observations.batch import to_observations
from models.observations.comparable import unobservable
from models.observations.errors import assign_errors
from models.observations.quality.control import screen_departures
from models.observations.quality.reasons import Reason
from models.training.nature import advance
from models.world.forecast import EmbeddedForecast
from models.world.nature import clock, forecast_model, nature_model
from tasks.assimilate import background_errors, departures, spread
from tasks.components import Components
from tasks.ingest_files import judge_reports, read_tables
from tasks.observing import Observing
from tasks.simulate import capped, moved, room_for_errors

LEAD = pd.Timedelta(hours=24)
MISTAKES = ("gross", "bias", "displaced")
NOT_JUDGED = (
    *("", Reason.THINNED, Reason.MERGED, Reason.DUPLICATE, Reason.REPEATED),
    *(
        Reason.WINDOW,
        Reason.VARIABLE,
        Reason.PRESSURE,
        Reason.BELOW,
        Reason.HEIGHT,
        Reason.NO_LEVEL,
    ),
)
"""Reasons that say nothing of a value."""


@dataclass(frozen=True)
class World:
    """The truth and a background of it at one time."""

    time: pd.Timestamp
    truth: torch.Tensor
    background: torch.Tensor
    statistics: Statistics


def make_world(start: int = 0) -> World:
    """Integrate both models for a day from a state of the nature run."""
    parts = Components(load("embedded"))
    world = parts.load("world")
    name = sorted(world.card.configuration["segments"])[start]  # type: ignore[call-overload,arg-type]
    began = pd.Timestamp(str(world.card.configuration["segments"][name]))  # type: ignore[call-overload,index]
    nature, forecast = nature_model(), forecast_model()
    with torch.no_grad():
        state = world.tensors[name].contiguous()
        seconds = torch.tensor([clock(began)], dtype=torch.float64)
        truth = forecast.to_grid(forecast.fit(advance(nature, state, seconds, LEAD)))
        x = forecast.to_grid(forecast.fit(state))
        background = EmbeddedForecast(forecast).step(x, began, LEAD)
    statistics = Statistics.from_tensors(parts.load("statistics").tensors)
    return World(began + LEAD, truth, background, statistics)


def observing(**quality: object) -> Observing:
    """Return the default quality control, for the embedded world."""
    files = Files(kind="files", address=("none",), quality=quality)  # type: ignore[arg-type]
    from models.state import embedded_spec

    return Observing(files, embedded_spec(), load("embedded"))


def plant(
    table: pd.DataFrame, world: World, options: Observing, random: np.random.Generator
) -> pd.DataFrame:
    """Return the table with simulated values and mistakes; the column `mistake` names them.

    The column `size` is how far a value is from the truth's at the place it claims, in √(σ_o² + σ_b²).
    """
    moment = options.moment(world.time)
    table = table.assign(time=moved(table["time"], moment, options), quality=0)
    table = assign_errors(table, options.errors)
    good = (unobservable(table, options.spec) == "") & (table["error"] > 0).to_numpy()
    table = table[good & table["time"].notna()].reset_index(drop=True)
    count, error = len(table), table["error"].to_numpy()
    mistake = np.full(count, "", object)
    station, names = pd.factorize(table["type"] + " " + table["station"])
    lost = np.isin(station, random.choice(len(names), len(names) // 50, replace=False))
    biased = np.isin(station, random.choice(len(names), len(names) // 50, replace=False)) & ~lost
    true_place = displace(table, lost, station, random)
    usable = (unobservable(true_place, options.spec) == "") | ~lost
    for name in ("lat", "lon"):
        true_place[name] = true_place[name].where(usable, table[name])
    value = equivalents(true_place, world, options)
    mistake[lost & usable] = "displaced"
    room = room_for_errors(table.assign(observation=value))
    noise = np.clip(error * random.standard_normal(count), -room, room)
    value = capped(table.assign(observation=value + noise))
    sign = np.where(random.random(count) < 0.5, -1.0, 1.0)
    variable = table.groupby("station")["variable"].transform("first").to_numpy()
    biased &= (table["variable"] == variable).to_numpy()
    value = value + np.where(biased, random.uniform(4, 8, len(names))[station] * error, 0.0)
    mistake[biased] = "bias"
    gross = (random.random(count) < 0.01) & (mistake == "")
    value = value + np.where(gross, sign * random.uniform(5, 20, count) * error, 0.0)
    mistake[gross] = "gross"
    there = equivalents(table, world, options)
    return table.assign(observation=value, mistake=mistake, wrong=np.abs(value - there - noise))


def displace(
    table: pd.DataFrame, lost: np.ndarray, station: np.ndarray, random: np.random.Generator
) -> pd.DataFrame:
    """Return the table with the true places of lost stations, 500 to 3000 km away."""
    count = int(station.max()) + 1
    distance = np.degrees(random.uniform(500, 3000, count) / 6371.0)[station]
    angle = random.uniform(0, 2 * np.pi, count)[station]
    lat = table["lat"] + np.where(lost, distance * np.cos(angle), 0.0)
    lat = lat.clip(-80, 80)
    lon = table["lon"] + np.where(lost, distance * np.sin(angle) / np.cos(np.radians(lat)), 0.0)
    return table.assign(lat=lat, lon=lon % 360.0)


@torch.no_grad()
def equivalents(table: pd.DataFrame, world: World, options: Observing) -> np.ndarray:
    observations = to_observations(table, options.spec)
    return np.asarray(observations.equivalents(world.truth.double())[0].numpy())


@torch.no_grad()
def control(table: pd.DataFrame, world: World, options: Observing) -> pd.DataFrame:
    """Judge a table as the cycle does, without and with the background."""
    moment = options.moment(world.time)
    screened = judge_reports(table, options, moment, world.statistics)
    background = WindowBackground(world.time, {world.time: world.background})
    observations = to_observations(screened, options.spec, background)
    o_minus_b = departures(observations, world.background)
    everyone = np.ones(len(o_minus_b), bool)
    sigma_b = background_errors(
        observations, o_minus_b, world.statistics, everyone, screened[screened["used"]]
    )
    assumed = spread(screened["used"], sigma_b)
    own = {"o_minus_b": spread(screened["used"], o_minus_b), "background_error": assumed}
    return screen_departures(screened.assign(**own), options.control, moment, assumed)


def rates(judged: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the rates by mistake: how many, hits, and hits among those beyond 5 deviations.

    Hits are parts of the values that are judged: what is thinned or a duplicate is not. Of displaced
    stations, `stations` is the part of which something is refused. `false` is the part of sound
    values that is refused; what goes with wrong values of its report or station is in `beside`.
    """
    known = ~judged["reason"].isin([r for r in NOT_JUDGED if r])
    value = judged[known | (judged["reason"].isin(["", Reason.THINNED, Reason.MERGED]))]
    refused = ~value["reason"].isin(["", Reason.THINNED, Reason.MERGED])
    deviation = np.hypot(value["error"], value["background_error"].fillna(0.0))
    far = value["wrong"] > 5.0 * deviation
    found: dict[str, dict[str, float]] = {}
    for name in MISTAKES:
        own = value["mistake"] == name
        found[name] = {
            "values": int(own.sum()),
            "hits": float(refused[own].mean()),
            "beyond 5": int((own & far).sum()),
            "hits beyond 5": float(refused[own & far].mean()),
        }
    lost = value["mistake"] == "displaced"
    by_station = refused[lost].groupby(value["station"][lost]).any()
    found["displaced"]["stations"] = float(by_station.mean())
    sound = value["mistake"] == ""
    partner = value["reason"].isin([Reason.PARTNER, Reason.STATION])
    found["sound"] = {
        "values": int(sound.sum()),
        "false": float((refused & ~partner)[sound].mean()),
        "beside": float((refused & partner)[sound].mean()),
    }
    found["reasons of sound values"] = value["reason"][sound & refused].value_counts().to_dict()
    return found


def measure(
    files: Sequence[str], seeds: int = 1, **quality: object
) -> dict[str, dict[str, float]]:
    """Return the rates of all values of some draws."""
    table = read_tables(files).table
    world, options = make_world(), observing(**quality)
    judged = []
    for seed in range(seeds):
        planted = plant(table, world, options, np.random.default_rng(seed))
        found = control(planted, world, options)
        assert len(found) == len(planted)
        judged.append(found.assign(station=found["station"] + f" {seed}"))
    return rates(pd.concat(judged, ignore_index=True))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1:]), indent=1) + "\n")
