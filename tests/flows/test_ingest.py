"""`losda ingest`: the account on standard output, the table in a file, mistakes in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.tables import read_table

Losda = Callable[..., tuple[int, str, str]]
DATA = Path(__file__).parents[1] / "data"


def test_the_account_is_one_document(losda: Losda, tmp_path: Path) -> None:
    out = tmp_path / "table.parquet"
    code, text, _ = losda(
        "ingest", DATA / "bufr", DATA / "metar" / "*.csv", "--out", out, "--json"
    )
    document = json.loads(text)
    assert code == 0
    assert document["by_type"]["metar"] == {"q2m": 33, "sp": 36, "t2m": 33, "u10": 34, "v10": 34}
    assert document["kept"] == len(read_table(str(out))) > 5000
    assert document["values"] == document["kept"] + sum(document["left"]["value"].values())
    assert document["damaged"]["count"] == 0
    assert [Path(one["file"]).name for one in document["unread"]] == ["ORIGIN.md"]


def test_damaged_messages_are_listed_with_their_offsets(losda: Losda, tmp_path: Path) -> None:
    good = (DATA / "bufr" / "synop_wigos.bufr").read_bytes()
    (tmp_path / "a.bufr").write_bytes(good + b"BUFR\xff\xff\xff\x04" + good)
    code, text, _ = losda("ingest", tmp_path / "a.bufr", "--json")
    (one,) = json.loads(text)["damaged"]["messages"]
    assert (code, one["offset"]) == (0, len(good))
    assert one["reason"] == "message ends after the file"
    code, text, _ = losda("ingest", tmp_path / "a.bufr")
    assert code == 0 and f"at byte {len(good)}: message ends after the file" in text
    assert "left out, by reason" in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "ingest: no file is named; allowed: paths, folders, patterns, s3://…"),
        (("/no/such",), "/no/such: there is no such file; allowed: a file, a folder, a pattern"),
        ((DATA / "bufr" / "ORIGIN.md",), "format is not known; allowed: bufr, madis, ioda, metar"),
        ((DATA / "bufr", "--format", "grib"), "format 'grib'; allowed: bufr, madis"),
    ],
)
def test_bad_input_is_one_line(losda: Losda, arguments: tuple[object, ...], line: str) -> None:
    code, out, err = losda("ingest", *arguments, "--json")
    assert (code, out) == (2, "")
    assert line in err and len(err.splitlines()) == 1


def test_unread_files_are_named_and_unread_fields_summed(losda: Losda, tmp_path: Path) -> None:
    (tmp_path / "winds.txt").write_text("type sat day hms lat lon pre spd dir\nIR GOES-12 …\n")
    (tmp_path / "a.bufr").write_bytes((DATA / "bufr" / "synop.bufr").read_bytes())
    code, text, _ = losda("ingest", tmp_path)
    assert code == 0 and f"not read: {tmp_path}/winds.txt: format is not known" in text
    (line,) = (line for line in text.splitlines() if "fields not read" in line)
    assert line.split()[0].isdecimal() and "all: --json" in line
