"""Cycles per second of two streams against one, in turn in one run, on at least two processors.

    pytest tests/benchmarks/test_reprocess_speed.py --benchmark-only

Each stream is a process with one torch thread. Counted are the cycles that were verified while all
streams were past their start-up and the cycles of their spin-up, by the times of the commits. The
nature run is integrated before.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pytest_benchmark.fixture import BenchmarkFixture

REPOSITORY = Path(__file__).resolve().parent.parent.parent
WANTED, ROUNDS, SPIN_UP = 1.9, 3, 4
PERIOD = ("--end", "2005-01-11T18:00", "--spinup", str(SPIN_UP))  # 24 cycles


def reprocess(root: Path, streams: int, environment: Mapping[str, str]) -> None:
    """Run the period in streams side by side."""
    command = ("reprocess", "embedded", "--out", str(root), "--streams", str(streams), *PERIOD)
    subprocess.run(
        [sys.executable, "-c", "from flows.cli import app; app()", *command, "--no-promote"],
        env=dict(environment),
        check=True,
        capture_output=True,
    )


def rate(root: Path) -> float:
    """Return the cycles per second while all streams were at work, past their spin-ups."""
    ends = []
    for stream in sorted((root / "streams").iterdir()):
        paths = sorted(stream.glob("ledger/*/verification.json"))
        created = (json.loads(path.read_text())["created"] for path in paths)
        ends.append([pd.Timestamp(time).timestamp() for time in created][SPIN_UP - 1 :])
    begin, end = max(times[0] for times in ends), min(times[-1] for times in ends)
    # the cycle of a stream that is under way at an edge counts by its part
    return sum(passed(times, end) - passed(times, begin) for times in ends) / (end - begin)


def passed(times: list[float], now: float) -> float:
    """Return how many cycles were done at an instant, with the part of the one under way."""
    done = sum(time <= now for time in times)
    if done == len(times):
        return float(done)
    return done + (now - times[done - 1]) / (times[done] - times[done - 1])


def test_two_streams_are_as_fast_as_they_must_be(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    own = {"LOSDA_CACHE": str(tmp_path / "cache"), "PREFECT_HOME": str(tmp_path / "prefect")}
    environment = os.environ | own | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    reprocess(tmp_path / "warm", 1, environment)
    rates: dict[int, list[float]] = {1: [], 2: []}

    def both() -> None:
        number = len(rates[1])
        for streams, found in rates.items():
            root = tmp_path / f"{number}-{streams}"
            reprocess(root, streams, environment)
            found.append(rate(root))

    benchmark.pedantic(both, rounds=ROUNDS)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    benchmark.extra_info |= {"cycles_per_second": rates, "ratios": ratios}
    assert statistics.median(ratios) >= WANTED, (ratios, rates)
