"""The ledger: what is done, in files that are created once.

    ROOT/experiment.yaml                        the configuration
    ROOT/ledger/CYCLE/STAGE.json                the commit of a stage
    ROOT/ledger/CYCLE/STAGE.reopened-1.json     it counts no more: who, when, why
    ROOT/ledger/CYCLE/STAGE.2.json              the commit of the second generation, and so on
    ROOT/ledger/CYCLE/STAGE.removed-2.json      the files of the second may be gone (clean-up)
    ROOT/attempts/CYCLE/STAGE/ATTEMPT/          what an attempt wrote
    ROOT/attempts/CYCLE/STAGE/lease.json        the attempt that is under way

Every attempt writes to a folder of its own. A stage is done if and only if its latest generation is
committed; the commit is created exclusively, after all that it vouches for is on disk, and names
the attempt that counts. Readers follow the commit's address, so an attempt that was thought dead
and comes back cannot touch what they read: it loses the creation and takes the winner's commit.
Commits are never changed, removed or renamed: to reopen a stage creates a mark, exclusively too,
and begins the next generation. An attempt can commit only the generation in which it began.

A commit says what it was made of: the fingerprint binds it to code, configuration and checkpoints,
`contents` to the bytes that it read from other commits. If either differs from what is so now, it
is stale and refused, never skipped. What went wrong, and what people want, is in `tasks.journal`.
"""

import json
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata

import pandas as pd
import yaml
from pydantic_core import from_json, to_json

from tasks import store
from tasks.ledger_commits import Ledger, now
from tasks.ledger_lease import StageBusyError, held
from tasks.ledger_names import ATTEMPTS, CYCLE, LEDGER, Stage, cycle_of
from tasks.ledger_records import (
    Attempt,
    Commit,
    ReopenedError,
    StageResult,
    StaleCommitError,
    Standing,
)
from tasks.messages import difference

__all__ = [
    "ATTEMPTS",
    "CYCLE",
    "LEDGER",
    "Attempt",
    "Commit",
    "Ledger",
    "ReopenedError",
    "Stage",
    "StageBusyError",
    "StageResult",
    "StaleCommitError",
    "Standing",
    "commit_attempt",
    "fingerprint",
    "open_experiment",
    "run_stage",
]

EXPERIMENT = "experiment.yaml"
PACKAGES = ("losda", "torch", "numpy", "xarray", "zarr", "prefect")


def fingerprint(
    stage: str,
    configuration: Mapping[str, object],
    checkpoints: Mapping[str, str],
    inputs: Mapping[str, str],
) -> str:
    """Return the SHA-256 of everything that a stage's result depends on.

    Args:
        stage: Name of the stage.
        configuration: The part of the configuration that matters, and the code's digest; JSON.
        checkpoints: Digest of each component.
        inputs: Fingerprint of each commit that the stage reads from.
    """
    document = [stage, dict(configuration), dict(checkpoints), dict(inputs)]
    text = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return store.digest(text.encode())


def run_stage(
    ledger: Ledger,
    cycle_time: pd.Timestamp,
    stage: str,
    *,
    fingerprint: str,
    inputs: Mapping[str, str],
    work: Callable[[Attempt], StageResult],
    sources: Sequence[Commit] = (),
) -> Commit:
    """Do a stage's work once: return its commit, made now or long ago.

    Args:
        ledger: Where.
        cycle_time: Nominal analysis time.
        stage: Name of the stage.
        fingerprint: What the result depends on.
        inputs: Fingerprint of each commit that it depends on.
        work: Writes the result into the attempt's folder.
        sources: The commits that the work reads from.

    Raises:
        StageBusyError: Another attempt is under way; try again later.
        ReopenedError: The stage or one of the sources was reopened meanwhile.
        StaleCommitError: The stage is committed with another fingerprint.
    """
    commit = ledger.committed(cycle_time, stage)
    if commit is None:
        attempt = ledger.new_attempt(cycle_time, stage, sources)
        with held(attempt):
            result = work(attempt)
            commit = commit_attempt(ledger, attempt, fingerprint, inputs, result)
    if commit.fingerprint != fingerprint:
        raise StaleCommitError(
            f"stage {stage} of cycle {cycle_of(cycle_time)} in {ledger.root} is stale: its "
            f"commit has the fingerprint {commit.fingerprint[:12]}, needed is {fingerprint[:12]} "
            "(other code, configuration, checkpoints or inputs)"
        )
    return commit


def commit_attempt(
    ledger: Ledger,
    attempt: Attempt,
    fingerprint: str,
    inputs: Mapping[str, str],
    result: StageResult,
) -> Commit:
    """Commit what an attempt wrote, or return the commit that came first.

    It is asked before and after whether the sources are still current. Who reopens a source looks
    afterwards what was made from it meanwhile (`tasks.ledger_rerun`), so one of the two sees the
    other, and no commit that was made from a source of before is taken for good.

    Raises:
        ReopenedError: The stage or one of the sources was reopened since the attempt began.
    """
    ledger.require_current(attempt)
    commit = ledger.commit(_commit_of(attempt, fingerprint, inputs, result))
    try:
        ledger.require_current(attempt)
    except ReopenedError as error:
        if commit.attempt == attempt.name:
            ledger.reopen(commit.cycle_time, commit.stage, commit.generation, str(error))
        raise
    return commit


def _commit_of(
    attempt: Attempt, fingerprint: str, inputs: Mapping[str, str], result: StageResult
) -> Commit:
    return Commit(
        cycle_time=attempt.cycle_time,
        stage=attempt.stage,
        generation=attempt.generation,
        attempt=attempt.name,
        address=attempt.address,
        digests=store.digests(attempt.address),
        inputs=dict(inputs),
        contents={source.name: source.content for source in attempt.sources},
        fingerprint=fingerprint,
        seconds=dict(result.seconds),
        # What is not finite is null in JSON, and so from the start.
        summary=from_json(to_json(result.summary, inf_nan_mode="null")),
        created=now(),
        host=socket.gethostname(),
        versions=_versions(),
    )


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def open_experiment(root: str, resolved: Mapping[str, object]) -> None:
    """Bind a folder to one configuration for ever: experiment.yaml is written once.

    Raises:
        ValueError: The folder belongs to another configuration.
    """
    text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True)
    address = store.join(root, EXPERIMENT)
    if store.exists(address) or not store.create_exclusive(address, text.encode()):
        try:
            there = yaml.safe_load(store.read_bytes(address))
        except yaml.YAMLError as error:
            reason = str(error).replace("\n", " ")
            raise ValueError(f"{address} is not YAML: {reason}") from error
        found = difference(there, yaml.safe_load(text))
        if found:
            raise ValueError(f"{address}: {found}; another configuration needs another directory")
