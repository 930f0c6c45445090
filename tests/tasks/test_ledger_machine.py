"""Several writers, deaths, returns, reopenings and clean-up in any order, and what must hold whatever they do.

A writer goes step by step: it looks what to read, begins an attempt, writes two files, asks whether it may still
commit, and commits. One that is not stepped any more is dead; one that is stepped much later has come back. The
content of a result says which bytes it was made from, so the laws are checked on the data, not on the records.
"""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks import ledger, store
from tasks.ledger import Attempt, Commit, Ledger, ReopenedError, Stage, StageResult
from tasks.ledger_cleanup import removals, remove
from tasks.ledger_rerun import reopen, stages_until, stale_stages
from tasks.plan import CYCLE_STAGES, Plan

START, STEP = pd.Timestamp("2001-01-01"), pd.Timedelta(hours=6)
TIMES = [START + number * STEP for number in range(3)]
IDENTITY = {"start": START.isoformat(), "step": STEP.isoformat(), "method": {}}

times = st.sampled_from(TIMES)
stage_names = st.sampled_from(CYCLE_STAGES)
numbers = st.integers(0, 30)


@dataclass
class Writer:
    """A process at work on one stage."""

    place: Stage
    sources: list[Commit]
    mark: str
    text: str
    phase: int = 0
    attempt: Attempt | None = None
    read: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> Attempt:
        assert self.attempt is not None
        return self.attempt


class Died(Exception):
    """The process is gone."""


class Machine(RuleBasedStateMachine):
    """The laws; a subclass says where."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.new_root()
        self.code = "c"
        self.writers: list[Writer] = []
        self.cleaning: Iterator[object] | None = None
        self.files: dict[str, bytes] = {}

    def new_root(self) -> str:
        return tempfile.mkdtemp()

    def plan(self) -> Plan:
        return Plan(self.root, Ledger(self.root), IDENTITY, {}, self.code)

    # What happens

    def look(self, place: Stage, text: str) -> Writer | None:
        """See what a stage needs, as a run does before it begins."""
        plan = self.plan()
        if plan.commit(*place) is not None:
            return None
        try:
            sources = plan.sources(*place)
        except ReopenedError:
            return None
        mark = plan.fingerprint(place[1], plan.inputs(place[1], sources))
        return Writer(place, sources, mark, text)

    @initialize(done=st.integers(0, 12), published=st.booleans())
    def some_is_done(self, done: int, published: bool) -> None:
        for place in [(t, s) for t in TIMES for s in CYCLE_STAGES][:done]:
            self.finish(place, "0")
        for time in TIMES if published else ():
            self.publish(time)

    @rule(time=times, stage=stage_names, text=st.sampled_from("01"))
    def start(self, time: pd.Timestamp, stage: str, text: str) -> None:
        if writer := self.look((time, stage), text):
            self.writers.append(writer)

    @precondition(lambda self: self.writers)
    @rule(number=numbers, steps=st.integers(1, 5))
    def go_on(self, number: int, steps: int) -> None:
        writer = self.writers[number % len(self.writers)]
        for _ in range(steps):
            if writer in self.writers:
                self.step(writer)

    @precondition(lambda self: any(w.phase == 4 for w in self.writers))
    @rule(number=numbers, created=st.booleans())
    def die_in_the_commit(self, number: int, created: bool) -> None:
        ready = [writer for writer in self.writers if writer.phase == 4]
        create = store.create_exclusive

        def dying(address: str, data: bytes, *, vouches_for: Iterable[store.Address]) -> bool:
            if created:
                create(address, data, vouches_for=vouches_for)
            raise Died

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Died):
            patch.setattr(store, "create_exclusive", dying)
            self.step(ready[number % len(ready)])

    @rule(time=times, stage=stage_names, only=st.booleans(), marks=st.integers(0, 20))
    def rerun(self, time: pd.Timestamp, stage: str, only: bool, marks: int) -> None:
        """Reopen, and die after some marks."""
        self.reopen([(time, stage)], only, marks)

    @rule(marks=st.integers(0, 20))
    def rerun_what_is_stale(self, marks: int) -> None:
        self.reopen(stale_stages(self.plan().at_once()), False, marks)

    def reopen(self, wanted: list[Stage], only: bool, marks: int = 1000) -> bool:
        before = self.plan().at_once()
        try:
            for reopened in islice(reopen(self.plan(), wanted, "", only), marks):
                assert before.commit(*reopened) is not None
        except ValueError as error:
            assert "clean-up removed" in str(error)
            return False
        return True

    @rule()
    def change_the_code(self) -> None:
        self.code += "c"

    @rule(time=times)
    def publish(self, time: pd.Timestamp) -> None:
        plan = self.plan()
        try:
            commits = plan.publication(time)
        except ReopenedError:
            return
        attempts = {stage: commit.attempt for stage, commit in commits.items()}
        store.write_bytes(plan.published_address(time), json.dumps(attempts).encode())

    @rule(cycles=st.integers(0, 2))
    def begin_to_clean_up(self, cycles: int) -> None:
        keep = cycles * STEP
        self.cleaning = remove(self.plan(), removals(self.plan(), keep), keep)

    @precondition(lambda self: self.cleaning is not None)
    @rule(steps=st.integers(1, 12))
    def clean_up(self, steps: int) -> None:
        assert self.cleaning is not None
        list(islice(self.cleaning, steps))

    # How a writer works

    def step(self, writer: Writer) -> None:
        (self.begin, self.write_first, self.write_second, self.ask, self.commit)[writer.phase](
            writer
        )
        writer.phase += 1

    def begin(self, writer: Writer) -> None:
        plan = self.plan()
        writer.attempt = plan.ledger.new_attempt(*writer.place, sources=writer.sources)

    def write_first(self, writer: Writer) -> None:
        for source in writer.sources:
            try:
                self.plan().ledger.verify(source)
            except ValueError:
                self.require_hopeless(writer)
                self.writers.remove(writer)
                return
            writer.read[source.name] = store.digest(self.data(source))
        self.write(writer, "first")

    def write_second(self, writer: Writer) -> None:
        self.write(writer, "second")

    def write(self, writer: Writer, name: str) -> None:
        document = {"text": writer.text, "read": writer.read}
        data = json.dumps(document, sort_keys=True).encode()
        store.write_bytes(store.join(writer.own.address, name), data, durable=False)

    def ask(self, writer: Writer) -> None:
        try:
            self.plan().ledger.require_current(writer.own)
        except ReopenedError:
            self.writers.remove(writer)

    def commit(self, writer: Writer) -> None:
        plan, stage = self.plan(), writer.place[1]
        inputs = plan.inputs(stage, writer.sources)
        commit = ledger._commit_of(writer.own, writer.mark, inputs, StageResult())
        plan.ledger.commit(commit)
        self.writers.remove(writer)

    def require_hopeless(self, writer: Writer) -> None:
        """Only of a writer that can win nothing any more the inputs may be gone."""
        if self.plan().commit(*writer.place) is None:
            with pytest.raises(ReopenedError):
                self.plan().ledger.require_current(writer.own)

    def data(self, commit: Commit) -> bytes:
        return store.read_bytes(store.join(commit.address, "first"))

    def finish(self, place: Stage, text: str) -> None:
        writer = self.look(place, text)
        if writer is None:
            return
        self.writers.append(writer)
        while writer in self.writers:
            self.step(writer)

    # What holds

    def current(self) -> dict[Stage, Commit]:
        plan = self.plan().at_once()
        found = {place: plan.commit(*place) for place in stages_until(plan)}
        return {place: commit for place, commit in found.items() if commit is not None}

    @invariant()
    def files_of_the_ledger_never_change(self) -> None:
        names = store.files(store.join(self.root, "ledger"))
        found = {n: store.read_bytes(store.join(self.root, "ledger", n)) for n in names}
        lasting = {name: data for name, data in found.items() if "removed-" not in name}
        assert self.files.items() <= lasting.items()
        self.files = lasting

    @invariant()
    def what_readers_follow_is_whole_and_made_from_what_is_current_or_stale(self) -> None:
        plan, commits = self.plan().at_once(), self.current()
        for place, commit in commits.items():
            if plan.standing(*place).removed:
                continue
            plan.ledger.verify(commit)
            assert set(commit.digests) == {"first", "second"}
            read = json.loads(self.data(commit))["read"]
            assert set(read) == {f"{t:%Y%m%dT%H}/{s}" for t, s in plan.upstream(*place)}
            if plan.state(*place) == "committed":
                for before in plan.upstream(*place):
                    source = commits[before]
                    assert read[source.name] == source.digests["first"]

    @invariant()
    def what_an_open_stage_needs_is_there(self) -> None:
        plan, commits = self.plan().at_once(), self.current()
        for place in stages_until(plan, TIMES[-1]):
            needed = plan.upstream(*place)
            if place not in commits and all(before in commits for before in needed):
                for before in needed:
                    assert not plan.standing(*before).removed
                    plan.ledger.verify(commits[before])

    def teardown(self) -> None:
        """From whatever is left, `losda rerun` and `losda run` finish the experiment."""
        try:
            self.run_to_the_end()
            self.check_all()
        finally:
            self.remove_root()

    def run_to_the_end(self) -> None:
        while stale := stale_stages(self.plan().at_once()):
            if not self.reopen(stale, False):
                self.reopen([(START, stage) for stage in CYCLE_STAGES], False)
        for time in TIMES:
            for stage in CYCLE_STAGES:
                self.finish((time, stage), "0")
            self.publish(time)
        assert self.plan().unfinished(TIMES) == []
        for writer in list(self.writers):  # all the dead come back
            while writer in self.writers:
                self.step(writer)
        assert self.plan().unfinished(TIMES) == []

    def check_all(self) -> None:
        self.files_of_the_ledger_never_change()
        self.what_readers_follow_is_whole_and_made_from_what_is_current_or_stale()
        self.what_an_open_stage_needs_is_there()

    def remove_root(self) -> None:
        shutil.rmtree(self.root)


LOCAL = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power cut here, and it is most of the time."""
    monkeypatch.setattr(store, "sync", lambda paths: None)


def test_whatever_happens_in_whatever_order_the_ledger_keeps_its_laws(no_flushing: None) -> None:
    run_state_machine_as_test(Machine, settings=LOCAL)


@pytest.mark.s3
def test_the_laws_hold_on_s3(s3_server: str) -> None:
    class OnS3(Machine):
        def new_root(self) -> str:
            return f"s3://test/{uuid.uuid4().hex}"

        def remove_root(self) -> None:
            store.remove_tree(self.root)

    run_state_machine_as_test(
        OnS3, settings=settings(LOCAL, max_examples=2, stateful_step_count=8)
    )
