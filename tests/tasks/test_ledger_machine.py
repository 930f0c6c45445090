"""Several writers, deaths, returns, reopenings and clean-up in any order, and what must hold whatever they do.

A writer goes step by step: it looks what to read, begins an attempt, writes two files, asks whether it may still
commit, commits, and asks again. One that is not stepped any more is dead; one that is stepped much later has come back. The
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
until_it_dies = st.sampled_from([1000, 0, 1, 2, 3, 4])  # the steps that a process makes


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
        self.news = 0
        self.known: dict[tuple[pd.Timestamp, str, int], Commit] = {}

    def new_root(self) -> str:
        return tempfile.mkdtemp()

    def plan(self) -> Plan:
        return Plan(self.root, Ledger(self.root), IDENTITY, {}, self.code, self.known)

    # What happens

    def look(self, place: Stage, same: bool) -> Writer | None:
        """See what a stage needs, as a run does before it begins; say whether it has news."""
        plan = self.plan()
        if plan.commit(*place) is not None:
            return None
        try:
            sources = plan.sources(*place)
        except ReopenedError:
            return None
        mark = plan.fingerprint(place[1], plan.inputs(place[1], sources))
        self.news += not same
        return Writer(place, sources, mark, "" if same else str(self.news))

    @initialize(left=st.integers(0, 5))
    def some_is_done(self, left: int) -> None:
        for place in [(t, s) for t in TIMES for s in CYCLE_STAGES][: 12 - left]:
            self.finish(place)
        for time in TIMES:
            self.publish(time)

    @rule(number=numbers, same=st.booleans(), steps=until_it_dies)
    def start(self, number: int, same: bool, steps: int) -> None:
        """Begin with a stage whose inputs are there, or with the next but one, and so on."""
        places = [(time, stage) for time in TIMES for stage in CYCLE_STAGES]
        ready = [writer for place in places if (writer := self.look(place, same))]
        if ready:
            self.writers.append(ready[number % len(ready)])
            self.advance(self.writers[-1], steps)

    @precondition(lambda self: self.writers)
    @rule(number=numbers, steps=until_it_dies)
    def go_on(self, number: int, steps: int) -> None:
        self.advance(self.writers[number % len(self.writers)], steps)

    def advance(self, writer: Writer, steps: int) -> None:
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

    @rule(time=times, stage=stage_names, only=st.booleans(), steps=until_it_dies)
    def rerun(self, time: pd.Timestamp, stage: str, only: bool, steps: int) -> None:
        self.reopen([(time, stage)], only, steps)

    @rule(steps=until_it_dies)
    def rerun_what_is_stale(self, steps: int) -> None:
        self.reopen(stale_stages(self.plan().at_once()), False, steps)

    def reopen(self, wanted: list[Stage], only: bool, steps: int = 1000) -> bool:
        before = self.plan().at_once()
        try:
            for reopened in islice(reopen(self.plan(), wanted, "", only), steps):
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

    @rule(cycles=st.integers(0, 1), steps=until_it_dies)
    def begin_to_clean_up(self, cycles: int, steps: int) -> None:
        keep = cycles * STEP
        self.cleaning = remove(self.plan(), removals(self.plan(), keep), keep)
        list(islice(self.cleaning, steps))

    @precondition(lambda self: self.cleaning is not None)
    @rule(steps=until_it_dies)
    def clean_up(self, steps: int) -> None:
        assert self.cleaning is not None
        list(islice(self.cleaning, steps))

    # How a writer works

    def step(self, writer: Writer) -> None:
        (self.begin, self.write_first, self.write_second, self.ask, self.commit, self.ask_again)[
            writer.phase
        ](writer)
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
        if plan.standing(*writer.place).generation != writer.own.generation:
            later = plan.commit(*writer.place)
            assert later is None or later.attempt != writer.own.name

    def ask_again(self, writer: Writer) -> None:
        ledger, generation = self.plan().ledger, writer.own.generation
        try:
            ledger.require_current(writer.own)
        except ReopenedError:
            if ledger.read(*writer.place, generation).attempt == writer.own.name:
                ledger.reopen(*writer.place, generation)
        self.writers.remove(writer)

    def require_hopeless(self, writer: Writer) -> None:
        """Only of a writer that can win nothing any more the inputs may be gone."""
        if self.plan().commit(*writer.place) is None:
            with pytest.raises(ReopenedError):
                self.plan().ledger.require_current(writer.own)

    def data(self, commit: Commit) -> bytes:
        return store.read_bytes(store.join(commit.address, "first"))

    def finish(self, place: Stage) -> None:
        if writer := self.look(place, same=False):
            self.writers.append(writer)
            self.advance(writer, 1000)

    # What holds

    @invariant()
    def laws(self) -> None:
        plan = self.plan().at_once()
        order = stages_until(plan, TIMES[-1])
        commits = {place: commit for place in order if (commit := plan.commit(*place))}
        self.files_of_the_ledger_never_change()
        for place, commit in commits.items():
            if not plan.standing(*place).removed:
                self.what_readers_follow_is_whole_and_made_from_what_is_current_or_stale(
                    plan, commit
                )
        for place in order:
            if place not in commits:
                self.what_an_open_stage_needs_is_there(plan, place)

    def files_of_the_ledger_never_change(self) -> None:
        names = store.files(store.join(self.root, "ledger"))
        found = {n: store.read_bytes(store.join(self.root, "ledger", n)) for n in names}
        lasting = {name: data for name, data in found.items() if "removed-" not in name}
        assert self.files.items() <= lasting.items()
        self.files = lasting

    def what_readers_follow_is_whole_and_made_from_what_is_current_or_stale(
        self, plan: Plan, commit: Commit
    ) -> None:
        plan.ledger.verify(commit)
        assert set(commit.digests) == {"first", "second"}
        place, read = (commit.cycle_time, commit.stage), json.loads(self.data(commit))["read"]
        assert set(read) == {f"{time:%Y%m%dT%H}/{stage}" for time, stage in plan.upstream(*place)}
        if plan.state(*place) == "committed":
            sources = plan.sources(*place)
            assert read == {source.name: source.digests["first"] for source in sources}

    def what_an_open_stage_needs_is_there(self, plan: Plan, place: Stage) -> None:
        sources = [plan.commit(*before) for before in plan.upstream(*place)]
        for source in sources if all(sources) else ():
            assert source is not None
            assert not plan.standing(source.cycle_time, source.stage).removed
            plan.ledger.verify(source)

    def teardown(self) -> None:
        """From whatever is left, `losda rerun` and `losda run` finish the experiment."""
        try:
            self.run_to_the_end()
            self.laws()
        finally:
            self.remove_root()

    def run_to_the_end(self) -> None:
        while stale := stale_stages(self.plan().at_once()):
            if not self.reopen(stale, False):
                self.reopen([(START, stage) for stage in CYCLE_STAGES], False)
        self.run()
        for writer in list(self.writers):  # all the dead come back
            self.advance(writer, 1000)
        self.run()

    def run(self) -> None:
        for time in TIMES:
            for stage in CYCLE_STAGES:
                self.finish((time, stage))
            self.publish(time)
        assert self.plan().unfinished(TIMES) == []

    def remove_root(self) -> None:
        shutil.rmtree(self.root)


LOCAL = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


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
        OnS3, settings=settings(LOCAL, max_examples=2, stateful_step_count=5)
    )
