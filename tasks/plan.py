"""What each stage of an experiment depends on, and whether it is done.

    forecast(t)     <- analysis(t - step), forecast(t - step) (the free run goes on)
    observations(t) <- the reference
    analysis(t)     <- forecast(t), observations(t)
    verification(t) <- analysis(t), forecast(t)

The fingerprint of a stage binds its commit to the code, the part of the configuration and the
checkpoints that its result depends on, and the fingerprints of the stages before it; a commit also
says which bytes of theirs it read. All of this can be told from experiment.yaml and the ledger,
without loading anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import yaml
from pydantic_core import from_json

from tasks.experiment import Experiment, cycle_name
from tasks.ledger import (
    Commit,
    Ledger,
    ReopenedError,
    Stage,
    StaleCommitError,
    Standing,
)
from tasks.plan_fingerprint import CYCLE_STAGES, setting, stage_fingerprint
from tasks.source_digest import code_digest
from tasks.store import exists, join, read_bytes

__all__ = ["CYCLE_STAGES", "JOINED", "PUBLICATION", "Plan", "setting"]

PUBLICATION = "publication"
JOINED = "reprocess"  # in experiment.yaml: the archive is joined from streams (`tasks.streams`)
PUBLISHED_STAGES = ("forecast", "analysis", "verification")


@dataclass(frozen=True)
class Plan:
    """An experiment's identity and its ledger.

    Attributes:
        root: Address of the experiment.
        ledger: What is done.
        identity: Configuration that makes another experiment.
        checkpoints: Digests of the components and of the reference.
        code: Digest of the science code.
        known: Commits that were read, by generation; a commit never changes.
        listing: Where the stages stood at one instant; asked of the ledger each time if None.
    """

    root: str
    ledger: Ledger
    identity: Mapping[str, Any]
    checkpoints: Mapping[str, str]
    code: str
    known: dict[tuple[pd.Timestamp, str, int], Commit] = field(default_factory=dict)
    listing: Mapping[Stage, Standing] | None = None

    @classmethod
    def of(cls, experiment: Experiment, checkpoints: Mapping[str, str]) -> "Plan":
        """Return the plan of an experiment that is being run."""
        identity = experiment.config.identity()
        return cls(experiment.root, Ledger(experiment.root), identity, checkpoints, code_digest())

    @classmethod
    def read(cls, root: str) -> "Plan":
        """Return the plan of the experiment in a directory.

        Raises:
            ValueError: There is none, or it is joined from streams.
        """
        address = join(root, "experiment.yaml")
        if not exists(address):
            raise ValueError(f"{root}: no experiment there (experiment.yaml is missing)")
        identity = yaml.safe_load(read_bytes(address))
        if JOINED in identity:
            raise ValueError(f"{root} is a reprocess; name one of its streams, {root}/streams/…")
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

    def at_once(self) -> "Plan":
        """Return the plan as of now: where all stages stand, by one listing of the ledger."""
        return replace(self, listing=self.ledger.standings())

    def upstream(self, time: pd.Timestamp, stage: str) -> list[Stage]:
        """Return the stages that a stage reads from."""
        match stage:
            case "forecast" if time > self.start:
                return [(time - self.step, "forecast"), (time - self.step, "analysis")]
            case "analysis":
                return [(time, "forecast"), (time, "observations")]
            case "verification":
                return [(time, "forecast"), (time, "analysis")]
        return []

    def standing(self, time: pd.Timestamp, stage: str) -> Standing:
        """Return where a stage stands."""
        if self.listing is None:
            return self.ledger.standing(time, stage)
        return self.listing.get((time, stage), Standing())

    def generation(self, time: pd.Timestamp, stage: str) -> int:
        """Return the generation of a stage; of the publication that of what it publishes."""
        stages = PUBLISHED_STAGES if stage == PUBLICATION else (stage,)
        return max(self.standing(time, stage).generation for stage in stages)

    def commit(self, time: pd.Timestamp, stage: str) -> Commit | None:
        """Return the commit of a stage, or None if it is not done."""
        standing = self.standing(time, stage)
        place = (time, stage, standing.generation)
        if not standing.committed:
            self.known.pop(place, None)  # somebody took a commit away by hand
            return None
        if place not in self.known:
            self.known[place] = self.ledger.read(*place)
        return self.known[place]

    def committed(self, time: pd.Timestamp, stage: str) -> Commit:
        """Return the commit of a stage.

        Raises:
            ReopenedError: The stage is not committed.
        """
        commit = self.commit(time, stage)
        if commit is None:
            raise ReopenedError(f"stage {stage} of cycle {cycle_name(time)} is not committed")
        return commit

    def sources(self, time: pd.Timestamp, stage: str) -> list[Commit]:
        """Return the commits that a stage reads from.

        Raises:
            ReopenedError: One of them is not committed.
        """
        return [self.committed(*before) for before in self.upstream(time, stage)]

    def inputs(self, stage: str, sources: Sequence[Commit]) -> dict[str, str]:
        """Return the fingerprints of the commits that a stage depends on."""
        return {
            source.name: source.fingerprint
            for source in sources
            # the fingerprint of the analysis holds that of the forecast
            if (stage, source.stage) != ("verification", "forecast")
        }

    def fingerprint(self, stage: str, inputs: Mapping[str, str]) -> str:
        """Return what a commit of the stage must have been made with."""
        return stage_fingerprint(stage, self.identity, self.checkpoints, self.code, inputs)

    def why_stale(self, time: pd.Timestamp, stage: str) -> str:
        """Return why the commit of a stage does not count any more; nothing if it does."""
        commit, sources = self.committed(time, stage), []
        for before, name in self.upstream(time, stage):
            source = self.commit(before, name)
            if source is None:
                return f"{name} of cycle {cycle_name(before)}, from which it was made, is open"
            sources.append(source)
        if commit.fingerprint != self.fingerprint(stage, self.inputs(stage, sources)):
            return "made with other code, configuration, checkpoints or inputs than now"
        for source in sources:
            if not commit.has_read(source):
                return f"made from another {source.stage} of cycle {cycle_name(source.cycle_time)}"
        return ""

    def state(self, time: pd.Timestamp, stage: str) -> str:
        """Return `open`, `committed` or `stale` (made from something else than is there now)."""
        if self.commit(time, stage) is None:
            return "open"
        return "stale" if self.why_stale(time, stage) else "committed"

    def is_open(self, time: pd.Timestamp, stage: str) -> bool:
        """Return whether a stage is still to be done.

        Raises:
            StaleCommitError: It was done with another code, configuration or input.
        """
        if self.commit(time, stage) is None:
            return True
        if why := self.why_stale(time, stage):
            raise StaleCommitError(
                f"stage {stage} of cycle {cycle_name(time)} in {self.root} is stale: {why}; "
                "`losda rerun --stale` reopens it, or use another --out"
            )
        return False

    def require_fresh(self, times: Sequence[pd.Timestamp]) -> None:
        """Refuse a directory with a stale stage before anything is added to it.

        Raises:
            StaleCommitError: A stage was done with another code, configuration or input.
        """
        self.at_once().unfinished(times)

    def unfinished(self, times: Sequence[pd.Timestamp]) -> list[pd.Timestamp]:
        """Return the cycles with an open stage, or that are not published.

        Raises:
            StaleCommitError: A stage was done with another code, configuration or input.
        """
        is_open = {time: [self.is_open(time, stage) for stage in CYCLE_STAGES] for time in times}
        return [time for time in times if any(is_open[time]) or not self.is_published(time)]

    def publication(self, time: pd.Timestamp) -> dict[str, Commit]:
        """Return the commits whose results are to be in the archive, by stage.

        Raises:
            ReopenedError: The cycle is not complete.
        """
        return {stage: self.committed(time, stage) for stage in PUBLISHED_STAGES}

    def is_published(self, time: pd.Timestamp) -> bool:
        """Return whether the archive holds what the cycle's stages committed."""
        try:
            there = from_json(read_bytes(self.published_address(time)))
            commits = self.publication(time)
            return bool(there == {stage: commit.attempt for stage, commit in commits.items()})
        except (FileNotFoundError, ValueError):  # among them ReopenedError
            return False

    def published_address(self, time: pd.Timestamp) -> str:
        """Return where is written which attempts were published; the last act of publication."""
        return join(self.root, "published", f"{cycle_name(time)}.json")
