"""Many workers at the ledger, each on a stream of its own, in threads of one process.

    python tests/ledger_crowd.py ROOT FIRST COUNT SECONDS WORK

runs the workers FIRST to FIRST + COUNT - 1 for some seconds. A worker does stage after stage; the
work of a stage is to wait WORK seconds, with the lease alive. Prints one JSON document: the seconds
that each stage took beyond its work, the number of S3 requests, the processor seconds.
"""

import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd
import s3fs

from tasks import store
from tasks.ledger import Attempt, StageResult, run_stage
from tasks.plan import CYCLE_STAGES
from tests.small_ledger import START, STEP, plan_at

REQUESTS = [0]
CONNECTIONS = 500  # of all workers of this process; a real one has ten of its own


def count_requests() -> None:
    """Count the requests of every S3 client of this process; give them connections enough."""
    original, options = s3fs.S3FileSystem._call_s3, store.s3_options

    async def counted(self: s3fs.S3FileSystem, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        REQUESTS[0] += 1
        return await original(self, *rest, **named)

    s3fs.S3FileSystem._call_s3 = counted
    wide = {"config_kwargs": {"max_pool_connections": CONNECTIONS}}
    store.s3_options = lambda: options() | wide


class Worker(threading.Thread):
    """Does stages of a stream of its own until the end."""

    def __init__(self, root: str, until: float, work: float) -> None:
        """Work at an address until an instant (time.time), some seconds a stage."""
        super().__init__(daemon=True)
        self.plan, self.until, self.work = plan_at(root), until, work
        self.seconds: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        """Go on until the end, and note what it took."""
        time.sleep(random.uniform(0, min(self.work, 5.0)))
        number = 0
        try:
            while time.time() < self.until:
                cycle, stage = divmod(number, len(CYCLE_STAGES))
                took = self.stage(START + cycle * STEP, CYCLE_STAGES[stage])
                if time.time() < self.until:
                    self.seconds.append(took)
                number += 1
        except OSError as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def stage(self, cycle_time: pd.Timestamp, stage: str) -> float:
        """Do a stage; return the seconds beyond its work."""
        began, plan = time.perf_counter(), self.plan
        waited = random.uniform(0.5, 1.5) * self.work

        def work(attempt: Attempt) -> StageResult:
            time.sleep(waited)
            store.write_bytes(store.join(attempt.address, "result"), b"x" * 100)
            return StageResult()

        sources = plan.sources(cycle_time, stage)
        inputs = plan.inputs(stage, sources)
        run_stage(
            *(plan.ledger, cycle_time, stage),
            fingerprint=plan.fingerprint(stage, inputs),
            inputs=inputs,
            work=work,
            sources=sources,
        )
        return time.perf_counter() - began - waited


def main() -> None:
    """Run the workers of the module's docstring."""
    root, first, count, seconds, work = sys.argv[1:6]
    count_requests()
    store.exists(root)  # connects
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    until, before = time.time() + float(seconds), time.process_time()
    numbers = range(int(first), int(first) + int(count))
    workers = [Worker(f"{root}/w{number:04d}", until, float(work)) for number in numbers]
    for worker in workers:
        worker.start()
    time.sleep(max(0.0, until - time.time()))
    document = {
        "seconds": [took for worker in workers for took in [*worker.seconds]],
        "errors": [text for worker in workers for text in worker.errors],
        "requests": REQUESTS[0],
        "processor": time.process_time() - before,
    }
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()
    import os

    os._exit(0)


if __name__ == "__main__":
    main()
