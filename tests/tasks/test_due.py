"""What is due, with a clock that only the test moves."""

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.operations import Operations
from tasks.clock import Clock
from tasks.due import ANALYSIS, CUTOFF, CycleState, Decision, Moment, due
from tasks.experiment import cycle_name
from tasks.journal import Entry, Kind
from tasks.orders import Orders, orders_of

START, STEP = pd.Timestamp("2001-01-01"), pd.Timedelta("6h")
ALL = (*ANALYSIS, "verification", "publication")
RULES = Operations(run_ahead=2)


class World:
    """An experiment whose stages take no time."""

    def __init__(self, rules: Operations = RULES, end: int | None = None) -> None:
        self.rules, self.clock, self.utc = rules, Clock(), START
        self.end = None if end is None else START + end * STEP
        self.open: dict[pd.Timestamp, tuple[str, ...]] = {}
        self.entries: list[Entry] = []
        self.missing: dict[pd.Timestamp, tuple[str, ...]] = {}
        self.stale: dict[pd.Timestamp, str] = {}
        self.done: list[tuple[int, str]] = []
        self.failing: set[tuple[int, str]] = set()
        self.first = START

    def states(self) -> list[CycleState]:
        found, time = [], self.first
        while True:
            left = self.open.get(time, ALL)
            if left or time in self.stale:
                found.append(CycleState(time, left, {}, self.stale.get(time, "")))
            elif not found:
                self.first = time + STEP
                self.open.pop(time)
            if set(left) & set(ANALYSIS):
                return found
            time += STEP

    def decide(self, hours: float = 0) -> Decision:
        self.utc += pd.Timedelta(hours=hours)
        moment = Moment(
            self.utc,
            self.clock,
            self.rules,
            STEP,
            lambda time: self.missing.get(time, ()),
            self.end,
        )
        return due(self.states(), self.orders(), moment)

    def orders(self) -> Orders:
        return orders_of(self.entries)

    def write(self, kind: Kind, cycle: int | None = None, stage: str = "", text: str = "") -> None:
        name = "" if cycle is None else cycle_name(START + cycle * STEP)
        created = self.utc.floor("us").tz_localize("UTC").to_pydatetime()
        self.entries.append(Entry(kind=kind, text=text, cycle=name, stage=stage, created=created))

    def work(self, hours: float = 0) -> list[tuple[int, str]]:
        """Do what is due until nothing is; return what was done."""
        before = len(self.done)
        decision = self.decide(hours)
        while decision.actions:
            for action in decision.actions[:1]:
                cycle = (action.time - START) // STEP
                for stage in action.stages:
                    if (cycle, stage) in self.failing:
                        self.write("failure", cycle, stage, "no space")
                        break
                    left = self.open.setdefault(action.time, ALL)
                    self.open[action.time] = tuple(s for s in left if s != stage)
                    self.done.append((cycle, stage))
            decision = self.decide()
        return self.done[before:]

    def reopen(self, cycle: int, last: int) -> None:
        for number in range(cycle, last + 1):
            self.open[START + number * STEP] = ALL
        self.first = START + cycle * STEP
        self.write("rerun", cycle)

    def why(self) -> list[str]:
        return [wait.kind for wait in self.decide().waits]


@pytest.fixture
def world() -> World:
    return World()


def whole(*cycles: int) -> list[tuple[int, str]]:
    return [(cycle, stage) for cycle in cycles for stage in ALL]


def test_a_cycle_is_due_at_its_time_plus_offset_and_not_before(world: World) -> None:
    decision = world.decide(2.99)
    assert not decision.actions
    assert [(w.kind, w.until) for w in decision.waits] == [("due", START + RULES.offset)]
    assert world.work(0.01) == whole(0)
    assert world.why() == ["due"]


def test_after_an_outage_of_20_hours_all_cycles_come_in_order_and_none_is_missed(
    world: World,
) -> None:
    world.work(3)
    assert world.work(20) == whole(1, 2, 3)
    assert world.work(20) == whole(4, 5, 6)


def test_observations_are_awaited_until_they_are_complete_and_the_forecast_does_not_wait(
    world: World,
) -> None:
    world.missing = {START: ("twin",)}
    assert world.work(4) == [(0, "forecast")]
    wait = world.decide().waits[0]
    assert (wait.kind, wait.until) == ("observations", START + RULES.cutoff)
    assert "twin until 2001-01-01T06:00:00Z" in wait.why
    world.missing.clear()
    assert world.work(1) == whole(0)[1:]


def test_at_the_cutoff_a_cycle_goes_on_without_them_and_says_so(world: World) -> None:
    world.missing = {START: ("twin",)}
    world.work(5.99)
    decision = world.decide(0.01)
    assert [action.why for action in decision.actions] == [f"{CUTOFF}twin"]
    assert world.work() == whole(0)[1:]


def test_each_source_is_awaited_until_its_own_cutoff(world: World) -> None:
    world.rules = Operations(
        offset=timedelta(hours=1),
        cutoff=timedelta(hours=3),
        cutoffs={"ship": timedelta(hours=5), "radar": timedelta(hours=2)},
    )
    world.missing = {START: ("buoy", "radar", "ship")}
    assert world.work(1) == [(0, "forecast")]

    def awaited(hours: float) -> tuple[float, list[str]]:
        (wait,) = world.decide(hours).waits
        assert wait.kind == "observations" and wait.until is not None
        names = [name for name in ("buoy", "radar", "ship") if f"{name} until" in wait.why]
        return (wait.until - START) / pd.Timedelta("1h"), names

    assert awaited(0) == (2, ["buoy", "radar", "ship"])
    assert awaited(1.5) == (3, ["buoy", "ship"])
    assert awaited(1) == (5, ["ship"])
    decision = world.decide(1.5)
    assert [action.missing for action in decision.actions] == [("buoy", "radar", "ship")]
    assert "buoy, radar, ship" in decision.actions[0].why


def test_a_source_past_its_cutoff_is_not_awaited_when_the_others_are_complete(
    world: World,
) -> None:
    world.rules = Operations(cutoffs={"radar": RULES.offset})
    world.missing = {START: ("radar",)}
    assert world.work(3) == whole(0)


def test_a_failure_of_verification_lets_analyses_go_ahead_up_to_the_limit(world: World) -> None:
    world.rules = RULES.model_copy(update={"retry_after": timedelta(days=100)})
    world.failing = {(0, "verification")}
    done = world.work(100)
    assert [c for c, s in done if s == "analysis"] == [0, 1, 2]
    assert (2, "publication") in done
    assert world.why() == ["retry", "run-ahead"]


def test_a_failed_stage_is_tried_again_after_a_growing_delay_and_then_holds(world: World) -> None:
    world.failing, minutes = {(1, "analysis")}, []
    world.work(3)
    world.work(6)
    for _ in range(2):
        wait = world.decide().waits[0]
        assert wait.kind == "retry" and wait.until is not None
        minutes.append((wait.until - world.utc) / pd.Timedelta("1min"))
        assert world.work((wait.until - world.utc) / pd.Timedelta("1h")) == []
    assert minutes == [1, 2]
    decision = world.decide(100)
    assert not decision.actions
    assert "analysis of cycle 20010101T06 failed 3 times" in decision.waits[0].why
    assert decision.waits[0].why.endswith("no space")


@pytest.mark.parametrize("cycle", [None, 1])
def test_a_release_lets_earlier_failures_count_no_more(world: World, cycle: int | None) -> None:
    for _ in range(3):
        world.write("failure", 1, "analysis")
    assert world.work(9) == whole(0)
    assert world.why() == ["failed"]
    world.write("release", 2)
    assert world.why() == ["failed"]
    world.write("release", cycle)
    assert world.work() == whole(1)


def test_killed_processes_count_but_are_not_waited_for(world: World) -> None:
    for _ in range(2):
        world.write("death", 0, "forecast")
    assert len(world.decide(3).actions) == 1
    world.write("death", 0, "forecast")
    assert world.why() == ["failed"]


def test_failures_of_an_earlier_generation_do_not_count(world: World) -> None:
    for _ in range(3):
        world.write("failure", 0, "forecast")
    world.entries = [entry.model_copy(update={"generation": 1}) for entry in world.entries]
    state = CycleState(START, ALL, {"forecast": 2})
    moment = Moment(START + STEP, Clock(), RULES, STEP, lambda time: ())
    assert due([state], world.orders(), moment).actions


def test_a_held_experiment_does_nothing_and_goes_on_after_its_release(world: World) -> None:
    world.write("hold", text="maintenance")
    assert world.work(9) == []
    assert world.decide().waits[0].why.endswith(": maintenance")
    world.write("release")
    assert world.work() == whole(0, 1)


def test_before_a_held_cycle_all_is_done_and_nothing_after(world: World) -> None:
    world.write("hold", 1)
    assert world.work(30) == whole(0)
    assert world.why() == ["held"]
    world.write("release", 1)
    assert world.work() == whole(1, 2, 3, 4)


def test_nothing_is_added_after_a_stale_cycle(world: World) -> None:
    world.work(9)
    world.stale[START + 2 * STEP] = "made with other code"
    assert world.work(12) == []
    assert world.why() == ["stale"]


def test_a_rerun_of_an_old_cycle_takes_up_all_that_depends_on_it_in_order(world: World) -> None:
    assert world.work(33) == whole(0, 1, 2, 3, 4, 5)
    world.failing = {(5, "analysis")}
    world.reopen(1, 5)
    assert world.work() == [*whole(1, 2, 3, 4), (5, "forecast"), (5, "observations")]
    world.failing = set()
    world.write("rerun", 5)
    assert world.work() == whole(5)[2:]


def test_after_the_last_cycle_there_is_none(world: World) -> None:
    world.end = START + STEP
    assert world.work(100) == whole(0, 1)
    assert world.why() == ["end"]


def test_a_mapped_clock_is_as_fast_as_it_says(world: World) -> None:
    world.clock = Clock(pd.Timestamp("2026-01-01"), START, 3600)
    world.utc = pd.Timestamp("2026-01-01T00:00:02")
    wait = world.decide().waits[0]
    assert wait.until == pd.Timestamp("2026-01-01T00:00:03")
    assert world.clock.time(wait.until) == START + RULES.offset
    assert world.work(21 / 3600) == whole(0, 1, 2, 3)


@given(
    hours=st.lists(st.floats(0, 30), max_size=8),
    failing=st.sets(st.tuples(st.integers(0, 4), st.sampled_from(ALL)), max_size=3),
    ahead=st.integers(1, 3),
)
def test_whatever_fails_no_cycle_passes_another_and_nothing_is_done_twice(
    hours: list[float], failing: set[tuple[int, str]], ahead: int
) -> None:
    world = World(Operations(run_ahead=ahead))
    world.failing = failing
    for step in hours:
        world.work(step)
        world.failing = set(list(world.failing)[1:])
        for cycle, stage in failing - world.failing:
            world.write("release", cycle, stage)
    assert len(set(world.done)) == len(world.done)
    analyses = [cycle for cycle, stage in world.done if stage == "analysis"]
    assert analyses == list(range(len(analyses)))
    for cycle in range(len(analyses)):
        begun = world.done.index((cycle, "forecast"))
        published = [c for c, s in world.done[:begun] if s == "publication"]
        assert all(c in published for c in range(cycle - ahead))
        assert begun > world.done.index((cycle - 1, "analysis")) if cycle else True
