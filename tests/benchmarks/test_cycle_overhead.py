"""Seconds a cycle of `losda run` beyond model, input, output and verification, with warm models.

    pytest tests/benchmarks/test_cycle_overhead.py --benchmark-only

A short and a long run, in turn: what both need for their start-up drops out of the difference.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SHORT, LONG, ROUNDS, WANTED = 5, 25, 3, 0.3


def seconds(root: Path, cycles: int, environment: Mapping[str, str]) -> tuple[float, float]:
    """Run cycles; return the seconds beyond the work, and all."""
    command = (
        "run",
        "embedded",
        "--out",
        str(root),
        "--cycles",
        str(cycles),
        "--no-report",
        "--json",
    )
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import app; app()", *command],
        env=dict(environment),
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    return found["wall_seconds"] - found["busy_seconds"], found["wall_seconds"]


def test_a_cycle_with_warm_models_has_little_overhead(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    own = {"LOSDA_CACHE": str(tmp_path / "cache"), "PREFECT_HOME": str(tmp_path / "prefect")}
    environment = os.environ | own | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    seconds(tmp_path / "warm", LONG, environment)  # integrates the nature run
    overheads, cycles = [], []

    def both() -> None:
        number = len(overheads)
        short = seconds(tmp_path / f"short{number}", SHORT, environment)
        long = seconds(tmp_path / f"long{number}", LONG, environment)
        overheads.append((long[0] - short[0]) / (LONG - SHORT))
        cycles.append((long[1] - short[1]) / (LONG - SHORT))

    benchmark.pedantic(both, rounds=ROUNDS)
    overhead = statistics.median(overheads)
    benchmark.extra_info["overhead [s/cycle]"] = [round(each, 3) for each in overheads]
    benchmark.extra_info["cycle [s]"] = [round(each, 3) for each in cycles]
    print(f"{overhead:.3f} s of a cycle's {statistics.median(cycles):.2f} s")
    assert overhead <= WANTED
