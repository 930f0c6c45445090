"""Files are found at paths, in folders, by patterns and below s3://, and sniffed."""

import gzip
import sys
from pathlib import Path

import pandas as pd
import pytest

from models.observations.table import COLUMNS
from tasks import store
from tasks.readers.files import File, find_files
from tasks.readers.formats import FORMATS, format_of, reader_of
from tasks.readers.reading import read_batches, read_files
from tasks.tables import read_table

sys.path[:0] = [str(Path(__file__).parent)]
from reading import read
from test_texts import IGRA, ISD, LATEST

DATA = Path(__file__).parents[2] / "data"
BUFR = (DATA / "bufr" / "synop_wigos.bufr").read_bytes()


def put(root: str) -> None:
    for name in ("day1/a.bufr", "day1/b,c.bufr", "day2/a.txt"):
        data = BUFR if name.endswith("bufr") else LATEST.encode()
        store.write_bytes(store.join(root, name), data)


def names(root: str, *addresses: str) -> list[str]:
    return [file.address.removeprefix(root) for file in find_files(addresses)]


def test_a_file_a_folder_a_pattern_and_a_prefix(root: str) -> None:
    put(root)
    assert names(root, f"{root}/day2/a.txt") == ["/day2/a.txt"]
    assert names(root, root) == ["/day1/a.bufr", "/day1/b,c.bufr", "/day2/a.txt"]
    assert names(root, f"{root}/*/a*") == ["/day1/a.bufr", "/day2/a.txt"]
    assert names(root, f"{root}/day2", root)[0] == "/day2/a.txt"
    assert len(names(root, root, root)) == 3
    with pytest.raises(ValueError, match="there is no such file; allowed: a file, a folder"):
        find_files([f"{root}/nothing"])


def test_sizes_are_those_that_are_stored_now(root: str) -> None:
    put(root)
    for address in (root, f"{root}/day1/*", f"{root}/day1/a.bufr"):
        sizes = {file.address: file.size for file in find_files([address])}
        assert sizes[f"{root}/day1/a.bufr"] == len(BUFR)
    store.write_bytes(f"{root}/day1/a.bufr", BUFR * 2)
    for address in (root, f"{root}/day1/*", f"{root}/day1/a.bufr"):
        sizes = {file.address: file.size for file in find_files([address])}
        assert sizes[f"{root}/day1/a.bufr"] == 2 * len(BUFR)


@pytest.mark.s3
def test_an_s3_prefix_need_not_be_a_folder(s3_root: str) -> None:
    put(s3_root)
    assert names(s3_root, f"{s3_root}/day") == [
        "/day1/a.bufr",
        "/day1/b,c.bufr",
        "/day2/a.txt",
    ]


def test_the_same_table_from_disk_and_s3_with_one_account(root: str) -> None:
    put(root)
    out = store.join(root, "out/table.parquet")
    accounts = read_files([root], out=out)
    table = read_table(out)
    assert [len(account.kept) > 0 for _, account in accounts] == [True, True, True]
    assert len(table) == sum(sum(own.kept.values()) for _, own in accounts) == 23
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert str(table["time"].dtype) == "datetime64[ns]"
    assert set(table["source"]) == {"bufr:a.bufr", "bufr:b,c.bufr", "ndbc:a.txt"}


def test_what_was_written_can_be_read_again(tmp_path: Path) -> None:
    read_files([str(DATA / "prepbufr"), str(DATA / "metar")], out=str(tmp_path / "t.parquet"))
    table, account = read(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(table, read_table(str(tmp_path / "t.parquet")))
    assert not account.left


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (BUFR, "bufr"),
        (b"\x01\r\n123\r\nISMN01 LOWM 160000\r\n" + BUFR, "bufr"),
        (b"the format BUFR is described elsewhere", None),
        (b"CDF\x01\0\0", "madis"),
        (b"\x89HDF\r\n\x1a\n", "ioda"),
        (b"PAR1", "parquet"),
        (b"\xff\xffODA", "odb"),
        (ISD.encode(), "isd"),
        (IGRA.encode(), "igra"),
        (LATEST.encode(), "ndbc"),
        (b"YYYY MM DD hh WD   WSPD GST", "ndbc"),
        (b"Unix_time,DateString,ICAO", "metar"),
        (b"GRIB\0\0\0\2", None),
        (b"", None),
    ],
)
def test_formats_are_seen_by_their_first_bytes(head: bytes, form: str | None) -> None:
    assert format_of(head) == form


def test_every_format_has_its_reader() -> None:
    assert all(callable(reader_of(name)) for name in FORMATS)
    with pytest.raises(ValueError, match="format 'grib'; allowed: bufr, madis"):
        list(read_batches([str(DATA)], "grib"))


def test_streams_say_why_they_ended(tmp_path: Path) -> None:
    (tmp_path / "cut.bufr.gz").write_bytes(gzip.compress(BUFR * 50)[:-8])
    with File(str(tmp_path / "cut.bufr.gz")).open() as stream:
        data = stream.read()
    assert BUFR in data and "compressed data are damaged" in stream.fault
    _, account = read(tmp_path / "cut.bufr.gz")
    assert account.reports >= 3 * 49


def test_zip_archives_of_one_file_are_read(tmp_path: Path) -> None:
    import zipfile

    for name, members in (("one.zip", 1), ("two.zip", 2)):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member in range(members):
                archive.writestr(f"{member}.txt", IGRA)
    table, _ = read(tmp_path / "one.zip")
    assert len(table) == 15
    _, account = read(tmp_path / "two.zip")
    assert account.left == {("file", "zip archive of 2 files; allowed: of one"): 1}
    (tmp_path / "bad.zip").write_bytes((tmp_path / "one.zip").read_bytes()[:-30])
    _, account = read(tmp_path / "bad.zip")
    assert account.left == {("file", "compressed data are damaged (File is not a zip file)"): 1}


def test_bytes_between_messages_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.bufr").write_bytes(b"ISMN01 LOWM\r\n" + BUFR + b"\r\n\x03")
    _, account = read(tmp_path / "a.bufr")
    assert account.left["byte", "outside of messages"] == 16


def test_what_is_damaged_late_in_a_text_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.readers import lines

    monkeypatch.setattr(lines.lines, "__defaults__", (2,))  # lines a batch
    text = LATEST + LATEST.splitlines()[-1] + "\n" + "x" * 70_000 + "\n"
    (tmp_path / "latest_obs.txt").write_text(text)
    _, account = read(tmp_path / "latest_obs.txt")
    assert account.damages == {"line of more than 65536 bytes": 1}
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(LATEST.encode())[:-8])
    table, account = read(tmp_path / "a.txt.gz")
    assert len(table) == 9 and sum(account.damages.values()) == 1


def test_memory_is_bounded_by_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    from tasks.readers import bufr

    monkeypatch.setattr(bufr, "BATCH_BYTES", 1 << 18)

    part = (DATA / "bufr" / "synop.bufr").read_bytes()
    peaks = []
    for copies in (20, 80):  # 1.3 and 5 MB
        (tmp_path / "a.bufr").write_bytes(part * copies)
        tracemalloc.start()
        for _ in read_batches([str(tmp_path / "a.bufr")]):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
