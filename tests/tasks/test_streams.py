from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import load
from configs.loading import load_reprocess
from tasks.components_reference import cache_address
from tasks.streams import (
    Reprocessing,
    is_reprocess,
    read_reprocessing,
    reprocessing_of,
    sources_of,
)

START, STEP = pd.Timestamp("2005-01-06"), pd.Timedelta(hours=6)


def reprocessing(
    cycles: int, streams: int, spin_up: int, every: int = 4, root: str = "/r", *options: str
) -> Reprocessing:
    config = load("embedded", [f"verification.forecast_every=PT{6 * every}H", *options])
    end = START + (cycles - 1) * STEP
    period = {"start": START.isoformat(), "end": end.isoformat()}
    wanted = load_reprocess({**period, "streams": streams, "spin_up": spin_up})
    return reprocessing_of(root, config, wanted)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 12), st.integers(1, 20), st.sampled_from([1, 2, 4]))
def test_each_cycle_is_in_one_stream_and_each_spin_up_in_the_stream_before(
    cycles: int, count: int, spin_up: int, every: int
) -> None:
    try:
        found = reprocessing(cycles, count, spin_up, every)
    except ValueError as error:
        most = int(str(error).rpartition("up to ")[2].split(",")[0])
        assert most < count
        reprocessing(cycles, most, spin_up, every)
        return
    own = [time for stream in found.streams for time in stream.own_times]
    assert own == [START + k * STEP for k in range(cycles)]
    lengths = [len(stream.times) for stream in found.streams]
    assert max(lengths) - min(lengths) <= 2 * every
    assert found.streams[0].spin_up == 0
    for earlier, later in zip(found.streams, found.streams[1:], strict=False):
        assert len(later.overlap) == spin_up
        assert set(later.overlap) <= set(earlier.own_times)
        assert (later.times[0] - START) // STEP % every == 0


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    root = str(tmp_path / "r")
    found = reprocessing(60, 3, 8, 4, root, "method.kind=3dvar", "registry=own/registry")
    assert not is_reprocess(root)
    with pytest.raises(ValueError, match="no reprocess there"):
        read_reprocessing(root)
    found.save()
    assert is_reprocess(root)
    read = read_reprocessing(root)
    assert read == found
    assert Path(read.whole.config.registry).is_absolute()
    assert [s.name for s in read.streams] == ["s01", "s02", "s03"]
    assert read.stream("s02").root == f"{root}/streams/s02"
    with pytest.raises(ValueError, match="s01, s02, s03"):
        read.stream("s04")
    sources = sources_of(root)
    assert [times is not None and len(times) for _, times in sources] == [
        len(stream.own_times) for stream in read.streams
    ]
    assert sources_of(str(tmp_path)) == [(str(tmp_path), None)]


def test_a_stream_is_the_experiment_that_a_run_with_its_start_has() -> None:
    stream = reprocessing(60, 3, 8).streams[1]
    config = load("embedded", [f"start={stream.times[0].isoformat()}"])
    assert stream.experiment.config.identity() == config.identity()


def test_streams_on_s3_share_the_nature_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSDA_CACHE", raising=False)
    found = reprocessing(60, 3, 8, 4, "s3://bucket/r")
    addresses = {cache_address(stream.root) for stream in found.streams}
    assert addresses == {cache_address(found.root)} == {"s3://bucket/r/reference"}
