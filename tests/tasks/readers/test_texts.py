"""Text formats: a real METAR extract, and lines written out by hand from the format's documents."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.observations.conversions import GRAVITY, altimeter_to_station_pressure

sys.path.insert(0, str(Path(__file__).parent))
from reading import counts, read, value

DATA = Path(__file__).parents[2] / "data"
KNOT = 1852 / 3600

ISD_HEAD = ("725090", "14739", "201601010054", "7", "+42361", "-071010", "FM-15", "+0004")
SHIP_HEAD = ("999999", "99999", "201601010600", "4", "+50000", "-010500", "FM-13", "+9999")
VISIBILITY = ("999999", "9", "N", "9")


def isd_line(head: tuple[str, ...], wind: str, temperatures: str, more: str) -> str:
    """Return a line; in front of it stands the length of what is behind the mandatory part."""
    control = "".join((*head, "KBOS ", "V030"))
    mandatory = "".join((wind, "99999", "9", "9", "N", *VISIBILITY, temperatures))
    assert (len(control), len(mandatory)) == (56, 45)
    return f"{len(more):04d}{control}{mandatory}{more}"


# 280 degrees at 5.7 m/s; 4.4 and -3.3 degrees C; 1013.8 hPa; altimeter 1014.2, station 1013.5 hPa
ISD = isd_line(ISD_HEAD, "2805N00575", "+00441-00331101381", "ADDMA1101425101355REMSYN")
# calm; 12.5 degrees C in the sea
SHIP = isd_line(SHIP_HEAD, "9991C00001", "+99999+99999999999", "ADDSA1+1251")


def igra_level(kind: str, elapsed: str, pressure: str, *rest: str) -> str:
    height, temperature, humidity, depression, direction, speed = rest
    return (
        f"{kind} {elapsed:>5} {pressure:>7}{height:>6}{temperature:>6}{humidity:>5} "
        f"{depression:>5} {direction:>5} {speed:>5}\n"
    )


IGRA = "".join(
    (
        "#USM00072201 2016 08 01 12 1105    4 ncdc-gts ncdc-gts  245531  -817889\n",
        igra_level("21", "0000", "101800B", "13B", "268B", "850", "25", "-9999", "-9999"),
        igra_level("20", "0212", "92500B", "800B", "216A", "-9999", "30", "135", "102"),
        igra_level("30", "0300", "-9999 ", "1500 ", "-9999 ", "-9999", "-9999", "140", "110"),
        igra_level("10", "-9999", "50000B", "5880B", "-55B", "120", "-8888", "160", "200"),
    )
)

LATEST = """\
#STN       LAT      LON  YYYY MM DD hh mm WDIR WSPD   GST WVHT  DPD APD MWD   PRES  PTDY  ATMP  WTMP  DEWP  VIS   TIDE
#text      deg      deg   yr mo day hr mn degT  m/s   m/s   m   sec sec degT   hPa   hPa  degC  degC  degC  nmi     ft
13002    21.00   -23.00  2020 01 01 06 00  180  5.0    MM   MM   MM  MM   MM     MM    MM    MM  26.9    MM   MM     MM
41001    34.70   -72.70  2020 01 01 05 50  220  8.0  10.0  1.9    7  MM   MM 1016.5    MM  21.2  23.4  15.9   MM     MM
"""
STATION = """\
#YY  MM DD hh mm WDIR WSPD GST  WVHT   DPD   APD MWD   PRES  ATMP  WTMP  DEWP  VIS  TIDE
#yr  mo dy hr mn degT m/s  m/s     m   sec   sec degT   hPa  degC  degC  degC   mi    ft
2019 12 31 23 50 200  7.2  9.0  1.50  6.00  4.50 190 1012.3  20.1  22.2 999.0 99.0 99.00
2020 01 01 00 50 999 99.0 99.0 99.00 99.00 99.00 999 9999.0  20.0  22.1  15.0 99.0 99.00
"""
TABLE = """\
# STATION_ID | OWNER | TTYPE | HULL | NAME | PAYLOAD | LOCATION | TIMEZONE | FORECAST | NOTE
#
41001|NDBC|Buoy|3D|EAST HATTERAS|SCOOP|34.704 N 72.672 W (34&#176;42'15" N)|E| |
"""


def test_metar_known_counts_first_and_last() -> None:
    table, account = read(DATA / "metar" / "metars.csv")
    assert (account.messages, account.reports) == (36, 36)
    assert counts(table) == {"sp": 36, "u10": 34, "v10": 34, "t2m": 33, "q2m": 33}
    assert account.left["value", "u: speed without direction"] == 2  # VRB
    first = value(table, "t2m")  # KDEN 010553Z 19004KT 10SM CLR 11/M06 A3029
    assert (first["station"], first["lat"], first["lon"]) == ("KDEN", 39.85, 255.35)
    assert first["time"] == pd.Timestamp("2020-10-01T05:53")
    assert (first["observation"], first["quality"], first["elev"]) == (284.25, 4, 1640.0)
    last = value(table, "sp", -1)
    assert (last["station"], last["time"]) == ("LTBA", pd.Timestamp("2020-10-01T05:50"))
    assert last["observation"] == pytest.approx(100_539.6, abs=0.1)


def test_metar_lines_that_are_cut_are_named(tmp_path: Path) -> None:
    text = (DATA / "metar" / "metars.csv").read_bytes()
    lines = text.splitlines(keepends=True)
    (tmp_path / "m.csv").write_bytes(b"".join(lines[:3]) + lines[3][:20] + b"\n" + lines[4])
    table, account = read(tmp_path / "m.csv")
    assert account.reports == 3 and table["station"].nunique() == 3
    (offset, reason) = account.damaged[0]
    assert offset == sum(len(line) for line in lines[:3]) and "fields; allowed: 28" in reason


def test_isd_by_hand(tmp_path: Path) -> None:
    (tmp_path / "725090-14739-2016").write_text(f"{ISD}\n{SHIP}\n")
    table, account = read(tmp_path / "725090-14739-2016")
    assert account.messages == 2 and not account.damages
    own = table[table["station"] == "725090-14739"]
    t = value(own, "t2m")
    assert (t["lat"], t["lon"], t["elev"]) == (42.361, pytest.approx(288.99), 4.0)
    assert (t["type"], t["time"]) == ("metar", pd.Timestamp("2016-01-01T00:54"))
    assert (t["observation"], t["quality"]) == (pytest.approx(277.55), 1)
    u, v = value(own, "u10"), value(own, "v10")
    assert np.hypot(u["observation"], v["observation"]) == pytest.approx(5.7)
    assert u["observation"] == pytest.approx(-5.7 * np.sin(np.radians(280)))
    assert value(own, "msl")["observation"] == pytest.approx(101_380.0)
    assert value(own, "sp")["observation"] == pytest.approx(101_350.0)
    ship = table[table["type"] == "ship"]
    assert counts(ship) == {"u10": 1, "v10": 1, "sst": 1}  # calm; no elevation, no pressure
    assert value(ship, "sst")["observation"] == pytest.approx(285.65)


@pytest.mark.parametrize("bad", ["short", ISD[:-3], "x" * 200, ISD[:50]])
def test_isd_damaged_lines_are_named(tmp_path: Path, bad: str) -> None:
    (tmp_path / "isd").write_text(f"{ISD}\n{bad}\n{ISD}\n")
    table, account = read(tmp_path / "isd")
    assert account.reports == 2 and len(table) == 12
    assert account.damaged[0][0] == len(ISD) + 1


def test_isd_marks_of_a_wind_and_of_an_altimeter_are_kept(tmp_path: Path) -> None:
    line = ISD.replace("2805N00575", "2803N00575").replace("MA1101425101355", "MA1101426999999")
    (tmp_path / "isd").write_text(f"{line}\n")
    table, _ = read(tmp_path / "isd")
    assert value(table, "u10")["quality"] == value(table, "v10")["quality"] == 3
    assert value(table, "sp")["quality"] == 6
    assert value(table, "t2m")["quality"] == 1


def test_igra_by_hand(tmp_path: Path) -> None:
    (tmp_path / "USM00072201-data.txt").write_text(IGRA)
    table, account = read(tmp_path / "USM00072201-data.txt")
    assert (account.messages, account.reports) == (5, 4)
    assert counts(table) == {"t": 3, "q": 3, "z": 3, "u": 3, "v": 3}
    first = value(table, "t")
    assert (first["station"], first["lat"], first["lon"]) == (
        "USM00072201",
        24.5531,
        pytest.approx(278.2111),
    )
    assert (first["pres"], first["observation"], first["quality"]) == (101_800.0, 299.95, 2)
    assert first["time"] == pd.Timestamp("2016-08-01T11:05")
    assert value(table, "t", 1)["time"] == pd.Timestamp("2016-08-01T11:07:12")
    assert value(table, "z", -1)["observation"] == pytest.approx(5880 * GRAVITY)
    pilot = table[table["height"].notna()]  # by height alone: pressure of the standard atmosphere
    assert len(pilot) == 2 and pilot["pres"].iloc[0] == pytest.approx(84_556.0, rel=1e-4)
    assert account.left["other value", "removed by IGRA's quality assurance"] == 1


def test_igra_soundings_go_across_batches_and_midnight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.readers import lines

    (tmp_path / "a.txt").write_text(IGRA.replace(" 12 1105 ", " 00 2305 "))
    whole, _ = read(tmp_path / "a.txt")
    assert whole["time"].iloc[0] == pd.Timestamp("2016-07-31T23:05")
    monkeypatch.setattr(lines.lines, "__defaults__", (2,))  # lines a batch
    parts, _ = read(tmp_path / "a.txt")
    pd.testing.assert_frame_equal(whole, parts)


def test_igra_levels_without_a_header_are_left(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(IGRA.replace("#USM00072201 2016", "#USM00072201 20x6") + IGRA)
    table, account = read(tmp_path / "a.txt", "igra")
    assert account.left["level", "its sounding has no sound header"] == 4
    assert account.damaged == [(0, "header of a sounding is not one of IGRA 2")]
    assert len(table) == 15


def test_ndbc_latest_by_hand(tmp_path: Path) -> None:
    (tmp_path / "latest_obs.txt").write_text(LATEST)
    table, account = read(tmp_path / "latest_obs.txt")
    assert account.messages == 2
    assert counts(table) == {"u10": 2, "v10": 2, "sst": 2, "t2m": 1, "q2m": 1, "msl": 1}
    last = value(table, "msl")
    assert (last["station"], last["lat"], last["lon"]) == ("41001", 34.7, pytest.approx(287.3))
    assert last["observation"] == pytest.approx(101_650.0)
    assert last["time"] == pd.Timestamp("2020-01-01T05:50")
    assert value(table, "v10")["observation"] == pytest.approx(5.0)
    assert account.left["other value", "waves: no variable of the table"] == 1


def test_ndbc_station_file_takes_its_position_from_the_table(tmp_path: Path) -> None:
    (tmp_path / "41001h2019.txt").write_text(STATION)
    table, account = read(tmp_path / "41001h2019.txt")
    assert not len(table)
    assert account.left["report", "position is missing or not valid"] == 2
    (tmp_path / "station_table.txt").write_text(TABLE)
    table, _ = read(tmp_path / "41001h2019.txt")
    assert counts(table) == {"t2m": 2, "sst": 2, "u10": 1, "v10": 1, "msl": 1}
    assert (table["lat"].iloc[0], table["lon"].iloc[0]) == (34.704, pytest.approx(287.328))
    assert value(table, "sst")["observation"] == pytest.approx(295.35)


def test_ndbc_in_other_units_is_refused(tmp_path: Path) -> None:
    (tmp_path / "41001.txt").write_text(STATION.replace("m/s ", "kts "))
    _, account = read(tmp_path / "41001.txt")
    ((what, reason),) = account.left
    assert what == "file" and "WSPD: unit 'kts'" in reason


def test_compressed_text_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "latest_obs.txt.gz").write_bytes(gzip.compress(LATEST.encode()))
    table, _ = read(tmp_path / "latest_obs.txt.gz")
    assert len(table) == 9 and set(table["source"]) == {"ndbc:latest_obs.txt"}


def test_station_pressure_is_that_of_the_altimeter() -> None:
    file = DATA / "metar" / "metars.csv"
    table, _ = read(file)
    raw = pd.read_csv(file, skipinitialspace=True)
    setting = raw["Altimeter"].to_numpy(np.float64) * 3386.389
    expected = altimeter_to_station_pressure(setting, raw["Elev"].to_numpy(np.float64))
    found = table.loc[table["variable"] == "sp", "observation"].to_numpy()
    assert found == pytest.approx(expected, rel=1e-12)


def test_knots_are_metres_per_second() -> None:
    table, _ = read(DATA / "metar" / "metars.csv")
    speed = np.hypot(value(table, "u10")["observation"], value(table, "v10")["observation"])
    assert speed / KNOT == pytest.approx(round(speed / KNOT), abs=1e-9)
