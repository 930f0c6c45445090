"""Known counts and values: what earth2bufr 0.1.1 read from the same file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.observations.table import validate_table
from tasks.readers.account import Account
from tasks.readers.bufr import read_bufr
from tasks.readers.files import File

FILE = Path(__file__).parents[2] / "data" / "prepbufr" / "adpsfc.prepbufr"


@pytest.fixture(scope="module")
def result() -> tuple[pd.DataFrame, Account]:
    account, tables = Account(), []
    for batch in read_bufr(File(str(FILE))):
        account.add(batch.account)
        tables.append(batch.table)
    return validate_table(pd.concat(tables, ignore_index=True)), account


def test_known_counts(result: tuple[pd.DataFrame, Account]) -> None:
    table, account = result
    assert (account.messages, account.reports) == (6, 257)
    count = table["variable"].value_counts()
    assert count[["t2m", "q2m", "u10", "v10", "msl"]].to_list() == [106, 99, 127, 127, 58]
    assert not account.damages
    assert account.left["message", "table definitions (read)"] == 4


def test_mass_and_wind_reports_keep_their_codes_and_marks(
    result: tuple[pd.DataFrame, Account],
) -> None:
    table, _ = result
    station = table[table["station"] == "78714"].set_index(["report_code", "variable"])
    assert station.loc[(281, "u10"), "observation"] == 0.0
    t = station.loc[(181, "t2m")]
    assert t["observation"] == pytest.approx(22.9 + 273.15)
    assert (t["quality"], t["pres"], t["elev"], t["lon"]) == (2, 99_120.0, 442.0, 274.07)
    assert station.loc[(181, "q2m"), "observation"] == pytest.approx(16_966e-6)
    assert t["time"] == pd.Timestamp("2022-08-24T06:00")
    assert set(table["quality"]) <= set(range(16)) and (table["quality"] > 3).any()


def test_unknown_elevations_take_their_pressure_with_them(
    result: tuple[pd.DataFrame, Account],
) -> None:
    table, account = result
    assert account.left["other value", "pressure computed from an unknown elevation"] == 2
    assert not (table["elev"] == 9999.0).any()
    assert table.loc[table["variable"] == "sp", "observation"].min() > 50_000.0
    assert np.isfinite(table["observation"]).all()
