"""The unfinished cycles and what is done of them, on a ledger whose stages only write down what they read."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from configs import load
from configs.operations import Operations
from tasks import ledger_lease, store
from tasks.clock import Clock
from tasks.driver import DrivenError, Driver, driving
from tasks.due import CUTOFF, Decision
from tasks.experiment import Experiment, cycle_name
from tasks.failures import recorded
from tasks.journal import Entry, Journal
from tasks.ledger import ReopenedError
from tasks.ledger_rerun import reopen
from tasks.orders import Orders, orders_of
from tasks.overview import Overview
from tasks.plan import CYCLE_STAGES, PUBLICATION
from tests.small_ledger import START, STEP, make, plan_at, publish

RULES = Operations()


pytestmark = pytest.mark.usefixtures("no_flushing")


class Past:
    """A drive of a small experiment with a clock that only the test moves."""

    def __init__(self, root: str) -> None:
        config = load("embedded", ["start=2001-01-01T00:00"])
        self.utc, self.missing = START, set[pd.Timestamp]()
        self.plan = plan_at(root)
        self.driver = Driver(
            experiment=Experiment(root=root, config=config),
            overview=Overview(self.plan, START),
            journal=Journal(root),
            clock=Clock(),
            missing=lambda time: ("twin",) if time in self.missing else (),
            now=lambda: self.utc,
        )

    def look(self) -> Decision:
        return self.driver.look()

    def step(self, hours: float = 6) -> None:
        self.utc += pd.Timedelta(hours=hours)
        while (decision := self.look()).actions:
            for action in decision.actions:
                for stage in action.stages:
                    self.do(action.time, stage)

    def do(self, time: pd.Timestamp, stage: str) -> None:
        if stage == PUBLICATION:
            publish(self.plan, time)
        else:
            make(self.plan, (time, stage))

    def orders(self) -> Orders:
        return orders_of(self.driver.journal.entries())


@pytest.fixture
def past(local_root: str) -> Past:
    return Past(local_root)


def test_cycles_are_done_as_they_become_due(root: str) -> None:
    past = Past(root)
    past.step(3)
    past.step(20)
    assert sorted(past.plan.ledger.cycles()) == [START + n * STEP for n in range(4)]
    assert all(past.plan.is_published(START + n * STEP) for n in range(4))
    assert [wait.kind for wait in past.look().waits] == ["due"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often the store is asked."""
    counted: Counter[str] = Counter()
    for name in ("names", "files", "read_bytes", "exists"):
        original = getattr(store, name)

        def count(address: object, name: str = name, original: object = original) -> object:
            counted[name] += 1
            return original(address)  # type: ignore[operator]

        for module in ("store", "plan"):
            monkeypatch.setattr(f"tasks.{module}.{name}", count, raising=False)
    return counted


def test_a_look_after_many_cycles_costs_what_it_costs_after_few(
    past: Past, calls: Counter[str]
) -> None:
    costs, known = [], []
    for number in range(1, 121):
        past.step(6)
        if number in (20, 120):
            calls.clear()
            past.look()
            costs.append(dict(calls))
            known.append(len(past.plan.known))
    assert costs[0] == costs[1] and known[0] == known[1] < 12


def test_a_rerun_of_an_old_cycle_is_seen_and_what_depends_on_it_follows(past: Past) -> None:
    past.step(36)
    time = START + 2 * STEP
    places = list(reopen(past.plan, [(time, "analysis")], "better"))
    past.driver.journal.write(Entry(kind="rerun", text="", cycle=cycle_name(time)))
    assert [a.time for a in past.look().actions] == [time]
    past.step(0)
    assert all(past.plan.state(*place) == "committed" for place in places)
    assert past.plan.standing(START + 5 * STEP, "verification").generation == 2
    assert all(past.plan.is_published(START + n * STEP) for n in range(6))


def test_a_rerun_before_the_drive_started_is_seen(past: Past) -> None:
    past.step(24)
    list(reopen(past.plan, [(START, "verification")], ""))
    later = Past(past.plan.root)
    later.utc = past.utc
    assert [(a.time, a.stages) for a in later.look().actions] == [
        (START, ("verification", PUBLICATION))
    ]


def test_a_stale_stage_stops_all_that_is_later_with_one_alert(
    past: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    past.step(12)
    list(reopen(past.plan, [(START + STEP, "observations")], "", only=True))
    past.driver.journal.write(Entry(kind="rerun", text="", cycle=cycle_name(START + STEP)))
    for _ in range(3):
        past.utc += STEP
        decision = past.look()
    assert not decision.actions and decision.waits[0].kind == "stale"
    err = capsys.readouterr().err
    assert err.count("losda: ALERT: ") == err.count("\n") == 1 and "is open" in err


def test_observations_that_are_missing_at_the_cutoff_are_an_alert(
    past: Past, capsys: pytest.CaptureFixture[str]
) -> None:
    past.missing = {START}
    past.step(4)
    assert list(past.plan.ledger.cycles()[START]) == ["forecast"]
    past.step(2)
    assert past.plan.commit(START, "analysis")
    assert [entry.text for entry in past.orders().alerts] == [f"{CUTOFF}twin"]
    assert capsys.readouterr().err.count("ALERT") == 1


def test_a_failure_is_noted_by_whoever_runs_the_stage_and_a_reopening_is_none(past: Past) -> None:
    with pytest.raises(OSError, match="full"), recorded(past.plan, START, "forecast"):
        raise OSError("the disk\nis full")
    with pytest.raises(ReopenedError), recorded(past.plan, START, "forecast"):
        raise ReopenedError("meanwhile")
    entries = past.driver.journal.entries()
    assert [(e.kind, e.stage, e.text) for e in entries] == [
        ("failure", "forecast", "OSError: the disk is full")
    ]


def test_an_attempt_that_died_is_noted_once_also_after_a_release(past: Past) -> None:
    gone = ledger_lease.lease_of("a1-gone").model_copy(update={"process_began": "0"})
    folder = past.plan.ledger.folder(START, "forecast")
    store.write_bytes(f"{folder}/lease.json", gone.model_dump_json().encode())
    past.look()
    past.driver.journal.write(Entry(kind="release", text=""))
    past.look()
    assert [entry.kind for entry in past.driver.journal.entries()] == ["death", "release"]


def test_failures_before_a_stage_was_reopened_do_not_count(past: Past) -> None:
    past.step(3)
    for _ in range(RULES.attempts):
        with pytest.raises(OSError), recorded(past.plan, START, "verification"):
            raise OSError
    list(reopen(past.plan, [(START, "verification")], ""))
    past.driver.overview.first = START
    assert [a.stages[0] for a in past.look().actions] == ["verification"]


def test_journal_and_drive_are_no_matter_of_the_ledger(past: Past, tmp_path: Path) -> None:
    past.driver.journal.write(Entry(kind="hold", text=""))
    with driving(past.plan.root):
        assert past.plan.ledger.standings() == {}
    past.driver.journal.write(Entry(kind="release", text=""))
    past.step(3)
    assert set(past.plan.ledger.standings()) == {(START, stage) for stage in CYCLE_STAGES}


def test_one_drives_and_the_next_when_it_ended_or_was_killed(root: str) -> None:
    with driving(root), pytest.raises(DrivenError, match="is driven by process"), driving(root):
        pass
    gone = ledger_lease.lease_of("drive-gone").model_copy(update={"process_began": "0"})
    store.write_bytes(store.join(root, "drive", "lease.json"), gone.model_dump_json().encode())
    with driving(root):
        pass
    assert not store.exists(store.join(root, "drive", "lease.json"))
