"""The sample files against what is known of the atmosphere: units, signs, heights and moisture.

Numbers are of the standard atmosphere and of textbook climatology: westerlies at 250 hPa in middle
latitudes of both hemispheres, trades over the tropical east Pacific, a sea as warm as its air. What
the checks would see is tested too: wrong units and signs are planted.

References:
    | Peixoto and Oort (1992), Physics of climate, chapter 7
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.observations.conversions import (
    GRAVITY,
    pressure_to_height,
    standard_temperature,
)
from models.observations.quality.values import supersaturated
from tasks.ingest_files import read_tables

sys.path[:0] = [str(Path(__file__).parents[3])]
from tests.sample_statistics import statistics_of

DATA = Path(__file__).parents[2] / "data"
MEDIANS = {
    "t2m": (265.0, 300.0),
    "q2m": (0.0015, 0.018),
    "u10": (-4.0, 6.0),
    "v10": (-4.0, 8.0),
    "msl": (100_000.0, 102_500.0),
    "sst": (285.0, 302.0),
    "u": (-12.0, 30.0),
    "v": (-12.0, 25.0),
    "refractivity": (5.0, 100.0),
    "bending_angle": (1e-4, 5e-3),
}
"""Where the median of a variable is, in a file with some values of it."""
STDS = {
    "t2m": (1.0, 20.0),
    "q2m": (5e-4, 0.009),
    "u10": (1.0, 7.0),
    "v10": (1.0, 7.0),
    "msl": (100.0, 1500.0),
    "sst": (3.0, 12.0),
    "u": (2.0, 20.0),
    "v": (1.5, 16.0),
}
ENOUGH = 10
Change = Callable[[pd.DataFrame], pd.DataFrame]


@cache
def samples() -> pd.DataFrame:
    return read_tables([str(DATA / name) for name in ("bufr", "madis", "metar", "prepbufr")]).table


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[name].to_numpy(np.float64)


def complaints(table: pd.DataFrame) -> Iterator[str]:
    """Yield what does not fit, in words."""
    found = statistics_of(table)
    medians = table.groupby(["source", "type", "variable"])["observation"].median()
    for key, row in found[found["count"] >= ENOUGH].iterrows():
        name = str(key[2])
        for limits, value in ((MEDIANS, medians[key]), (STDS, row["std"])):
            low, high = limits.get(name, (-np.inf, np.inf))
            if not low <= value <= high:
                yield f"{key}: {value:g} is not in {low:g} to {high:g}"
    if found["refused"].sum() > 0.001 * found["count"].sum():
        yield "more than one value in a thousand is one that no atmosphere has"
    for source, own in table.groupby("source"):
        yield from (f"{source}: {text}" for text in of_one_file(own))


def of_one_file(table: pd.DataFrame) -> Iterator[str]:
    parts = {str(name): own for name, own in table.groupby("variable")}
    for name in ("t", "z", "sp"):
        if name not in parts or len(own := parts[name]) < ENOUGH:
            continue
        height = pressure_to_height(column(own, "pres"))
        value, elevation = column(own, "observation"), column(own, "elev")
        expected = {
            "t": lambda h=height: standard_temperature(h),
            "z": lambda h=height: GRAVITY * h,
            "sp": lambda e=elevation: e,
        }[name]()
        own_value = pressure_to_height(value) if name == "sp" else value
        apart, allowed = np.nanmedian(own_value - expected), {"t": 25.0, "z": 5000.0, "sp": 200.0}
        if not abs(apart) < allowed[name]:
            yield f"{name} is {apart:g} off the standard atmosphere"
    moist = table["variable"].isin(["q", "q2m"])
    if moist.sum() >= ENOUGH and supersaturated(table).sum() > 0.02 * moist.sum():
        yield "air is above saturation"
    if {"sst", "t2m"} <= set(parts) and len(parts["t2m"]) >= ENOUGH:
        sea, air = (parts[name]["observation"].median() for name in ("sst", "t2m"))
        if abs(sea - air) > 4.0:
            yield f"the sea is {sea - air:g} K warmer than the air"


def test_samples_are_as_the_atmosphere() -> None:
    assert list(complaints(samples())) == []


def scaled(name: str, factor: float, offset: float = 0.0) -> Change:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        rows = table["variable"] == name
        value = table["observation"]
        return table.assign(observation=value.where(~rows, factor * value + offset))

    return change


MISTAKES: dict[str, Change] = {
    "knots": scaled("u10", 1.94),
    "Celsius": scaled("t", 1.0, -273.15),
    "Fahrenheit": scaled("t2m", 1.8, -459.67),
    "hPa": scaled("msl", 0.01),
    "g/kg": scaled("q2m", 1000.0),
    "relative humidity": scaled("q2m", 40.0),
    "metres for geopotential": scaled("z", 1.0 / GRAVITY),
    "feet": scaled("z", 3.28),
    "sea-level pressure for station pressure": lambda table: table.assign(
        observation=table["observation"].where(table["variable"] != "sp", 101_325.0)
    ),
    "Celsius sea": scaled("sst", 1.0, -273.15),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_units_is_seen(name: str) -> None:
    assert list(complaints(MISTAKES[name](samples())))


def mean_of(table: pd.DataFrame, name: str) -> float:
    own = table[table["variable"] == name]
    assert len(own) >= ENOUGH
    return float(own["observation"].mean())


@pytest.mark.parametrize("hemisphere", [1.0, -1.0])
def test_the_jets_blow_eastward_in_both_hemispheres(hemisphere: float) -> None:
    table = samples()
    north = hemisphere * table["lat"]
    jet = table[
        (table["type"] == "temp") & north.between(25, 60) & table["pres"].between(2e4, 3e4)
    ]
    below = table[(table["type"] == "temp") & north.between(25, 60) & (table["pres"] > 85_000)]
    assert mean_of(jet, "u") > 8.0 and mean_of(jet, "u") > mean_of(below, "u")
    assert abs(mean_of(jet, "v")) < mean_of(jet, "u")


def test_the_trades_blow_westward_and_to_the_equator() -> None:
    table = samples()
    trades = table[(table["type"] == "satwind") & table["lat"].between(-25, 0)]
    assert mean_of(trades, "u") < -4.0 and mean_of(trades, "v") > 1.0


def test_air_gets_thinner_with_height() -> None:
    table = samples()
    air = table[table["variable"] == "refractivity"].sort_values("height")
    low = air[air["height"] < 20_000]
    slope = np.polyfit(low["height"], np.log(low["observation"]), 1)[0]
    assert 6_000 < -1 / slope < 9_000  # the scale height
