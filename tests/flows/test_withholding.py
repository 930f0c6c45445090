"""Withheld observations: without influence on the analysis, judged like the others, each once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

from models.observations.background import WindowBackground
from models.observations.quality.reasons import Reason
from models.observations.quality.withholding import part_of_stations
from tasks.notebook import Assimilation
from tasks.tables import read_table

if TYPE_CHECKING:
    from conftest import Tiny

Losda = Callable[..., tuple[int, str, str]]
TIME = pd.Timestamp("2001-01-03T00")
PARTS, PART = 3, 1
WITHHOLD = f"observations.withhold={{parts: {PARTS}, part: {PART}}}"
FILES = 'observations.source={kind: files, address: ["none"]}'


def reports(count: int = 60) -> pd.DataFrame:
    """Soundings of three values, each station a cluster of neighbors of another."""
    random = np.random.default_rng(0)
    place = np.repeat(np.arange(count // 3), 3)
    return pd.DataFrame(
        {
            "time": TIME,
            "lat": np.linspace(-60, 60, count // 3)[place],
            "lon": (20.0 * place) % 360,
            "level": np.nan,
            "pres": np.tile([5e4, 6e4, 8.5e4], count // 3),
            "variable": "t",
            "observation": 270.0 + 2.0 * random.standard_normal(count),
            "error": 1.0,
            "type": "temp",
            "station": [f"{k:05d}" for k in place],
        }
    )


def background_of(assimilate: Assimilation) -> WindowBackground:
    x = assimilate.statistics.climatology([TIME]).float()
    return WindowBackground(TIME, {TIME: x})


def withheld_rows(table: pd.DataFrame) -> np.ndarray:
    return part_of_stations(table, PARTS, seed=0) == PART


@pytest.mark.parametrize("source", [(), (FILES,)], ids=["drawn", "files"])
def test_the_analysis_is_that_without_the_withheld_observations(
    tiny: "Tiny", source: tuple[str, ...]
) -> None:
    table = reports()
    rows = withheld_rows(table)
    wrong = table.assign(observation=table["observation"] + np.where(rows, 5.0, 0.0))
    assert 0 < rows.sum() < len(table) / 2
    aside = Assimilation(tiny.config, [WITHHOLD, *source])
    whole = Assimilation(tiny.config, source)
    x = background_of(aside)
    analysis, feedback = aside.analysis(x, table)
    expected, without = whole.analysis(x, table[~rows])
    assert torch.equal(analysis.x_a, expected.x_a)
    assert torch.equal(analysis.x_a, aside.analysis(x, wrong)[0].x_a)
    assert not torch.equal(analysis.x_a, whole.analysis(x, table)[0].x_a)
    pd.testing.assert_frame_equal(feedback[~rows].reset_index(drop=True), without)


@pytest.mark.parametrize(("source", "value"), [((), 340.0), ((FILES,), 312.0)])
def test_withheld_observations_have_departures_and_gross_errors_do_not_judge(
    tiny: "Tiny", source: tuple[str, ...], value: float
) -> None:
    table, assimilate = reports(), Assimilation(tiny.config, [WITHHOLD, *source])
    rows = withheld_rows(table)
    gross = np.flatnonzero(rows)[2]  # the lowest of its station
    table.loc[gross, "observation"] = value
    analysis, feedback = assimilate.analysis(background_of(assimilate), table)
    assert feedback["reason"][gross] in (Reason.BACKGROUND, Reason.BUDDIES)
    judging = feedback[feedback["reason"] == Reason.WITHHELD]
    good = rows & (table["station"] != table["station"][gross]).to_numpy()
    assert set(np.flatnonzero(good)) <= set(judging.index) < set(np.flatnonzero(rows))
    assert judging[["o_minus_b", "o_minus_a", "background_error"]].notna().all(axis=None)
    at_the_place = Assimilation(tiny.config, source).analysis(
        WindowBackground(TIME, {TIME: analysis.x_a}), table
    )[1]
    shown = at_the_place.loc[judging.index, "o_minus_b"]
    np.testing.assert_allclose(judging["o_minus_a"], shown, atol=1e-3)


def test_each_station_is_withheld_once_and_the_same_command_makes_nothing_anew(
    losda: Losda, tiny: "Tiny", tmp_path: Path
) -> None:
    command = ("crossvalidate", tiny.config, "--parts", 3, "--out", tmp_path / "c", "--json")
    code, text, err = losda(*command)
    assert code == 0, err
    document = json.loads(text)
    cycles = ("20010103T06", "20010103T12")  # the first is the spin-up
    used = sum(
        read_table(str(tmp_path / "c" / "all" / "feedback" / f"{cycle}.parquet"))["used"].sum()
        for cycle in cycles
    )
    assert document["cycles"] == 2
    assert sum(row["count"] for row in document["withheld"]) == used
    for row in document["withheld"]:
        assert row["low"] <= row["analysis"] - row["background"] <= row["high"]
    whole = {row["variable"]: row for row in document["reference"] if row["experiments"] == "all"}
    assert whole["msl"]["analysis"] < whole["msl"]["background"]
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("c/*/ledger/*/*.json")}
    assert len(made) == 4 * 3 * 4
    code, text, _ = losda(*command)
    assert code == 0 and json.loads(text) == document
    assert {path: path.stat().st_mtime_ns for path in made} == made
    code, text, _ = losda(*command[:-1])
    assert code == 0 and "observations that the analysis has not seen" in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--parts", 1), "observations.withhold.parts: 1"),
        (("--set", "spin_up=3"), "spin_up: 3; of 3 cycles none is left to count"),
    ],
)
def test_wrong_settings_are_one_line(
    losda: Losda, tiny: "Tiny", tmp_path: Path, arguments: tuple[object, ...], line: str
) -> None:
    code, out, err = losda("crossvalidate", tiny.config, "--out", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert line in err and len(err.splitlines()) == 1


def test_a_part_that_is_none_is_refused(losda: Losda, tiny: "Tiny") -> None:
    setting = "observations.withhold={parts: 3, part: 3}"
    code, _, err = losda("run", tiny.config, "--set", setting)
    assert code == 2 and "observations.withhold" in err and "0 to 2" in err
