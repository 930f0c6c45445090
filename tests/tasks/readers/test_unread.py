"""What a file holds beyond what is read is named with a count, in every format."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "bufr")]
from bufr_messages import TEMPERATURE, Field, message, packed, surface
from reading import read
from test_binary import write_ioda, write_odb
from test_texts import ISD, LATEST

DATA = Path(__file__).parents[2] / "data"


def fields(path: Path) -> dict[str, int]:
    _, account = read(path)
    return {
        reason.removesuffix(": not read"): count
        for (what, reason), count in account.left.items()
        if what == "field"
    }


@pytest.mark.parametrize(
    ("file", "name", "count"),
    [
        ("bufr/synop.bufr", "0 20 003 present weather", 178),
        ("bufr/temp.bufr", "0 02 011 radiosonde type", 31),
        ("bufr/aircraft_compressed.bufr", "0 33 025", 0),
        ("prepbufr/adpsfc.prepbufr", "0 07 250 poe pressure observation error", 257),
        ("madis/2005082600_acars.nc.gz", "heading", 60),
        ("madis/2005082600_metar.nc.gz", "skyCover", 48),
        ("madis/2005082600_rawin.nc.gz", "sondTyp", 13),
        ("madis/2011052700_satwnd.nc.gz", "RFF", 43),
        ("madis/2011060311_profiler.nc.gz", "HorizSpStdDev", 6),
        ("metar/metars.csv", "Pcp24h", 36),
    ],
)
def test_fields_of_the_samples(file: str, name: str, count: int) -> None:
    assert fields(DATA / file).get(name, 0) == count


def test_what_is_read_is_no_unread_field() -> None:
    found = fields(DATA / "bufr" / "synop.bufr") | fields(DATA / "madis/2005082600_metar.nc.gz")
    assert not [name for name in found if "temperature at 2 m" in name or name == "dewpoint"]
    assert not {"temperature", "windDir", "altimeter", "latitude", "elevation"} & found.keys()


def test_fields_of_texts_and_databases(tmp_path: Path) -> None:
    (tmp_path / "isd").write_text(f"{ISD}\n")
    assert fields(tmp_path / "isd")["visibility"] == 1
    (tmp_path / "latest_obs.txt").write_text(LATEST)
    assert fields(tmp_path / "latest_obs.txt").keys() >= {"DPD", "APD", "MWD", "PTDY"}
    write_odb(tmp_path / "a.odb")
    assert fields(tmp_path / "a.odb") == {}
    write_ioda(tmp_path / "sondes.nc4")
    assert fields(tmp_path / "sondes.nc4") == {}
    frame = pd.DataFrame({"LAT": [1.0], "LON": [2.0], "TMDB": [280.0], "REMARK": ["cold"]})
    frame.assign(OBS_TIMESTAMP=pd.Timestamp("2020-01-01")).to_parquet(tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == {"REMARK": 1}


def quality(path: Path) -> dict[str, int]:
    _, account = read(path)
    return {r: n for (what, r), n in account.left.items() if what == "quality information"}


def test_what_is_said_of_other_values_is_no_common_field(tmp_path: Path) -> None:
    own = surface(280.0)
    descriptors = [*TEMPERATURE[:3], 204008, 31021, 12101, 204000, 33007]
    data: list[Field] = [*own[:-1], (1, 6), (7, 8), own[-1], (90, 7)]
    (tmp_path / "a.bufr").write_bytes(message(descriptors, packed(data)))
    table, _ = read(tmp_path / "a.bufr")
    assert table["observation"].tolist() == [280.0]
    assert quality(tmp_path / "a.bufr") == {
        "associated fields (operator 2 04): not read": 1,
        "0 33 007 per cent confidence: not read": 1,
    }
    assert "0 33 025 acars interpolated values indicator: not read" in quality(
        DATA / "bufr" / "aircraft_compressed.bufr"
    )


def test_quality_information_behind_the_data_is_counted_where_it_is_not_read(
    tmp_path: Path,
) -> None:
    behind = [224000, 236000, 101008, 31031, 1031, 1032, 8023, 101001, 224255]
    data = packed([*surface(280.0), *[(1, 1)] * 7, (0, 1), (98, 16), (1, 8), (4, 6), (5, 16)])
    (tmp_path / "a.bufr").write_bytes(message([*TEMPERATURE, *behind], data))
    table, _ = read(tmp_path / "a.bufr")
    assert table["observation"].tolist() == [280.0] and (table["quality"] == 0).all()
    reason = "behind the data (operators 2 22 to 2 32): not read"
    assert quality(tmp_path / "a.bufr") == {reason: 1}
