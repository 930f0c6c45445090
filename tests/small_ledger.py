"""An experiment of three cycles whose stages only write down what they read: for tests of the ledger."""

import json
from collections.abc import Iterable

import pandas as pd

from tasks import store
from tasks.ledger import Attempt, Commit, Ledger, Stage, StageResult, run_stage
from tasks.plan import CYCLE_STAGES, Plan

START, STEP = pd.Timestamp("2001-01-01"), pd.Timedelta(hours=6)
TIMES = [START + number * STEP for number in range(3)]
STAGES = [(time, stage) for time in TIMES for stage in CYCLE_STAGES]


def plan_at(root: str, code: str = "c") -> Plan:
    """Return the plan of the experiment, as it is with some version of the code."""
    identity = {"start": START.isoformat(), "step": STEP.isoformat(), "method": {}}
    return Plan(root, Ledger(root), identity, {}, code)


def make(plan: Plan, place: Stage, text: str = "") -> Commit:
    """Do a stage unless it is done."""
    sources = plan.sources(*place)
    inputs = plan.inputs(place[1], sources)

    def work(attempt: Attempt) -> StageResult:
        read = [source.digests["result"] for source in attempt.sources]
        data = json.dumps([place[1], str(place[0]), text, read]).encode()
        store.write_bytes(store.join(attempt.address, "result"), data, durable=False)
        return StageResult()

    mark = plan.fingerprint(place[1], inputs)
    return run_stage(
        plan.ledger, *place, fingerprint=mark, inputs=inputs, work=work, sources=sources
    )


def make_all(plan: Plan, places: Iterable[Stage] = STAGES, text: str = "") -> None:
    """Do stages unless they are done, and publish the complete cycles."""
    for place in places:
        make(plan, place, text)
    for time in {time for time, stage in places if stage == "verification"}:
        publish(plan, time)


def publish(plan: Plan, time: pd.Timestamp) -> None:
    """Say that a cycle is published."""
    attempts = {stage: commit.attempt for stage, commit in plan.publication(time).items()}
    store.write_bytes(plan.published_address(time), json.dumps(attempts).encode(), durable=False)


def states(plan: Plan) -> list[str]:
    """Return the first letters of the states of all stages: done, stale or open."""
    letters = {"committed": "d", "stale": "s", "open": "o"}
    found = "".join(letters[plan.state(*place)] for place in STAGES)
    return [found[number : number + 4] for number in (0, 4, 8)]
