"""Real soundings against a real analysis of the same hour: decoder, units, time and H together.

Wrong units, a wrong day, a wrong sign or a wrong level each make the differences many times larger.
ERA-Interim has seen these soundings: its errors are larger.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs import load
from configs.observing import Files
from models.observations.batch import to_observations
from models.observations.quality.reasons import Reason, account
from tasks.ingest_files import judge_reports, read_tables
from tasks.observing import Observing
from tasks.reference_gridded import NetcdfReference

DATA = Path(__file__).parents[1] / "data" / "soundings-2008-12-08"
NOON = pd.Timestamp("2008-12-08T12")


@pytest.fixture(scope="module")
def soundings() -> tuple[pd.DataFrame, NetcdfReference]:
    config = load("era-interim-europe", [f"reference.address={DATA}"])
    assert config.reference.kind == "netcdf"
    reference = NetcdfReference(str(DATA), config.reference.variables, None)
    quality = {"thinning": {"kind": "none"}}
    files = Files(kind="files", address=("none",), quality=quality)  # type: ignore[arg-type]
    observing = Observing(files, reference.spec, config)
    table = read_tables([str(DATA / "temp.bufr")]).table
    return judge_reports(table, observing, observing.moment(NOON), None), reference


def departures(
    soundings: tuple[pd.DataFrame, NetcdfReference], variable: str, day: pd.Timestamp
) -> np.ndarray:
    table, reference = soundings
    own = table[table["used"] & (table["variable"] == variable)]
    observations = to_observations(own, reference.spec)
    return (observations.y - observations.operator(reference.state(day)[None])[0]).numpy()


@pytest.mark.parametrize(("variable", "bias", "rms"), [("z", 23.1, 43.7), ("t", -0.27, 0.530)])
def test_soundings_are_close_to_the_analysis_of_their_hour(
    soundings: tuple[pd.DataFrame, NetcdfReference], variable: str, bias: float, rms: float
) -> None:
    found = departures(soundings, variable, NOON)
    assert len(found) == 9
    assert found.mean() == pytest.approx(bias, rel=0.02)
    assert np.sqrt((found**2).mean()) == pytest.approx(rms, rel=0.01)
    for other in (NOON - pd.Timedelta(days=1), NOON + pd.Timedelta(days=1)):
        assert np.sqrt((departures(soundings, variable, other) ** 2).mean()) > 4 * rms


def test_every_value_of_the_soundings_is_accounted_for(
    soundings: tuple[pd.DataFrame, NetcdfReference],
) -> None:
    table, _ = soundings
    assert account(table)["count"].sum() == len(table) == 2454
    counts = table["reason"].value_counts().to_dict()
    assert counts == {"": 18, Reason.VARIABLE: 1657, Reason.PRESSURE: 779}
    errors = table.loc[table["used"]].groupby("variable")["error"].first()
    assert errors["t"] == pytest.approx(0.8) and errors["z"] == pytest.approx(
        12.1 * 9.80665, rel=1e-4
    )
