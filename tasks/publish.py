"""Publish: copy what a cycle committed into the one archive that people read.

It can be repeated at any time. The scores are copied last, so a cycle whose scores are there is
published.
"""

import pandas as pd

from tasks import archive
from tasks.assimilate import FEEDBACK
from tasks.experiment import cycle_name
from tasks.runtime import Runtime
from tasks.store import join, read_bytes, write_bytes
from tasks.verify import SCORES

__all__ = ["publish"]


def publish(runtime: Runtime, time: pd.Timestamp) -> None:
    """Publish the background, the analysis, the feedback and the scores of a cycle."""
    root, cycle = runtime.experiment.root, cycle_name(time)
    for name, stage in (("background", "forecast"), ("analysis", "analysis")):
        x = archive.read_fields(join(runtime.plan.address(time, stage), name))
        start, step = runtime.experiment.start, runtime.experiment.step
        archive.publish(root, name, runtime.spec, start, step, time, x)
    for folder, stage, file in (
        ("feedback", "analysis", FEEDBACK),
        ("scores", "verification", SCORES),
    ):
        address = runtime.plan.address(time, stage)
        write_bytes(join(root, folder, f"{cycle}.parquet"), read_bytes(join(address, file)))
