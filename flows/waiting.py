"""What an experiment waits for: rows for people and programs.

A drive leaves what it saw at its last look in ROOT/drive/waiting.json, as only it knows which
observations are there. Of an experiment that nobody drives the rest is told from the ledger.
"""

import json
from contextlib import suppress
from typing import Any

import pandas as pd

from configs import load_text
from tasks.clock import clock_of
from tasks.driver import DRIVE, driver_of, settings_of, utc_now
from tasks.due import Decision, Moment, due
from tasks.experiment import Experiment
from tasks.orders import Orders
from tasks.overview import Overview
from tasks.store import exists, join, read_bytes, write_bytes

__all__ = ["held_rows", "rows", "said_waits", "say"]

WAITING = "waiting.json"


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


def say(root: str, left: Decision) -> None:
    """Leave what a drive sees to do or to wait for."""
    data = json.dumps(rows(left), indent=1).encode()
    with suppress(OSError):  # a full disk, say; the work itself will tell
        write_bytes(join(root, DRIVE, WAITING), data, durable=False)


def said_waits(overview: Overview, orders: Orders) -> list[dict[str, Any]]:
    """Return what a drive of the experiment does or waits for; nothing if there never was one.

    Args:
        overview: The experiment.
        orders: What its journal amounts to.
    """
    plan = overview.plan
    address = join(plan.root, DRIVE, WAITING)
    if driver_of(plan.root) and exists(address):
        said: list[dict[str, Any]] = json.loads(read_bytes(address))
        return said
    settings = settings_of(plan.root)
    if settings is None:
        return []
    experiment = Experiment(root=plan.root, config=load_text(settings, plan.root))
    cycles = overview.unfinished(orders)
    rules, clock = experiment.config.operations, clock_of(experiment)
    end = None if rules.end is None else pd.Timestamp(rules.end)
    moment = Moment(utc_now(), clock, rules, plan.step, lambda time: (), end)
    return rows(due(cycles, orders, moment))
