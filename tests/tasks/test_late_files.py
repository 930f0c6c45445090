"""Files that come after the ingest: read again until the cutoff, named once after it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from configs import load
from tasks.clock import Clock
from tasks.driver import Driver
from tasks.due import Decision
from tasks.experiment import Experiment, cycle_name
from tasks.journal import Entry, Journal
from tasks.late_files import LateFiles
from tasks.ledger import Commit
from tasks.ledger_rerun import reopen
from tasks.orders import orders_of
from tasks.overview import Overview
from tasks.plan import PUBLICATION
from tests.small_ledger import START, STEP, make, plan_at, publish

pytestmark = pytest.mark.usefixtures("no_flushing")

FIRST, SECOND = (cycle_name(START + n * STEP) for n in (0, 1))
SETTINGS = (
    "start=2001-01-01T00:00",
    'observations.source={kind: files, address: ["obs"]}',
    "operations.cutoff=PT9H",
    "operations.late=PT24H",
)


class Past:
    """A drive whose sources are complete at once, with a clock and files that only the test moves."""

    def __init__(self, root: str, *settings: str) -> None:
        config = load("embedded", [*SETTINGS, *settings])
        self.utc, self.plan, journal = START, plan_at(root), Journal(root)
        self.there: dict[pd.Timestamp, set[str]] = {}
        self.read: dict[str, set[str]] = {}
        self.looked: list[pd.Timestamp] = []
        self.late = LateFiles(self.plan, journal, Clock(), config, self.unread)
        self.driver = Driver(
            experiment=Experiment(root=root, config=config),
            overview=Overview(self.plan, START),
            journal=journal,
            clock=Clock(),
            missing=lambda time: (),
            late=self.late,
            now=lambda: self.utc,
        )

    def unread(self, commit: Commit) -> Sequence[str]:
        self.looked.append(commit.cycle_time)
        return sorted(self.there.get(commit.cycle_time, set()) - self.read[commit.attempt])

    def arrive(self, name: str, time: pd.Timestamp = START) -> None:
        self.there.setdefault(time, set()).add(name)

    def look(self) -> Decision:
        return self.driver.look()

    def step(self, hours: float) -> None:
        self.utc += pd.Timedelta(hours=hours)
        while (decision := self.look()).actions:
            for action in decision.actions:
                for stage in action.stages:
                    self.do(action.time, stage)

    def do(self, time: pd.Timestamp, stage: str) -> None:
        if stage == PUBLICATION:
            publish(self.plan, time)
        elif stage == "observations":
            files = set(self.there.get(time, set()))
            self.read[make(self.plan, (time, stage), str(sorted(files))).attempt] = files
        else:
            make(self.plan, (time, stage))

    def generation(self, time: pd.Timestamp, stage: str = "observations") -> int:
        return self.plan.standing(time, stage).generation

    def entries(self) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(e.kind, e.cycle, e.files) for e in self.driver.journal.entries()]


def test_before_the_cutoff_the_ingest_and_the_analysis_are_done_again(
    local_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    past = Past(local_root)
    past.arrive("a")
    past.step(3)
    assert (past.generation(START), past.generation(START, "analysis")) == (1, 1)
    past.arrive("b")
    past.step(1)
    assert (past.generation(START), past.generation(START, "analysis")) == (2, 2)
    assert past.generation(START, "forecast") == 1
    assert past.read[past.plan.committed(START, "observations").attempt] == {"a", "b"}
    assert past.plan.is_published(START)
    assert past.entries() == [("rerun", FIRST, ())]
    text = past.driver.journal.entries()[0].text
    assert text == "1 file came after the ingest: b"
    assert "it is done again" in capsys.readouterr().err
    past.step(1)
    assert past.generation(START) == 2  # nothing new, nothing again


def test_later_cycles_that_were_made_from_it_follow(local_root: str) -> None:
    past = Past(local_root, "operations.cutoff=PT18H")
    past.step(15)
    assert past.plan.is_published(START + 2 * STEP)
    past.arrive("b")
    past.step(0)
    assert [past.generation(START + n * STEP, "analysis") for n in range(3)] == [2, 2, 2]
    assert [past.generation(START + n * STEP) for n in range(3)] == [2, 1, 1]
    assert all(past.plan.is_published(START + n * STEP) for n in range(3))


def test_after_the_cutoff_files_are_named_once_and_a_rerun_reads_them(
    local_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    past = Past(local_root)
    past.step(9)
    for name in ("b", "c"):
        past.arrive(name)
        past.step(1)
        past.step(1)
    assert past.generation(START) == 1
    assert past.entries() == [("late", FIRST, ("b",)), ("late", FIRST, ("c",))]
    assert orders_of(past.driver.journal.entries()).late == {FIRST: ("b", "c")}
    said = capsys.readouterr().err
    assert said.count("came after the cutoff") == 2
    assert f"losda rerun {local_root} {FIRST} --stage observations" in said
    list(reopen(past.plan, [(START, "observations")], ""))
    past.driver.journal.write(Entry(kind="rerun", text="", cycle=FIRST))
    past.step(1)
    assert past.read[past.plan.committed(START, "observations").attempt] == {"b", "c"}
    assert orders_of(past.driver.journal.entries()).late == {}
    past.arrive("d")
    past.step(0)
    assert past.entries()[-1] == ("late", FIRST, ("d",))


def test_a_release_does_not_name_them_again(local_root: str) -> None:
    past = Past(local_root)
    past.step(9)
    past.arrive("b")
    past.step(1)
    past.driver.journal.write(Entry(kind="release", text=""))
    past.step(1)
    assert [kind for kind, *_ in past.entries()] == ["late", "release"]


def test_what_is_held_is_left_alone_until_it_is_released(local_root: str) -> None:
    past = Past(local_root)
    past.step(3)
    past.driver.journal.write(Entry(kind="hold", text=""))
    past.arrive("b")
    past.step(1)
    assert past.generation(START) == 1
    past.driver.journal.write(Entry(kind="release", text=""))
    past.step(1)
    assert past.generation(START) == 2


def test_cycles_are_looked_at_until_a_while_after_their_cutoff_and_no_longer(
    local_root: str,
) -> None:
    past = Past(local_root)
    past.step(6 * 40)
    past.looked.clear()
    past.look()
    hours = [(past.utc - time) / pd.Timedelta("1h") for time in past.looked]
    assert min(hours) == 6 and max(hours) == 30 and len(hours) == 5  # cutoff + late are 33 h
    never = Past(local_root, "operations.late=PT0S").late
    assert [(past.utc - time) / STEP for time in never.times(past.utc)] == [1]


def test_what_cannot_be_done_again_is_no_failure_of_the_drive(local_root: str) -> None:
    past = Past(local_root)
    past.step(3 + 6)
    second = START + STEP
    removed = [(START, "forecast"), (START, "analysis"), (second, "forecast")]
    past.plan.ledger.give_up([past.plan.committed(*place) for place in removed])
    past.arrive("b", second)
    past.step(0)
    assert past.generation(second) == 1 and past.entries() == []


def test_folder_of_the_journal_stays_readable(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.write(Entry(kind="late", text="1 file", cycle=SECOND, files=("s3://a/b",)))
    assert Journal(str(tmp_path)).entries()[0].files == ("s3://a/b",)
