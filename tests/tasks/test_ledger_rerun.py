from itertools import islice

import pytest

from tasks import store
from tasks.ledger import Attempt, Ledger, ReopenedError, StageResult, run_stage
from tasks.ledger_rerun import reopen, stages_to_reopen, stale_stages
from tests.small_ledger import STAGES, STEP, TIMES, make, make_all, plan_at, states

FIRST, MIDDLE, LAST = TIMES
ANALYSIS = (MIDDLE, "analysis")


pytestmark = pytest.mark.usefixtures("no_flushing")


@pytest.fixture
def done(local_root: str) -> str:
    """An experiment that is done."""
    make_all(plan_at(local_root))
    return local_root


def test_a_reopened_stage_is_done_again_beside_the_commit_of_before(root: str) -> None:
    make_all(plan_at(root))
    plan, folder = plan_at(root), store.join(root, "ledger/20010101T06")
    before = {name: store.read_bytes(store.join(folder, name)) for name in store.names(folder)}
    assert plan.ledger.reopen(MIDDLE, "verification", 1, "a better score")
    assert not plan.ledger.reopen(MIDDLE, "verification", 1, "me too")
    assert plan.commit(MIDDLE, "verification") is None
    assert plan.ledger.cycles()[MIDDLE] == ("analysis", "forecast", "observations")
    commit = make(plan, (MIDDLE, "verification"))
    assert (commit.generation, plan.committed(MIDDLE, "verification")) == (2, commit)
    added = {"verification.reopened-1.json", "verification.2.json"}
    assert set(store.names(folder)) == set(before) | added
    assert all(store.read_bytes(store.join(folder, n)) == data for n, data in before.items())
    mark = store.read_bytes(store.join(folder, "verification.reopened-1.json"))
    assert b"a better score" in mark


def test_all_that_depends_on_a_stage_is_reopened_the_earliest_first(done: str) -> None:
    plan = plan_at(done)
    reopened = list(reopen(plan, [ANALYSIS], "why"))
    assert reopened == [
        (MIDDLE, "analysis"), (MIDDLE, "verification"),
        (LAST, "forecast"), (LAST, "analysis"), (LAST, "verification"),
    ]  # fmt: skip
    assert states(plan) == ["dddd", "ddoo", "odoo"]
    assert list(reopen(plan, [ANALYSIS], "again")) == []
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


def test_only_a_stage_is_reopened_if_that_is_asked(done: str) -> None:
    plan = plan_at(done)
    assert list(reopen(plan, [ANALYSIS], "", only=True)) == [ANALYSIS]
    assert states(plan) == ["dddd", "ddos", "sddd"]


@pytest.mark.parametrize("text", ["", "new"])
def test_what_was_made_from_other_bytes_is_stale_and_from_the_same_is_not(
    done: str, text: str
) -> None:
    plan = plan_at(done)
    list(reopen(plan, [ANALYSIS], "", only=True))
    commit = make(plan, ANALYSIS, text)
    assert commit.generation == 2
    assert states(plan) == ["dddd", "ddds" if text else "dddd", "sddd" if text else "dddd"]
    list(reopen(plan, stale_stages(plan), ""))
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


def test_a_commit_that_does_not_say_what_it_read_has_read_the_first_generation(done: str) -> None:
    ledger = Ledger(done)
    old = ledger.read(MIDDLE, "analysis", 1).model_copy(update={"contents": {}})
    source = ledger.read(MIDDLE, "forecast", 1)
    assert old.has_read(source)
    assert not old.has_read(source.model_copy(update={"generation": 2}))


@pytest.mark.parametrize("marks", range(5))
def test_after_a_crash_between_two_marks_the_same_command_goes_on(done: str, marks: int) -> None:
    plan = plan_at(done)
    list(islice(reopen(plan, [ANALYSIS], ""), marks))
    assert ("s" in "".join(states(plan))) == (marks > 0)
    list(reopen(plan, [ANALYSIS], ""))
    assert states(plan) == ["dddd", "ddoo", "odoo"]


def test_stages_made_by_other_code_can_be_reopened(done: str) -> None:
    plan = plan_at(done, code="changed")
    assert stale_stages(plan) == STAGES
    list(reopen(plan, stale_stages(plan, MIDDLE), ""))
    assert states(plan) == ["ssss", "oooo", "oooo"]
    list(reopen(plan, stale_stages(plan), ""))
    make_all(plan)
    assert states(plan) == ["dddd"] * 3


def test_a_stage_that_is_reopened_while_it_works_commits_nothing_that_counts(
    local_root: str,
) -> None:
    plan = plan_at(local_root)
    make_all(plan, STAGES[:4])
    slow = plan.ledger.new_attempt(MIDDLE, "observations")
    make_all(plan, STAGES[4:6])
    list(reopen(plan, [(MIDDLE, "observations")], ""))
    with pytest.raises(ReopenedError, match=r"observations of cycle 20010101T06 .* was reopened"):
        plan.ledger.require_current(slow)
    first = plan.ledger.read(MIDDLE, "observations", 1)
    late = first.model_copy(update={"attempt": slow.name, "address": slow.address})
    assert plan.ledger.commit(late) == first
    assert plan.commit(MIDDLE, "observations") is None


def test_a_stage_whose_input_is_reopened_while_it_works_is_not_committed(local_root: str) -> None:
    plan = plan_at(local_root)
    make_all(plan, STAGES[:4])

    def work(attempt: Attempt) -> StageResult:
        list(reopen(plan, [(FIRST, "analysis")], ""))
        return StageResult()

    with pytest.raises(ReopenedError, match=r"analysis of cycle 20010101T00 .* while forecast"):
        run_stage(
            plan.ledger, MIDDLE, "forecast", fingerprint="f", inputs={}, work=work,
            sources=plan.sources(MIDDLE, "forecast"),
        )  # fmt: skip
    assert plan.commit(MIDDLE, "forecast") is None


def test_what_is_committed_meanwhile_from_a_reopened_stage_is_reopened_too(
    local_root: str,
) -> None:
    plan = plan_at(local_root)
    make_all(plan, STAGES[:4])
    sources = plan.sources(MIDDLE, "forecast")
    marks = reopen(plan, [(FIRST, "analysis")], "")
    next(marks)
    attempt = plan.ledger.new_attempt(MIDDLE, "forecast", sources)
    late = plan.ledger.read(FIRST, "analysis", 1).model_copy(
        update={
            "cycle_time": MIDDLE, "stage": "forecast", "attempt": attempt.name,
            "address": attempt.address, "contents": {s.name: s.content for s in sources},
        }
    )  # fmt: skip
    plan.ledger.commit(late)
    assert (MIDDLE, "forecast") in list(marks)


def test_an_experiment_that_has_not_begun_has_nothing_to_reopen(local_root: str) -> None:
    plan = plan_at(local_root)
    assert stale_stages(plan) == []
    assert stages_to_reopen(plan, [(FIRST + STEP, "forecast")]) == []
