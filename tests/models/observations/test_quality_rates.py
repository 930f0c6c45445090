"""Rates of the whole chain on planted mistakes, at the positions of the extracts of real files.

All of the files (`make quality`, MADIS 2005-08-26 with the SYNOP and TEMP sets, 202,000 values) give:
gross errors 96 % found, 99 % of those beyond 5 √(σ_o² + σ_b²); biased stations 72 % and 96 %;
displaced stations 69 % of the values and 99.6 %; of sound values 0.11 % are refused for themselves,
0.8 % because of what is wrong beside them.
"""

from functools import cache
from pathlib import Path

from tests.planted_errors import measure

DATA = Path(__file__).parents[2] / "data"
FILES = (
    *(f"madis/2005082600_{name}.nc.gz" for name in ("acars", "metar", "marine", "rawin")),
    *("bufr/temp.bufr", "bufr/synop.bufr", "bufr/synop_german.bufr", "bufr/aircraft.bufr"),
)


@cache
def found() -> dict[str, dict[str, float]]:
    return measure([str(DATA / name) for name in FILES], seeds=4)


def test_gross_errors_are_found() -> None:
    gross = found()["gross"]
    assert gross["values"] > 100
    assert gross["hits"] > 0.85 and gross["hits beyond 5"] > 0.95


def test_biased_stations_are_found() -> None:
    bias = found()["bias"]
    assert bias["hits"] > 0.35 and bias["hits beyond 5"] > 0.75


def test_displaced_stations_are_found() -> None:
    displaced = found()["displaced"]
    assert displaced["hits beyond 5"] > 0.9 and displaced["stations"] > 0.3


def test_sound_values_are_kept() -> None:
    sound = found()["sound"]
    assert sound["values"] > 5000
    assert sound["false"] < 0.004 and sound["beside"] < 0.03
