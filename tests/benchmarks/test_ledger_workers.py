"""Up to 1,000 workers at the ledger on S3: where does it saturate?

    pytest tests/benchmarks/test_ledger_workers.py --benchmark-only

Each worker has a stream of its own, as in a reprocess, and does nothing but ledger work: looks,
attempt, lease, one small file, exclusive commit. Server and workers share the machine, so the table
also has the processor seconds of both: what the server needs for a commit says what a machine of
its own would carry. Where a commit takes longer than a row lasts, the requests tell: 17 a commit.

Measured with SeaweedFS 4.48 on two processors that other programs kept busy (load average 30; all
of this had a quarter of one): a commit is 17 requests, 22 to 26 ms of processor time of the server
and 41 to 54 ms of the worker. So a server with a processor of its own saturates near 40 commits/s,
that is with 1,000 workers on stages of 25 s. Beside that each stage under way renews its lease every
5 s: of 1,000 workers 200 requests/s, 0.3 of a processor.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

PROCESSES = 4
CROWD = str(Path(__file__).resolve().parent.parent / "ledger_crowd.py")
CLIMB = {1: 10.0, 10: 10.0, 100: 20.0, 1000: 40.0}  # seconds for each number of workers
LONG_STAGE = 60.0  # [s]
TICKS = os.sysconf("SC_CLK_TCK")


def server_seconds() -> float:
    """Return the processor seconds of the S3 server so far."""
    port = os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"-s3.port={port}" in path.read_text().split("\0"):
                fields = (path.parent / "stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / TICKS
    return math.nan


def crowd(root: str, workers: int, work: float, seconds: float) -> dict[str, float]:
    """Let some workers work for some seconds; return one row of the table."""
    count = min(PROCESSES, workers)
    shares = [workers // count + (n < workers % count) for n in range(count)]
    firsts = np.cumsum([0, *shares[:-1]]).tolist()
    started = [
        subprocess.Popen(
            [sys.executable, CROWD, root, str(first), str(share), str(seconds), str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first, share in zip(firsts, shares, strict=True)
    ]
    try:
        for process in started:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        before = server_seconds()
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=seconds + 120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    found = [json.loads(output) for output in outputs]
    return row(found, workers, work, seconds, server_seconds() - before)


def row(
    found: Sequence[dict[str, list[float]]],
    workers: int,
    work: float,
    seconds: float,
    server: float,
) -> dict[str, float]:
    """Return what the processes of the workers found, together."""
    took = np.array([s for one in found for s in one["seconds"]])
    errors = [text for one in found for text in one["errors"]]
    assert not errors, errors[:3]
    requests, own = (sum(float(one[key]) for one in found) for key in ("requests", "processor"))  # type: ignore[arg-type]
    return {
        "workers": workers,
        "work_s": work,
        "commits_per_s": len(took) / seconds,
        "requests_per_s": requests / seconds,
        "median_s": float(np.median(took)) if len(took) else math.nan,
        "p99_s": float(np.quantile(took, 0.99)) if len(took) else math.nan,
        "server_ms_per_request": 1000 * server / requests,
        "worker_ms_per_request": 1000 * own / requests,
    }


def test_where_the_ledger_on_s3_saturates(
    benchmark: BenchmarkFixture, s3_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = []

    def measure(workers: int, work: float, seconds: float) -> None:
        rows.append(crowd(f"{s3_root}/{len(rows)}", workers, work, seconds))
        with capsys.disabled():
            values = "  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items())
            sys.stdout.write(values + "\n")
            sys.stdout.flush()

    def climb() -> None:
        for workers, seconds in CLIMB.items():
            measure(workers, 0.0, seconds)
        measure(1000, LONG_STAGE, LONG_STAGE)

    benchmark.pedantic(climb, rounds=1)
    benchmark.extra_info["rows"] = rows
    assert rows[0]["commits_per_s"] > 0 and all(one["requests_per_s"] > 0 for one in rows)
