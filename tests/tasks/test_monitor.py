"""The monitor's table and page, on rows that are made up."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks import store
from tasks.clock import Clock
from tasks.experiment import cycle_name, cycle_time
from tasks.journal import Entry
from tasks.ledger import Ledger
from tasks.ledger_lease import lease_of
from tasks.monitor_page import Now, Schedule, monitor_page
from tasks.monitor_rows import Row, merged
from tasks.monitor_table import HUNDRED, MonitorTable
from tasks.orders import orders_of
from tasks.plan import Plan
from tests.small_ledger import START, STEP

pytestmark = pytest.mark.usefixtures("no_flushing")
IDENTITY: dict[str, Any] = {
    "name": "made <up>",
    "start": START.isoformat(),
    "step": STEP.isoformat(),
    "method": {"kind": "losda"},
    "spin_up": 2,
}
LABELS = {"t": ("temperature", "K"), "sp": ("pressure", "Pa")}


def row(number: int, error: float = 0.5, used: int = 10) -> Row:
    time = START + number * STEP
    sums = [used + 1.0, float(used), 2.0 * used, 5.0 * used, used, 2.0 * used, 4.0 * used]
    return {
        "time": cycle_name(time),
        "generations": [1, 1, 1],
        "errors": {
            name: {"all": error, "t": error, "sp": None} for name in ("analysis", "background")
        },
        "relative": {"analysis": error},
        "departures": [["ship", "t", *sums], ["radar", "sp", *sums]],
        "seconds": {"forecast": 1.0, "observations": 0.5, "analysis": 2.0, "verification": 0.5},
        "done": {"analysis": (time + pd.Timedelta("4h")).isoformat()},
        "cost": {"J_o": 3.0},
    }


@pytest.fixture
def table(local_root: str) -> MonitorTable:
    return MonitorTable(local_root, START, STEP)


def now(**changes: Any) -> Now:  # noqa: ANN401
    entries = changes.pop("entries", [])
    about: dict[str, Any] = {"driver": None, "waits": [], "schedule": None}
    return Now(orders=orders_of(entries), entries=entries, **(about | changes))


def page(rows: list[Row], past: list[Row] | None = None, at: Now | None = None) -> str:
    plan = Plan("/e", Ledger("/e"), IDENTITY, {}, "c")
    return monitor_page(plan, past or [], rows, LABELS, at or now())


def numbers(html: str) -> dict[str, Any]:
    found = re.search(r'id="numbers">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found.group(1)))


def test_the_table_keeps_each_cycle_once_in_order_and_the_last_word_counts(root: str) -> None:
    table = MonitorTable(root, START, STEP)
    table.put([row(2), row(0)])
    table.put([row(1, error=0.9)])
    table.put([row(1, error=0.1)])
    past, recent = table.last(10)
    assert [r["time"] for r in recent] == [cycle_name(START + n * STEP) for n in range(3)]
    assert recent[1]["errors"]["analysis"]["all"] == 0.1 and not past
    table.remove([cycle_name(START)])
    assert len(table.last(10)[1]) == 2


def test_long_ago_is_kept_as_means_and_sums_of_a_hundred_cycles(table: MonitorTable) -> None:
    rows = [row(n, error=0.1 + n / 1000, used=n + 1) for n in range(3 * HUNDRED + 7)]
    table.put(rows)
    past, recent = table.last(HUNDRED)
    assert len(past) == 2 and len(recent) == HUNDRED + 7
    first = rows[:HUNDRED]
    mean = sum(r["errors"]["analysis"]["all"] for r in first) / HUNDRED
    assert past[0]["errors"]["analysis"]["all"] == pytest.approx(mean, rel=1e-5)
    assert past[0]["departures"][0][3] == sum(n + 1 for n in range(HUNDRED))
    assert past[0]["cycles"] == HUNDRED and past[0]["errors"]["analysis"]["sp"] is None
    assert merged([merged(first[:1])])["errors"] == first[0]["errors"]


def test_a_cycle_costs_the_same_after_ten_thousand_as_after_a_thousand(
    table: MonitorTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = {"read": 0, "written": 0}
    read, write = store.read_bytes, store.write_bytes

    def count_read(address: str) -> bytes:
        data = read(address)
        moved["read"] += len(data)
        return data

    def count_write(address: str, data: bytes, **options: Any) -> None:  # noqa: ANN401
        moved["written"] += len(data)
        write(address, data, **options)

    costs = []
    for cycles in (1_000, 10_000):
        table.put([row(n) for n in range((costs and 1_000) or 0, cycles)])
        with monkeypatch.context() as patch:
            patch.setattr(store, "read_bytes", count_read)
            patch.setattr(store, "write_bytes", count_write)
            moved.update(read=0, written=0)
            table.put([row(cycles - 1)])
            past, recent = table.last(400)
            moved["page"] = len(page(recent[-400:], past))
            costs.append(dict(moved))
    assert costs[1]["page"] < 1.2 * costs[0]["page"]
    assert costs[1]["read"] < 1.5 * costs[0]["read"]
    assert costs[1]["written"] < 1.9 * costs[0]["written"]  # the row of each hundred


def test_a_damaged_file_of_the_table_is_made_again(table: MonitorTable) -> None:
    table.put([row(0), row(HUNDRED)])
    (Path(table.root) / "monitor" / "000000.json").write_text("{")
    assert [r["time"] for r in table.last(1_000)[1]] == [row(HUNDRED)["time"]]
    table.put([row(0)])
    assert len(table.last(1_000)[1]) == 2


def test_the_page_is_self_contained_and_shows_what_the_rows_say() -> None:
    html = page([row(n, used=n + 1) for n in range(30)], [merged([row(0)])])
    assert "made &lt;up&gt;" in html and "<up>" not in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]+"', html)
    found = numbers(html)
    assert len(found["time"]) == 31 and found["past"] == 1
    assert found["time"][1] == int(cycle_time(row(0)["time"]).timestamp())
    ship, radar = found["departures"]
    assert (ship["source"], ship["unit"], radar["unit"]) == ("ship", "K", "hPa")
    assert ship["rms"][1] == pytest.approx(5**0.5, rel=1e-3) and ship["bias"][1] == 2.0
    assert ship["expected"][1] == 2.0 and radar["expected"][1] == 0.02
    assert ship["used"][1:4] == [1, 2, 3] and ship["rejected"][1] == 1
    assert found["delay"] == [] and "31 cycles" in html


def test_delays_are_counted_from_when_the_schedule_let_a_cycle_begin() -> None:
    at = now(schedule=Schedule(Clock(), pd.Timedelta("3h"), pd.Timedelta("6h")))
    assert numbers(page([row(0)], at=at))["delay"] == [60.0]
    clock = Clock(at=START, start=START, rate=2.0)
    fast = Schedule(clock, pd.Timedelta("3h"), pd.Timedelta("6h"))
    found = numbers(page([row(0)], at=now(schedule=fast, driver=lease_of("d"))))
    assert found["delay"] == [150.0]
    # with this clock the next cycle is late 6 h after half its time
    assert found["next"] == int((START + pd.Timedelta("6h")).timestamp())
    assert numbers(page([row(0)], at=now(schedule=fast)))["next"] is None  # nobody drives it


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "good", "Nobody drives"),
        ({"driver": lease_of("d")}, "good", "Driven by process"),
        (
            {"entries": [Entry(kind="hold", text="bad data", cycle="20010101T06", by="ann")]},
            "warning",
            "Cycle 20010101T06 is held by ann. bad data",
        ),
        (
            {
                "entries": [
                    Entry(kind="failure", text="it blew", cycle="20010101T06", stage="analysis")
                ]
            },
            "warning",
            "1 failure, the last one in analysis of cycle 20010101T06: it blew",
        ),
        (
            {"waits": [{"cycle_time": "2001-01-01T06:00", "kind": "failed", "why": "3 times"}]},
            "bad",
            "Somebody is needed. 3 times",
        ),
    ],
)
def test_the_page_says_first_how_the_experiment_is_doing(
    changes: dict[str, Any], state: str, words: str
) -> None:
    html = page([row(0)], at=now(**changes))
    assert f'class="state {state}"' in html
    assert words in html


def test_the_journal_is_shown_newest_first_and_cannot_become_elements() -> None:
    entries = [Entry(kind="failure", text=f"<b>{n}</b>", cycle="c") for n in range(60)]
    html = page([], at=now(entries=entries))
    assert html.index("&lt;b&gt;59") < html.index("&lt;b&gt;10") and "&lt;b&gt;9&lt;" not in html
    assert "The last 50 of 60 entries" in html and "No cycle has been published yet" in html
    assert "<b>5" not in html
