"""What each stage of an experiment depends on, and whether it is done.

    forecast(t)     <- analysis(t - step), forecast(t - step) (the free run goes on)
    observations(t) <- the reference
    analysis(t)     <- forecast(t), observations(t)
    verification(t) <- analysis(t)

The fingerprint of a stage binds its commit to the code, the part of the configuration and the
checkpoints that its result depends on, and the fingerprints of the stages before it. All of this
can be told from experiment.yaml and the ledger, without loading anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import yaml

from tasks.experiment import Experiment, cycle_name
from tasks.ledger import Commit, Ledger, StaleCommitError, fingerprint
from tasks.source_digest import code_digest
from tasks.store import exists, join, read_bytes

__all__ = ["CYCLE_STAGES", "Plan"]

CONFIGURATION = {
    "forecast": (
        *("start", "step", "first_guess", "forecast_model"),
        *("observations.slots", "observations.at_own_time"),
    ),
    "observations": ("seed", "step", "observations"),
    "analysis": ("seed", "method", "observations"),
    "verification": ("start", "verification", "forecast_model"),
}
CHECKPOINTS = {
    "forecast": ("reference", "emulator"),
    "observations": ("reference", "statistics"),
    "analysis": ("statistics", "autoencoder", "denoiser", "background_error"),
    "verification": ("reference", "statistics", "emulator"),
}
CYCLE_STAGES = tuple(CONFIGURATION)


@dataclass(frozen=True)
class Plan:
    """An experiment's identity and its ledger.

    Attributes:
        root: Address of the experiment.
        ledger: What is done.
        identity: Configuration that makes another experiment.
        checkpoints: Digests of the components and of the reference.
        code: Digest of the science code.
        known: Commits that were read; a commit never changes.
    """

    root: str
    ledger: Ledger
    identity: Mapping[str, Any]
    checkpoints: Mapping[str, str]
    code: str
    known: dict[tuple[pd.Timestamp, str], Commit] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment, checkpoints: Mapping[str, str]) -> "Plan":
        """Return the plan of an experiment that is being run."""
        identity = experiment.config.identity()
        return cls(experiment.root, Ledger(experiment.root), identity, checkpoints, code_digest())

    @classmethod
    def read(cls, root: str) -> "Plan":
        """Return the plan of the experiment in a directory.

        Raises:
            ValueError: There is none.
        """
        address = join(root, "experiment.yaml")
        if not exists(address):
            raise ValueError(f"{root}: no experiment there (experiment.yaml is missing)")
        identity = yaml.safe_load(read_bytes(address))
        components = identity.pop("components")
        return cls(root, Ledger(root), identity, components, code_digest())

    @property
    def resolved(self) -> dict[str, Any]:
        """The content of experiment.yaml."""
        return {**self.identity, "components": dict(self.checkpoints)}

    @property
    def start(self) -> pd.Timestamp:
        """First cycle time."""
        return pd.Timestamp(self.identity["start"])

    @property
    def step(self) -> pd.Timedelta:
        """Time between cycles."""
        return pd.Timedelta(self.identity["step"])

    def upstream(self, time: pd.Timestamp, stage: str) -> list[tuple[pd.Timestamp, str]]:
        """Return the stages that a stage reads from."""
        match stage:
            case "forecast" if time > self.start:
                return [(time - self.step, "forecast"), (time - self.step, "analysis")]
            case "analysis":
                return [(time, "forecast"), (time, "observations")]
            case "verification":
                return [(time, "analysis")]
        return []

    def commit(self, time: pd.Timestamp, stage: str) -> Commit | None:
        """Return the commit of a stage, or None if it is not done."""
        if (time, stage) not in self.known:
            commit = self.ledger.committed(time, stage)
            if commit is None:
                return None
            self.known[time, stage] = commit
        return self.known[time, stage]

    def committed(self, time: pd.Timestamp, stage: str) -> Commit:
        """Return the commit of a stage.

        Raises:
            ValueError: The stage is not committed.
        """
        commit = self.commit(time, stage)
        if commit is None:
            raise ValueError(f"stage {stage} of cycle {cycle_name(time)} is not committed")
        return commit

    def address(self, time: pd.Timestamp, stage: str) -> str:
        """Return where a stage's committed attempt lies, also in a moved or copied directory."""
        attempt = self.committed(time, stage).attempt
        return join(self.root, "attempts", cycle_name(time), stage, attempt)

    def inputs(self, time: pd.Timestamp, stage: str) -> dict[str, str]:
        """Return the fingerprints of the stages that a stage reads from."""
        return {
            f"{cycle_name(before)}/{name}": self.committed(before, name).fingerprint
            for before, name in self.upstream(time, stage)
        }

    def fingerprint(self, stage: str, inputs: Mapping[str, str]) -> str:
        """Return what a commit of the stage must have been made with."""
        subset = {key: setting(self.identity, key) for key in CONFIGURATION[stage]}
        subset |= {"code": self.code, "members": self.identity["method"].get("members", 1)}
        names = [name for name in CHECKPOINTS[stage] if name in self.checkpoints]
        digests = {name: self.checkpoints[name] for name in names}
        return fingerprint(stage, subset, digests, dict(inputs))

    def state(self, time: pd.Timestamp, stage: str) -> str:
        """Return `open`, `committed` or `stale` (made with something else than now)."""
        commit = self.commit(time, stage)
        if commit is None:
            return "open"
        same = commit.fingerprint == self.fingerprint(stage, self.inputs(time, stage))
        return "committed" if same else "stale"

    def is_open(self, time: pd.Timestamp, stage: str) -> bool:
        """Return whether a stage is still to be done.

        Raises:
            StaleCommitError: It was done with another code, configuration or input.
        """
        state = self.state(time, stage)
        if state == "stale":
            raise StaleCommitError(
                f"stage {stage} of cycle {cycle_name(time)} in {self.root} is stale: made with "
                "other code, configuration, checkpoints or inputs than now; use another --out"
            )
        return state == "open"

    def require_fresh(self, times: Sequence[pd.Timestamp]) -> None:
        """Refuse a directory with a stale stage before anything is added to it.

        Raises:
            StaleCommitError: A stage was done with another code, configuration or input.
        """
        done = self.ledger.cycles()
        for time in times:
            for stage in CYCLE_STAGES:
                if stage in done.get(time, ()):
                    self.is_open(time, stage)

    def is_published(self, time: pd.Timestamp) -> bool:
        """Return whether the whole cycle is in the archive; the scores are copied there last."""
        return exists(join(self.root, "scores", f"{cycle_name(time)}.parquet"))


def setting(identity: Mapping[str, Any], key: str) -> object:
    """Return the setting with a dotted key, or None if there is none of that name."""
    found: Any = identity
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
