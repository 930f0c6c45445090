"""Publish: copy what a cycle committed into the one archive that people read.

It can be repeated at any time. The last act is to say which attempts were published, so a cycle
that was made again is published again. While that goes on, its old and new fields are side by side.
"""

import json

import pandas as pd

from tasks import archive
from tasks.assimilate import FEEDBACK
from tasks.experiment import cycle_name
from tasks.runtime import Runtime
from tasks.store import join, read_bytes, write_bytes
from tasks.verify import SCORES

__all__ = ["publish"]


def publish(runtime: Runtime, time: pd.Timestamp) -> None:
    """Publish the background, the analysis, the feedback and the scores of a cycle.

    Raises:
        ReopenedError: The cycle is not complete (any more).
    """
    root, cycle = runtime.experiment.root, cycle_name(time)
    commits = runtime.plan.publication(time)
    for name, stage in (("background", "forecast"), ("analysis", "analysis")):
        x = archive.read_fields(join(commits[stage].address, name))
        start, step = runtime.experiment.start, runtime.experiment.step
        archive.publish(root, name, runtime.spec, start, step, time, x)
    for folder, stage, file in (
        ("feedback", "analysis", FEEDBACK),
        ("scores", "verification", SCORES),
    ):
        table = read_bytes(join(commits[stage].address, file))
        write_bytes(join(root, folder, f"{cycle}.parquet"), table)
    attempts = {stage: commit.attempt for stage, commit in commits.items()}
    published = json.dumps(attempts, indent=1).encode() + b"\n"
    write_bytes(runtime.plan.published_address(time), published, durable=False)
