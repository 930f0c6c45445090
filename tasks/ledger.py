"""The ledger: what is done, in files that are created once.

    ROOT/experiment.yaml                  the configuration
    ROOT/ledger/CYCLE/STAGE.json          the commit of a stage
    ROOT/attempts/CYCLE/STAGE/ATTEMPT/    what an attempt wrote

Every attempt writes to a folder of its own. A stage is done if and only if its commit exists; the
commit is created exclusively, after all that it vouches for is on disk, and names the attempt that
counts. Readers follow the commit's address, so an attempt that was thought dead and comes back
cannot touch what they read: it loses the creation and takes the winner's commit. The fingerprint
says what a result was made of; a commit with another one is stale and refused, never skipped.
"""

import json
import os
import platform
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import pandas as pd
import yaml
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from tasks import store
from tasks.ledger_records import Attempt, Commit, StageResult, StaleCommitError
from tasks.messages import difference, first_error

__all__ = [
    "Attempt",
    "Commit",
    "Ledger",
    "StageResult",
    "StaleCommitError",
    "fingerprint",
    "open_experiment",
    "run_stage",
]

CYCLE = "%Y%m%dT%H"
LEDGER, ATTEMPTS, EXPERIMENT = "ledger", "attempts", "experiment.yaml"
PACKAGES = ("losda", "torch", "numpy", "xarray", "zarr", "prefect")


@dataclass(frozen=True)
class Ledger:
    """The ledger of the experiment at one address, local or on S3."""

    root: str

    def committed(self, cycle_time: pd.Timestamp, stage: str) -> Commit | None:
        """Return the commit of a stage, or None if it is not done.

        Raises:
            ValueError: The commit's file is not a commit.
        """
        address = self._commit_address(cycle_time, stage)
        try:
            document = store.read_bytes(address)
        except FileNotFoundError:
            return None
        try:
            commit = Commit.model_validate_json(document)
        except ValidationError as error:
            place, reason = first_error(error)
            raise ValueError(f"{address} is no commit: {place}: {reason}") from error
        return commit.model_copy(update={"address": store.join(self.root, commit.address)})

    def new_attempt(self, cycle_time: pd.Timestamp, stage: str) -> Attempt:
        """Return a new attempt with an empty folder of its own."""
        folder = store.join(self.root, ATTEMPTS, _cycle(cycle_time), stage)
        name = f"a{len(store.names(folder)) + 1}-{uuid.uuid4().hex[:8]}"
        address = store.join(folder, name)
        if not store.is_remote(address):
            os.makedirs(address)
        return Attempt(cycle_time, stage, name, address)

    def commit(self, commit: Commit) -> Commit:
        """Commit an attempt, or take the commit that came first and remove the attempt.

        All files of the attempt are on disk before the commit is. In the file the address is
        relative to the root, so that an experiment can be moved.
        """
        address = self._commit_address(commit.cycle_time, commit.stage)
        relative = commit.address.removeprefix(self.root.rstrip("/") + "/")
        stored = commit.model_copy(update={"address": relative})
        data = stored.model_dump_json(indent=1).encode() + b"\n"
        if store.create_exclusive(address, data, vouches_for=self._written(commit)):
            return commit
        winner = self.committed(commit.cycle_time, commit.stage)
        if winner is None:
            raise ValueError(f"{address} was removed while attempt {commit.attempt} committed")
        # An S3 client whose first answer was lost asks again and loses to itself.
        if winner.attempt != commit.attempt:
            store.remove_tree(commit.address)
        return winner

    def cycles(self) -> dict[pd.Timestamp, tuple[str, ...]]:
        """Return the committed stages of every cycle, in order of time."""
        found: dict[pd.Timestamp, tuple[str, ...]] = {}
        for path in store.files(store.join(self.root, LEDGER)):
            cycle, _, name = path.partition("/")
            if name.endswith(".json"):
                cycle_time = pd.Timestamp(datetime.strptime(cycle, CYCLE))
                found[cycle_time] = (*found.get(cycle_time, ()), name.removesuffix(".json"))
        return found

    def verify(self, commit: Commit) -> None:
        """Require that the attempt's files are what was committed.

        Raises:
            ValueError: A file is missing or altered.
        """
        found = store.digests(commit.address)
        for name, expected in commit.digests.items():
            if found.get(name) != expected:
                address, state = store.join(commit.address, name), found.get(name, "nothing")
                raise ValueError(f"{address} was altered: digest {state}, expected {expected}")

    def _commit_address(self, cycle_time: pd.Timestamp, stage: str) -> str:
        return store.join(self.root, LEDGER, _cycle(cycle_time), f"{stage}.json")

    def _written(self, commit: Commit) -> list[Path]:
        """Return the files of an attempt and all folders from them up to the root."""
        if store.is_remote(self.root):
            return []
        root, folder = Path(self.root), Path(commit.address)
        paths = [folder / name for name in commit.digests]
        above = {parent for path in [*paths, folder / "."] for parent in path.parents}
        return [*paths, folder, *(p for p in above if p.is_relative_to(root) and p != folder)]


def _cycle(cycle_time: pd.Timestamp) -> str:
    name: str = cycle_time.strftime(CYCLE)
    if cycle_time.tzinfo is not None or pd.Timestamp(datetime.strptime(name, CYCLE)) != cycle_time:
        raise ValueError(f"cycle time {cycle_time}: allowed is a full hour, UTC without time zone")
    return name


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
) -> Commit:
    """Do a stage's work once: return its commit, made now or long ago.

    Raises:
        StaleCommitError: The stage is committed with another fingerprint.
    """
    commit = ledger.committed(cycle_time, stage)
    if commit is None:
        attempt = ledger.new_attempt(cycle_time, stage)
        result = work(attempt)
        commit = ledger.commit(_commit_of(attempt, fingerprint, inputs, result))
    if commit.fingerprint != fingerprint:
        raise StaleCommitError(
            f"stage {stage} of cycle {_cycle(cycle_time)} in {ledger.root} is stale: its "
            f"commit has the fingerprint {commit.fingerprint[:12]}, needed is {fingerprint[:12]} "
            "(other code, configuration, checkpoints or inputs)"
        )
    return commit


def _commit_of(
    attempt: Attempt, fingerprint: str, inputs: Mapping[str, str], result: StageResult
) -> Commit:
    return Commit(
        cycle_time=attempt.cycle_time,
        stage=attempt.stage,
        attempt=attempt.name,
        address=attempt.address,
        digests=store.digests(attempt.address),
        inputs=dict(inputs),
        fingerprint=fingerprint,
        seconds=dict(result.seconds),
        # What is not finite is null in JSON, and so from the start.
        summary=from_json(to_json(result.summary, inf_nan_mode="null")),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
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
