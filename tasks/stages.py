"""Run a stage of a cycle: its work, unless it is committed, and the one commit."""

from collections.abc import Callable

import pandas as pd
import torch

from tasks.failures import recorded
from tasks.ledger import Attempt, Commit, StageResult, run_stage
from tasks.runtime import Runtime
from tasks.timing import working

__all__ = ["Work", "run"]

Work = Callable[[Runtime, pd.Timestamp, Attempt], StageResult]


def run(
    runtime: Runtime,
    time: pd.Timestamp,
    stage: str,
    work: Work,
    announce: Callable[[str, Commit], None] | None = None,
) -> Commit:
    """Do the stage's work unless it is committed, and return the one commit.

    The journal takes note of a failure, whoever runs the stage.

    The commit is announced, with the experiment's address, if it was created here.

    The processor's treatment of denormal numbers belongs to the thread, so it is set here.

    Raises:
        ReopenedError: A stage that it reads from is not committed, or was reopened meanwhile.
        StageBusyError: Another process is at it.
        StaleCommitError: It was done with another code, configuration or input.
    """
    plan, attempts = runtime.plan, list[str]()

    def noted(attempt: Attempt) -> StageResult:
        attempts.append(attempt.name)
        return work(runtime, time, attempt)

    torch.set_flush_denormal(True)
    with working(), recorded(plan, time, stage):
        sources = plan.sources(time, stage)
        inputs = plan.inputs(stage, sources)
        commit = run_stage(
            plan.ledger,
            time,
            stage,
            fingerprint=plan.fingerprint(stage, inputs),
            inputs=inputs,
            sources=sources,
            work=noted,
        )
    if announce and commit.attempt in attempts:
        announce(plan.root, commit)
    return commit
