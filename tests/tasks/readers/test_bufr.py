"""Known counts and values: what pdbufr 0.15.1 (ecCodes 2.50) read from the same files."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pdbufr
import pytest

from models.observations.conversions import dewpoint_to_specific_humidity, wind_components
from models.observations.quality.flags import flagged
from models.observations.table import validate_table
from models.observations.tabulate import tabulate
from tasks.bufr.decode import Decoded, decode
from tasks.bufr.frames import Frame, frames
from tasks.bufr.sections import Message, parse
from tasks.readers.account import Account
from tasks.readers.bufr import place_of, read_bufr
from tasks.readers.files import File
from tasks.readers.occultation import occultation_reports
from tasks.readers.templates import OCCULTATION, WANTED

DATA = Path(__file__).parents[2] / "data" / "bufr"


def read(name: str) -> tuple[pd.DataFrame, Account]:
    account, tables = Account(), []
    for batch in read_bufr(File(str(DATA / name))):
        account.add(batch.account)
        tables.append(batch.table)
    return validate_table(pd.concat(tables, ignore_index=True)), account


def counts(account: Account) -> dict[str, int]:
    total: Counter[str] = Counter()
    for (_, variable), count in account.kept.items():
        total[variable] += count
    return dict(total)


def left(account: Account, what: str) -> int:
    return sum(count for (own, _), count in account.left.items() if own == what)


KNOWN = {
    # file: messages, reports or levels, kept by variable
    "synop.bufr": (
        305,
        305,
        {"t2m": 174, "q2m": 158, "u10": 168, "v10": 168, "sp": 143, "msl": 136},
    ),
    "temp.bufr": (31, 2103, {"t": 1498, "q": 1368, "u": 1087, "v": 1087, "z": 1381}),
    "temp_small.bufr": (7, 403, {"t": 306, "q": 296, "u": 195, "v": 195, "z": 246}),
    "temp_hires.bufr": (1, 449, {"t": 448, "q": 448, "u": 448, "v": 448, "z": 448}),
    "aircraft.bufr": (112, 112, {"t": 112, "u": 111, "v": 111}),
    "aircraft_small.bufr": (10, 10, {"t": 10, "u": 10, "v": 10}),
    "aircraft_compressed.bufr": (2, 186, {"t": 186, "u": 186, "v": 186}),
    "synop_german.bufr": (
        *(8, 189),
        {"t2m": 72, "q2m": 70, "u10": 72, "v10": 72, "sp": 72, "msl": 66},
    ),
    "syn_new.bufr": (3, 3, {"t2m": 3, "q2m": 3, "u10": 3, "v10": 3, "sp": 3, "msl": 2}),
    "synop_multi_subset_uncompressed.bufr": (1, 12, {"t2m": 12, "u10": 3, "v10": 3}),
    "synop_radiation.bufr": (2, 2, {"t2m": 2, "u10": 1, "v10": 1}),
    "synop_wigos.bufr": (3, 3, {"t2m": 3, "q2m": 1, "u10": 1, "v10": 1, "sp": 1}),
    "synop_invalid_wigos_id.bufr": (1, 1, {}),
    "pgps_110.bufr": (1, 128, {}),
    "occultation.bufr": (1, 494, {"bending_angle": 240, "refractivity": 238}),
    "trace_gas_compressed.bufr": (1, 0, {}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_counts_and_nothing_lost(name: str) -> None:
    table, account = read(name)
    messages, reports, kept = KNOWN[name]
    assert (account.messages, account.reports) == (messages, reports)
    assert counts(account) == kept
    assert account.values == len(table) + left(account, "value")
    assert not account.damages


Oracle = tuple[str, str]


@pytest.mark.parametrize(
    ("name", "variables", "keys"),
    [
        (
            "synop.bufr",
            ("t2m", "u10"),
            ("airTemperatureAt2M", "windSpeedAt10M", "windDirectionAt10M"),
        ),
        ("temp.bufr", ("t", "u"), ("airTemperature", "windSpeed", "windDirection")),
        ("temp_hires.bufr", ("t", "u"), ("airTemperature", "windSpeed", "windDirection")),
        ("aircraft.bufr", ("t", "u"), ("airTemperature", "windSpeed", "windDirection")),
        ("aircraft_compressed.bufr", ("t", "u"), ("airTemperature", "windSpeed", "windDirection")),
    ],
)
def test_values_are_those_of_eccodes(
    name: str, variables: Oracle, keys: tuple[str, str, str]
) -> None:
    table, _ = read(name)

    def oracle(*names: str) -> pd.DataFrame:
        found = pdbufr.read_bufr(DATA / name, columns=names, required_columns=list(names))
        return found.dropna()

    def ours(variable: str) -> np.ndarray:
        return np.sort(table.loc[table["variable"] == variable, "observation"].to_numpy())

    assert ours(variables[0]) == pytest.approx(np.sort(oracle(keys[0])[keys[0]]), abs=1e-9)
    wind = oracle(*keys[1:]).astype(float)
    u, _ = wind_components(wind[keys[1]].to_numpy(), wind[keys[2]].to_numpy())
    assert ours(variables[1]) == pytest.approx(np.sort(u), abs=1e-9)


def test_first_and_last_sounding() -> None:
    table, _ = read("temp_small.bufr")
    first = table[table["station"] == "71907"].iloc[0]
    assert (first["lat"], first["lon"], first["elev"]) == (58.47, pytest.approx(281.92), 26.0)
    assert (first["pres"], first["observation"]) == (100_300.0, pytest.approx(258.3))
    assert first["time"] == pd.Timestamp("2008-12-08T12:00")
    q = table[(table["station"] == "71907") & (table["variable"] == "q")].iloc[0]
    expected = dewpoint_to_specific_humidity(np.array([255.7]), np.array([100_300.0]))[0]
    assert q["observation"] == pytest.approx(expected)
    last = table[table["station"] == "71836"].iloc[-2:]
    assert list(last["variable"]) == ["u", "v"] and (last["pres"] == 590.0).all()
    assert np.hypot(*last["observation"]) == pytest.approx(46.0)


def test_the_south_pole_is_kept() -> None:
    table, _ = read("temp_small.bufr")
    assert (table.loc[table["station"] == "89009", "lat"] == -90.0).all()
    assert (table["station"] == "89009").any()


def test_balloons_drift_in_place_and_time() -> None:
    table, _ = read("temp_hires.bufr")
    first, last = table.iloc[0], table.iloc[-1]
    assert (first["station"], first["pres"], last["pres"]) == ("10954", 100_000.0, 50_000.0)
    assert table["lat"].nunique() > 100
    assert last["time"] - first["time"] > pd.Timedelta(minutes=10)


def test_stations_have_the_names_of_their_scheme() -> None:
    assert read("synop_wigos.bufr")[0]["station"].iloc[0] == "0-705-0-1931"
    assert "08579" in set(read("synop_radiation.bufr")[0]["station"])
    assert "EU6349" in set(read("aircraft.bufr")[0]["station"])


def test_sensors_at_the_ground_are_not_the_air() -> None:
    table, account = read("synop_german.bufr")
    reason = "temperature: another value of the same report (other height, period or method)"
    assert account.left["other value", reason] == 45  # pdbufr has 117 temperatures, 72 at 2 m
    assert table.loc[table["variable"] == "t2m", "observation"].between(270, 295).all()


def test_confidence_behind_the_data_is_the_mark_of_a_value() -> None:
    table, account = read("temp.bufr")
    assert not left(account, "quality information")
    marks = table.groupby("variable")["quality"].value_counts().unstack(fill_value=0)
    assert set(marks.columns) <= {1, 3, 4} and marks[4].sum() > 0
    assert marks[1].sum() > 0.9 * len(table)
    assert flagged(table).sum() == marks[4].sum()


def test_what_the_provider_refused_is_marked() -> None:
    table, _ = read("synop.bufr")
    gross = table[(table["variable"] == "sp") & (table["observation"] < 30_000.0)]
    assert len(gross) == 1 and flagged(gross).all()
    assert flagged(table).sum() < 0.01 * len(table)


def test_what_the_table_has_no_variable_for_is_counted() -> None:
    _, account = read("pgps_110.bufr")
    reason = "path delay of ground-based GNSS: no variable of the table"
    assert account.left["other value", reason] == 128
    assert left(account, "report") == 128
    _, account = read("trace_gas_compressed.bufr")
    (reason,) = (reason for what, reason in account.left if what == "report")
    assert reason.startswith("category 3 (vertical soundings of satellites)")


def test_an_occultation_has_angles_and_refractivity() -> None:
    table, account = read("occultation.bufr")
    n = table[table["variable"] == "refractivity"]
    assert (n["observation"].iloc[0], n["height"].iloc[0]) == (pytest.approx(324.983), 868.0)
    assert (n["observation"].iloc[-1], n["height"].iloc[-1]) == (pytest.approx(0.076), 59_282.0)
    angle = table[table["variable"] == "bending_angle"]
    assert angle["impact_parameter"].between(6.36e6, 6.43e6).all()
    assert set(table["station"]) == {"satellite 755"}
    assert (table["quality"] == 1).all()
    reason = "retrieved profile of a radio occultation: no observation"
    assert account.left["other value", reason] == 393  # as pdbufr's airTemperature


@pytest.mark.parametrize(
    ("bit", "marks"),
    [(1, {4}), (2, {1}), (5, {4}), (6, {1, 4}), (16, {1})],
)
def test_occultations_that_are_not_nominal_are_marked(bit: int, marks: set[int]) -> None:
    (frame,) = frames(io.BytesIO((DATA / "occultation.bufr").read_bytes()))
    assert isinstance(frame, Frame)
    message = parse(frame)
    assert isinstance(message, Message)
    (decoded,) = decode([message], WANTED)
    assert isinstance(decoded, Decoded)
    (flags,) = decoded.block.columns(33039)
    flags.values[:] = 1 << (16 - bit)
    place = place_of(decoded.block, OCCULTATION)
    reports = list(occultation_reports(decoded.block, place, Account()))
    tables = [tabulate(own, "bufr:a").table for own, _ in reports]
    assert set(pd.concat(tables)["quality"]) == marks
