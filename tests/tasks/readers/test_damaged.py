"""1,000 damaged files: no crash, no hang, bad messages named, the good ones beside them kept."""

import gzip
import io
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.bufr.frames import Frame, frames
from tasks.readers.account import Account
from tasks.readers.files import LEAST_LIMIT, File
from tasks.readers.formats import read_file

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "bufr")]
from bufr_messages import TEMPERATURE, message, packed, surface
from test_binary import MADIS, write_ioda, write_odb
from test_texts import IGRA, ISD, LATEST

DATA = Path(__file__).parents[2] / "data"
LIMIT = 10.0  # seconds a file
Damage = Callable[[bytearray, random.Random], bytes]
Rows = Counter[tuple[object, ...]]


def good_messages() -> list[bytes]:
    names = ("synop", "temp_small", "aircraft_compressed", "synop_german", "aircraft_small")
    found = []
    for name in names:
        data = (DATA / "bufr" / f"{name}.bufr").read_bytes()
        own = [one.data for one in frames(io.BytesIO(data)) if isinstance(one, Frame)]
        found += own[:12]
    return found


GOOD = good_messages()


def read(path: Path) -> tuple[pd.DataFrame, Account]:
    """Read a file as `losda ingest` does, against the clock."""
    start, account, tables = time.monotonic(), Account(), []
    for batch in read_file(File(str(path))):
        account.add(batch.account)
        tables.append(batch.table)
    assert time.monotonic() - start < LIMIT
    table = pd.concat(tables, ignore_index=True)
    lost = sum(count for (what, _), count in account.left.items() if what == "value")
    assert account.values == len(table) + lost
    assert np.isfinite(table["observation"]).all() and not table["time"].isna().any()
    return table, account


def rows(table: pd.DataFrame) -> Rows:
    names = ["time", "lat", "lon", "pres", "variable", "observation", "type", "station"]
    columns = (
        table[name].fillna(-1.0) if table[name].dtype == float else table[name] for name in names
    )
    return Counter(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Rows]:
    """Rows of a good message on its own."""
    path, known = tmp_path_factory.mktemp("good") / "a.bufr", dict[bytes, Rows]()

    def of(data: bytes) -> Rows:
        if data not in known:
            path.write_bytes(data)
            known[data] = rows(read(path)[0])
        return known[data]

    return of


def no_end(own: bytearray, draw: random.Random) -> bytes:
    return bytes(own[:-4]) + b"777"


def absurd_length(own: bytearray, draw: random.Random) -> bytes:
    own[4:7] = draw.choice([b"\xff\xff\xff", b"\0\0\0", b"\0\0\x09", b"\x7f\0\0"])
    return bytes(own)


def wrong_edition(own: bytearray, draw: random.Random) -> bytes:
    own[7] = draw.choice([0, 1, 5, 99, 255])
    return bytes(own)


def section_lengths(own: bytearray, draw: random.Random) -> bytes:
    own[8:11] = draw.choice([b"\xff\xff\xff", b"\0\0\0", b"\0\0\x05"])
    return bytes(own)


def section_three(own: bytearray) -> int:
    """Return where section 3 starts: behind section 1 and, if there is one, section 2."""
    two = 8 + int.from_bytes(own[8:11], "big")
    has_two = own[8 + (9 if own[7] == 4 else 7)] & 128
    return two + (int.from_bytes(own[two : two + 3], "big") if has_two else 0)


def too_many_subsets(own: bytearray, draw: random.Random) -> bytes:
    three = section_three(own)
    own[three + 4 : three + 6] = b"\xff\xff"
    own[three + 6] &= ~0x40  # not compressed
    return bytes(own)


NAMED: dict[str, Damage] = {
    "no end": no_end,
    "absurd length": absurd_length,
    "wrong edition": wrong_edition,
    "section lengths": section_lengths,
    "too many subsets": too_many_subsets,
}


def flipped(own: bytearray, draw: random.Random) -> bytes:
    for _ in range(draw.choice([1, 2, 8, 60])):
        own[draw.randrange(8, len(own) - 4)] = draw.choice([0, 255, draw.randrange(256)])
    return bytes(own)


def cut_out(own: bytearray, draw: random.Random) -> bytes:
    start = draw.randrange(8, len(own) - 4)
    del own[start : start + draw.randrange(1, 40)]
    return bytes(own)


def wrong_tables(own: bytearray, draw: random.Random) -> bytes:
    place = section_three(own) + 7
    for _ in range(draw.choice([1, 3])):
        own[place : place + 2] = bytes([draw.randrange(256), draw.randrange(256)])
    return bytes(own)


def random_bytes(own: bytearray, draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice([0, 1, 5, 300]))


ANY: dict[str, Damage] = {
    "flipped": flipped,
    "cut out": cut_out,
    "wrong tables": wrong_tables,
    "random bytes": random_bytes,
}


def among_good_ones(
    path: Path, kind: str, count: int, rows_of: Callable[[bytes], Rows]
) -> Iterator[tuple[int, Rows]]:
    """Write files with one bad message among good ones; yield its offset and the good rows."""
    for seed in range(count):
        draw = random.Random(f"{kind}{seed}")
        before, after = draw.choices(GOOD, k=2), draw.choices(GOOD, k=2)
        bad = (NAMED | ANY)[kind](bytearray(draw.choice(GOOD)), draw)
        path.write_bytes(b"".join([*before, bad, *after]))
        expected: Rows = sum((rows_of(one) for one in before + after), Counter())
        yield sum(map(len, before)), expected


@pytest.mark.parametrize("kind", NAMED)
def test_bad_messages_are_named_and_good_ones_kept(
    kind: str, tmp_path: Path, rows_of: Callable[[bytes], Rows]
) -> None:
    path = tmp_path / "a.bufr"
    for offset, expected in among_good_ones(path, kind, 60, rows_of):
        table, account = read(path)
        assert offset in [found for found, _ in account.damaged]
        assert rows(table) == expected


@pytest.mark.parametrize("kind", ANY)
def test_any_damage_leaves_the_neighbours_alone(
    kind: str, tmp_path: Path, rows_of: Callable[[bytes], Rows]
) -> None:
    path = tmp_path / "a.bufr"
    for _, expected in among_good_ones(path, kind, 100, rows_of):
        table, _ = read(path)
        assert not expected - rows(table)


def test_truncated_files_keep_their_whole_messages(
    tmp_path: Path, rows_of: Callable[[bytes], Rows]
) -> None:
    path = tmp_path / "a.bufr"
    for seed in range(100):
        draw = random.Random(seed)
        parts = draw.choices(GOOD, k=4)
        whole = b"".join(parts)
        size = draw.randrange(len(whole))
        path.write_bytes(whole[:size])
        ends = np.cumsum([len(part) for part in parts])
        expected: Rows = sum(
            (rows_of(p) for p, e in zip(parts, ends, strict=True) if e <= size), Counter()
        )
        assert rows(read(path)[0]) == expected


def text_damage(data: bytes, draw: random.Random) -> bytes:
    own = bytearray(data)
    for _ in range(draw.choice([1, 4, 40])):
        own[draw.randrange(len(own))] = draw.randrange(256)
    return bytes(own[: draw.choice([len(own), draw.randrange(len(own))])])


def sources(folder: Path) -> dict[str, bytes]:
    write_ioda(folder / "a.nc4")
    write_odb(folder / "a.odb")
    frame = pd.DataFrame({"time": pd.to_datetime(["2020"]), "lat": 1.0, "lon": 2.0})
    frame.assign(variable="t", observation=np.nan).to_parquet(folder / "a.parquet")
    madis = {path.name: gzip.decompress(path.read_bytes()) for path in MADIS.glob("*.gz")}
    return madis | {
        "a.nc4": (folder / "a.nc4").read_bytes(),
        "a.odb": (folder / "a.odb").read_bytes(),
        "a.parquet": (folder / "a.parquet").read_bytes(),
        "madis.nc.gz": (MADIS / "2005082600_metar.nc.gz").read_bytes(),
        "prepbufr": (DATA / "prepbufr" / "adpsfc.prepbufr").read_bytes(),
        "occultation": (DATA / "bufr" / "occultation.bufr").read_bytes(),
        "metars.csv": (DATA / "metar" / "metars.csv").read_bytes(),
        "isd": f"{ISD}\n{ISD}\n".encode(),
        "igra": IGRA.encode(),
        "latest_obs.txt": LATEST.encode(),
    }


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_damage_of_any_format_breaks_its_reader(tmp_path: Path) -> None:
    found = sources(tmp_path)
    assert len(found) == 16
    for name, data in found.items():
        for seed in range(13):
            path = tmp_path / f"{seed}-{name}"
            path.write_bytes(text_damage(data, random.Random(f"{name}{seed}")))
            read(path)


def test_empty_and_unknown_files_are_named(tmp_path: Path) -> None:
    for data, reason in ((b"", "file is empty"), (b"GRIB" + bytes(99), "format is not known")):
        (tmp_path / "a").write_bytes(data)
        _, account = read(tmp_path / "a")
        assert account.left == {("file", reason): 1}


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    block = gzip.compress(bytes(1 << 24))
    first = gzip.compress(GOOD[0])
    (tmp_path / "bomb.bufr.gz").write_bytes(first + block * (4 * LEAST_LIMIT // (1 << 24)))
    table, account = read(tmp_path / "bomb.bufr.gz")
    assert len(table) > 0
    assert account.damages == {"decompresses to far more than data do": 1}


@pytest.mark.parametrize(("year", "kept"), [(2020, 1), (4095, 0), (0, 0), (1800, 0)])
def test_years_of_no_observation_are_named(tmp_path: Path, year: int, kept: int) -> None:
    fields = surface(280.0, year=year)
    (tmp_path / "a.bufr").write_bytes(message(TEMPERATURE, packed(fields)))
    table, account = read(tmp_path / "a.bufr")
    assert len(table) == kept
    assert account.left["report", "time is missing or not valid"] == 1 - kept


def test_year_9999_of_a_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "isd").write_text(ISD.replace("20160101", "99990101") + "\n")
    table, account = read(tmp_path / "isd")
    assert not len(table) and account.left["report", "time is missing or not valid"] == 1
