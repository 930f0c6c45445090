"""What an experiment waits for: rows for people and programs."""

from typing import Any

import pandas as pd

from configs import load_text
from tasks.clock import clock_of
from tasks.driver import settings_of, utc_now
from tasks.due import Decision, Moment, due
from tasks.experiment import Experiment
from tasks.orders import Orders
from tasks.overview import Overview
from tasks.plan import Plan

__all__ = ["held_rows", "rows", "waits_of"]


def rows(left: Decision) -> list[dict[str, Any]]:
    """Return what is open, and why, in order of time."""
    actions = [
        {"cycle_time": a.time.isoformat(), "kind": "open", "why": a.why, "until": None}
        for a in left.actions
    ]
    waits = [
        {
            "cycle_time": wait.time.isoformat(),
            "kind": wait.kind,
            "why": wait.why,
            "until": wait.until and wait.until.isoformat(timespec="seconds"),
        }
        for wait in left.waits
    ]
    return sorted([*actions, *waits], key=lambda row: str(row["cycle_time"]))


def held_rows(orders: Orders) -> list[dict[str, Any]]:
    """Return what is held, since when, by whom and why."""
    return [
        {
            "cycle": hold.cycle,
            "by": hold.by,
            "since": hold.created.isoformat(timespec="seconds"),
            "why": hold.text,
        }
        for hold in orders.held.values()
    ]


def waits_of(plan: Plan, orders: Orders) -> list[dict[str, Any]]:
    """Return what a drive of the experiment would do or wait for now; nothing if there was none.

    Observations that are not complete are not known here.
    """
    settings = settings_of(plan.root)
    if settings is None:
        return []
    experiment = Experiment(root=plan.root, config=load_text(settings, plan.root))
    cycles = Overview(plan, plan.start).unfinished(orders)
    rules, clock = experiment.config.operations, clock_of(experiment)
    end = None if rules.end is None else pd.Timestamp(rules.end)
    moment = Moment(utc_now(), clock, rules, plan.step, lambda time: (), end)
    return rows(due(cycles, orders, moment))
