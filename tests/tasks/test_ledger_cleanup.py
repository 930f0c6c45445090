from datetime import UTC, datetime
from itertools import islice

import pandas as pd
import pytest

from tasks import ledger_lease, store
from tasks.ledger import Ledger
from tasks.ledger_cleanup import Removal, removals, remove
from tasks.ledger_rerun import reopen, stages_to_reopen
from tasks.plan import CYCLE_STAGES, Plan
from tests.small_ledger import STAGES, STEP, TIMES, make, make_all, plan_at, publish, states

FIRST, MIDDLE, LAST = TIMES
NOW = pd.Timedelta(0)
WEEK = pd.Timedelta(days=7)


pytestmark = pytest.mark.usefixtures("no_flushing")


@pytest.fixture
def done(local_root: str) -> str:
    """An experiment that is done and published."""
    make_all(plan_at(local_root))
    return local_root


def places(found: list[Removal]) -> list[tuple[pd.Timestamp, str]]:
    assert all(removal.bytes > 0 for removal in found)
    return [(removal.cycle_time, removal.stage) for removal in found]


def clean(plan: Plan, keep: pd.Timedelta = NOW) -> list[Removal]:
    return list(remove(plan, removals(plan, keep), keep))


def test_published_attempts_go_and_all_that_recent_cycles_read_stays(done: str) -> None:
    plan = plan_at(done)
    assert removals(plan, WEEK) == []
    assert places(removals(plan, STEP)) == [(FIRST, "observations"), (FIRST, "verification")]
    found = removals(plan, NOW)
    assert {removal.why for removal in found} == {"published"}
    first = [(FIRST, stage) for stage in sorted(CYCLE_STAGES)]
    assert places(found) == [*first, (MIDDLE, "observations"), (MIDDLE, "verification")]


def test_what_is_to_be_removed_is_only_said_before_it_is(root: str) -> None:
    make_all(plan_at(root))
    before = store.digests(root)
    plan = plan_at(root)
    found = removals(plan, NOW)
    assert store.digests(root) == before
    assert clean(plan) == found
    left = store.digests(root)
    gone = {name for name in before if name not in left}
    assert len(gone) == len(found)
    assert {name.split("/")[3] for name in gone} == {removal.attempt for removal in found}
    assert removals(plan, NOW) == [] and states(plan) == ["dddd"] * 3
    assert all(left[name] == before[name] for name in before if name not in gone)


def test_what_is_not_published_stays(done: str) -> None:
    plan = plan_at(done)
    store.remove(plan.published_address(FIRST))
    assert FIRST not in {time for time, _ in places(removals(plan, NOW))}


def test_the_run_goes_on_after_clean_up(done: str) -> None:
    plan = plan_at(done)
    clean(plan)
    for stage in CYCLE_STAGES:
        make(plan, (LAST + STEP, stage))


def test_what_a_reopened_stage_reads_stays_and_what_is_made_from_it_too(done: str) -> None:
    plan = plan_at(done)
    next(reopen(plan, [(MIDDLE, "analysis")], ""))  # dies after the first mark
    assert states(plan) == ["dddd", "ddos", "sddd"]
    kept = set(STAGES) - set(places(removals(plan, NOW)))
    assert {(MIDDLE, "forecast"), (MIDDLE, "observations"), (LAST, "observations")} <= kept


def test_a_rerun_begins_where_its_inputs_are(done: str) -> None:
    plan = plan_at(done)
    clean(plan)
    with pytest.raises(ValueError, match=r"from cycle 20010101T06 .* begin at cycle 20010101T00"):
        stages_to_reopen(plan, [(MIDDLE, stage) for stage in CYCLE_STAGES])
    with pytest.raises(ValueError, match="clean-up removed: observations of cycle 20010101T06"):
        stages_to_reopen(plan, [(MIDDLE, "analysis")], only=True)
    everything = [(FIRST, stage) for stage in CYCLE_STAGES]
    assert stages_to_reopen(plan, everything) == [s for s in STAGES if s != (LAST, "observations")]
    list(reopen(plan, [(LAST, "forecast")], ""))
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


def test_observations_that_were_removed_are_made_again_for_a_rerun(done: str) -> None:
    plan = plan_at(done)
    clean(plan)
    reopened = list(reopen(plan, [(MIDDLE, "observations")], ""))
    assert reopened[0] == (MIDDLE, "observations")
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


@pytest.mark.parametrize("steps", range(4))
def test_clean_up_that_was_interrupted_goes_on(done: str, steps: int) -> None:
    plan = plan_at(done)
    found = removals(plan, NOW)
    list(islice(remove(plan, found, NOW), steps))
    assert states(plan) == ["dddd"] * 3
    assert clean(plan) == found[steps:]
    for stage in CYCLE_STAGES:
        make(plan, (LAST + STEP, stage))


def test_what_came_to_be_needed_since_it_was_listed_stays(done: str) -> None:
    plan = plan_at(done)
    found = removals(plan, NOW)
    list(reopen(plan, [(MIDDLE, "analysis")], "", only=True))
    assert (MIDDLE, "observations") not in places(list(remove(plan, found, NOW)))
    assert not plan.standing(MIDDLE, "observations").removed
    make(plan, (MIDDLE, "analysis"))


def test_a_rerun_during_clean_up_makes_again_what_may_be_gone(done: str) -> None:
    plan = plan_at(done)
    cleaning = remove(plan, removals(plan, NOW), NOW)
    next(cleaning)
    reopened = list(reopen(plan, [(LAST, "forecast"), (FIRST, "observations")], ""))
    assert (MIDDLE, "observations") in reopened
    list(cleaning)
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


def lose(root: str, place: tuple[pd.Timestamp, str]) -> str:
    """Leave an attempt that was beaten; return its name."""
    attempt = Ledger(root).new_attempt(*place)
    store.write_bytes(store.join(attempt.address, "half"), b"x", durable=False)
    return attempt.name


def test_an_attempt_that_lost_goes_when_it_is_old_and_dead(done: str) -> None:
    plan = plan_at(done)
    name = lose(done, (LAST, "forecast"))
    assert [r for r in removals(plan, pd.Timedelta(hours=1)) if r.why == "lost"] == []
    lease = ledger_lease.lease_of(name).model_copy(update={"host": "elsewhere"})
    address = store.join(plan.ledger.folder(LAST, "forecast"), "lease.json")
    store.write_bytes(address, lease.model_dump_json().encode(), durable=False)
    assert [r for r in removals(plan, NOW) if r.why == "lost"] == []
    beat = datetime(2001, 1, 1, tzinfo=UTC)
    dead = lease.model_copy(update={"beat": beat}).model_dump_json().encode()
    store.write_bytes(address, dead, durable=False)
    assert [r.attempt for r in clean(plan) if r.why == "lost"] == [name]
    assert states(plan) == ["dddd"] * 3


def test_a_superseded_commit_s_attempt_goes_like_one_that_lost(done: str) -> None:
    plan = plan_at(done)
    before = plan.committed(LAST, "verification")
    list(reopen(plan, [(LAST, "verification")], ""))
    assert [r for r in removals(plan, NOW) if r.why == "lost"] == []
    make(plan, (LAST, "verification"), "new")
    publish(plan, LAST)
    assert [r.attempt for r in clean(plan) if r.why == "lost"] == [before.attempt]


def test_an_attempt_at_an_open_stage_stays_for_it_may_come_back(local_root: str) -> None:
    plan = plan_at(local_root)
    make_all(plan, STAGES[:8])
    lose(local_root, (LAST, "forecast"))
    assert not [r for r in removals(plan, NOW) if r.why == "lost"]
