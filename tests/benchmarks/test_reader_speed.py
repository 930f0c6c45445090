"""Reports per second of the BUFR reader, and of ecCodes decoding alone, on the same file in one run.

`pytest tests/benchmarks/test_reader_speed.py --benchmark-only` shows both; the law is checked there.
"""

import io
import time
from pathlib import Path

import eccodes
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tasks.bufr.frames import Frame, frames
from tasks.readers.bufr import read_bufr
from tasks.readers.files import File

SYNOP = Path(__file__).parents[1] / "data" / "bufr" / "synop.bufr"
COPIES = 66  # 20,130 messages of one report each
WANTED, ALLOWED = 20_000, 1.5


def bare(messages: list[bytes]) -> None:
    """Decode with ecCodes alone: unpack, and fetch all values at once."""
    for message in messages:
        handle = eccodes.codes_new_from_message(message)
        eccodes.codes_set(handle, "skipExtraKeyAttributes", 1)
        eccodes.codes_set(handle, "unpack", 1)
        eccodes.codes_get_array(handle, "numericValues")
        eccodes.codes_release(handle)


def test_reader_is_as_fast_as_it_must_be(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    part = SYNOP.read_bytes()
    (tmp_path / "synop.bufr").write_bytes(part * COPIES)
    file = File(str(tmp_path / "synop.bufr"))

    def read() -> int:
        return sum(batch.account.reports for batch in read_bufr(file))

    reports = benchmark.pedantic(read, rounds=5, warmup_rounds=1)
    assert reports == 305 * COPIES
    messages = [one.data for one in frames(io.BytesIO(part)) if isinstance(one, Frame)] * 10
    start = time.perf_counter()
    bare(messages)
    alone = len(messages) / (time.perf_counter() - start)
    rate = reports / benchmark.stats.stats.median
    benchmark.extra_info |= {"reports_per_second": rate, "eccodes_alone": alone}
    assert rate > WANTED or rate > alone / ALLOWED, (rate, alone)


@pytest.mark.parametrize("name", ["temp", "aircraft_compressed", "synop_german"])
def test_other_messages(benchmark: BenchmarkFixture, name: str) -> None:
    file = File(str(SYNOP.parent / f"{name}.bufr"))
    reports = benchmark(lambda: sum(batch.account.reports for batch in read_bufr(file)))
    benchmark.extra_info["reports_per_second"] = reports / benchmark.stats.stats.median
