"""The monitor's page: rows of cycles as one self-contained HTML page.

Words, tiles and tables are in the page itself; the curves are drawn in the browser, by uPlot (MIT
License, https://github.com/leeoniya/uPlot), from the numbers in the page. Nothing is requested from
anywhere. Times are UTC; `due` is when the drive's schedule let a cycle begin.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import median
from typing import Any

import pandas as pd
from markupsafe import Markup

from tasks.clock import Clock, clock_of
from tasks.departures import KEYS, SUMS, statistics
from tasks.experiment import STAGES, Experiment, cycle_name, cycle_time
from tasks.journal import Entry
from tasks.ledger_lease import Lease
from tasks.monitor_rows import Row
from tasks.orders import Orders
from tasks.plan import Plan
from tasks.report import network_of
from tasks.report_page import Table, Tile, count_of, template, time_name
from tasks.report_runs import plain
from tasks.report_style import PALETTE, PENS, digits, display_unit

__all__ = ["Labels", "Now", "Schedule", "monitor_page"]

TEMPLATE = "monitor_template.html.j2"
SOURCES = ("free", "background", "analysis")
ROLLING, LISTED, NEWS = 20, 12, 50
SHOWN = ("rms", "expected", "bias", "rms_a", "used", "rejected")
Labels = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Schedule:
    """When cycles were to be made.

    Attributes:
        clock: The experiment's clock.
        offset: A cycle is due so long after its time.
        cutoff: Its observations are awaited so long after its time.
    """

    clock: Clock
    offset: pd.Timedelta
    cutoff: pd.Timedelta

    @classmethod
    def of(cls, experiment: Experiment) -> "Schedule":
        """Return the schedule of an experiment."""
        rules = experiment.config.operations
        cutoff = max([rules.cutoff, *dict(rules.cutoffs).values()])
        return cls(clock_of(experiment), pd.Timedelta(rules.offset), pd.Timedelta(cutoff))

    def next(self, row: Row, step: pd.Timedelta) -> int:
        """Return when the cycle after a row is late, UTC [s since 1970]."""
        late = self.clock.utc(cycle_time(row["time"]) + step + self.cutoff)
        return int(late.timestamp())

    def delay(self, row: Row) -> float | None:
        """Return how long after it was due a cycle had its analysis [min]."""
        done = row.get("done", {}).get("analysis")
        if done is None:
            return None
        due = self.clock.utc(cycle_time(row["time"]) + self.offset)
        return round((pd.Timestamp(done) - due).total_seconds() / 60, 2)


@dataclass(frozen=True)
class Now:
    """How an experiment is doing.

    Attributes:
        driver: Who drives it.
        waits: What the drive saw to do, or to wait for, at its last look.
        orders: What the journal amounts to.
        entries: The journal.
        schedule: When cycles are due, if it was ever driven.
    """

    driver: Lease | None
    waits: Sequence[Mapping[str, Any]]
    orders: Orders
    entries: Sequence[Entry]
    schedule: Schedule | None


def monitor_page(
    plan: Plan, past: Sequence[Row], recent: Sequence[Row], labels: Labels, now: Now
) -> str:
    """Return the page.

    Args:
        plan: The experiment.
        past: Rows that stand for many cycles each, before the others.
        recent: Rows of the last cycles.
        labels: Name and SI unit of each variable.
        now: How the experiment is doing.
    """
    folder = files("tasks") / "monitor_assets"
    found = _numbers(past, recent, labels, now) | _freshness(plan, recent, now)
    numbers = json.dumps(found, separators=(",", ":"))
    return template(TEMPLATE).render(
        title=str(plan.identity["name"]),
        subtitle=_subtitle(plan, past, recent),
        state=_state(now),
        tiles=_tiles(plan, recent, now) if recent else [],
        cycles=_cycles(recent, now),
        journal=_journal(now.entries),
        numbers=Markup(numbers.replace("</", "<\\/")),
        script=Markup((folder / "monitor.js").read_text()),
        uplot=Markup((folder / "uplot.js").read_text()),
        style=Markup((folder / "uplot.css").read_text()),
        footer=f"losda · {plan.root} · refreshed {pd.Timestamp.now('UTC'):%Y-%m-%d %H:%M:%S} UTC",
    )


def _subtitle(plan: Plan, past: Sequence[Row], recent: Sequence[Row]) -> str:
    parts = [
        f"method {plain(plan.identity.get('method', 'unknown'))}",
        f"observations {plain(network_of(plan.identity.get('observations')))}",
    ]
    if recent:
        count = sum(row["cycles"] for row in past) + len(recent)
        last = time_name(cycle_time(recent[-1]["time"]))
        parts.append(f"{count_of(count, 'cycle')} from {time_name(plan.start)} to {last}")
    return " · ".join(parts)


def _state(now: Now) -> tuple[str, str]:
    """Return how it is doing, `good`, `warning` or `bad`, and the words for it."""
    needed = [wait for wait in now.waits if wait["kind"] in ("failed", "stale")]
    if needed:
        return "bad", f"Somebody is needed. {needed[0]['why']}"
    if now.orders.held:
        hold = next(iter(now.orders.held.values()))
        what = f"Cycle {hold.cycle}" if hold.cycle else "The experiment"
        return "warning", f"{what} is held by {hold.by}. {hold.text}"
    if now.orders.troubles:
        trouble = now.orders.troubles[-1]
        text = f"{trouble.stage} of cycle {trouble.cycle}: {trouble.text}"
        return (
            "warning",
            f"{count_of(len(now.orders.troubles), 'failure')}, the last one in {text}",
        )
    if now.driver is None:
        return "good", "Nothing is held and nothing failed. Nobody drives the experiment now."
    names = [cycle_name(pd.Timestamp(wait["cycle_time"])) for wait in now.waits]
    waits = [
        f"At work on cycle {name}." if wait["kind"] == "open" else f"Cycle {name}: {wait['why']}."
        for name, wait in zip(names, now.waits, strict=True)
    ]
    who = f"process {now.driver.process} on {now.driver.host}"
    return "good", " ".join(["All is well.", f"Driven by {who}.", *waits])


def _tiles(plan: Plan, recent: Sequence[Row], now: Now) -> list[Tile]:
    """Return the numbers that stand out: means over the last cycles, after the spin-up."""
    spun_up = cycle_name(plan.start + int(plan.identity.get("spin_up", 0)) * plan.step)
    last = [row for row in recent if row["time"] >= spun_up][-ROLLING:] or recent[-ROLLING:]
    over = f"mean of the last {count_of(len(last), 'cycle')}"
    newest = cycle_time(recent[-1]["time"])
    tiles = [Tile(f"{newest.day} {newest:%b %H} UTC", f"last cycle, {newest.year}")]
    for source in ("analysis", "background"):
        errors = [row["errors"][source]["all"] for row in last if source in row["errors"]]
        if errors:
            text = f"{source} error [climatological variance], {over}"
            tiles.append(Tile(digits(sum(errors) / len(errors)), text))
    used = [sum(values[3] for values in row["departures"]) for row in last]
    tiles.append(
        Tile(f"{sum(used) / len(used):,.0f}".replace(",", "\u202f"), "observations used a cycle")
    )
    seconds = [sum(row["seconds"].values()) for row in last]
    tiles.append(Tile(f"{digits(median(seconds), 2)} s", "work in a cycle, median"))
    delays = [delay for delay in _each(last, now.schedule) if delay is not None]
    if delays:
        tiles.append(Tile(f"{digits(median(delays), 2)} min", "analysis after it was due, median"))
    return tiles


def _each(rows: Sequence[Row], schedule: Schedule | None) -> list[float | None]:
    return [schedule.delay(row) if schedule else None for row in rows]


def _cycles(recent: Sequence[Row], now: Now) -> Table:
    """Tabulate the last cycles, newest first."""
    header = ["cycle", "analysis", "background", "used", "rejected"]
    header += [f"{stage}\n[s]" for stage in STAGES] + ["analysis made"]
    header += ["after due\n[min]"] if now.schedule else []
    rows = []
    for row in reversed(recent[-LISTED:]):
        used = sum(values[3] for values in row["departures"])
        total = sum(values[2] for values in row["departures"])
        delay = now.schedule.delay(row) if now.schedule else None
        rows.append(
            [
                row["time"],
                *(digits(row["errors"].get(s, {}).get("all")) for s in ("analysis", "background")),
                f"{used:.0f}",
                f"{total - used:.0f}",
                *(f"{row['seconds'].get(stage, 0):.2f}" for stage in STAGES),
                row["done"]["analysis"].replace("T", " "),
                *([digits(delay)] if now.schedule else []),
            ]
        )
    caption = "Errors: mean squares over the climatological variance. Times are UTC."
    return Table(header, rows, caption)


def _journal(entries: Sequence[Entry]) -> Table:
    """Tabulate the journal, newest first."""
    rows = [
        [f"{e.created:%Y-%m-%d %H:%M:%S}", e.kind, e.cycle, e.stage, e.text, e.by]
        for e in reversed(entries[-NEWS:])
    ]
    caption = f"The last {NEWS} of {len(entries)} entries." if len(entries) > NEWS else ""
    return Table(["when [UTC]", "what", "cycle", "stage", "text", "by"], rows, caption, labels=6)


def _numbers(
    past: Sequence[Row], recent: Sequence[Row], labels: Labels, now: Now
) -> dict[str, Any]:
    """Return the curves' numbers by column; `past` is how many points stand for many cycles."""
    rows = [*past, *recent]
    errors: dict[str, dict[str, list[float | None]]] = {}
    for variable in _names(rows, lambda row: row["errors"].get("analysis", {})):
        errors[variable] = {
            source: _short([row["errors"].get(source, {}).get(variable) for row in rows])
            for source in SOURCES
        }
    return {
        "time": [int(cycle_time(row["time"]).timestamp()) for row in rows],
        "past": len(past),
        "errors": errors,
        "titles": {name: f"{labels.get(name, ('', ''))[0]} {name}".strip() for name in errors},
        "departures": _departures(rows, labels),
        "seconds": {
            stage: _short([row["seconds"].get(stage) for row in rows]) for stage in STAGES
        },
        "cost": {
            name: _short([row["cost"].get(name) for row in rows])
            for name in _names(rows, lambda row: row["cost"])
        },
        "delay": _each(rows, now.schedule) if now.schedule else [],
        "colors": {name: pen.color for name, pen in PENS.items()} | {"palette": list(PALETTE)},
    }


def _freshness(plan: Plan, recent: Sequence[Row], now: Now) -> dict[str, int | None]:
    """Return when the page was written, and when the next cycle of a drive is late [s]."""
    is_awaited = now.driver is not None and now.schedule is not None and recent
    awaited = now.schedule.next(recent[-1], plan.step) if is_awaited and now.schedule else None
    return {"refreshed": int(pd.Timestamp.now("UTC").timestamp()), "next": awaited}


def _names(rows: Sequence[Row], of: Callable[[Row], Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in of(row)))


def _departures(rows: Sequence[Row], labels: Labels) -> list[dict[str, Any]]:
    """Return the statistics of the departures through time, for each source and variable."""
    table = pd.DataFrame(
        [(number, *values) for number, row in enumerate(rows) for values in row["departures"]],
        columns=["row", *KEYS, *SUMS],
    ).set_index(["row", *KEYS])
    found = statistics(table)
    counts = pd.Series([row.get("cycles", 1) for row in rows], dtype=float)
    series = []
    keys = [found.index.get_level_values(key) for key in KEYS]
    for source, variable in dict.fromkeys(zip(*keys, strict=True)):
        own = found.xs((source, variable), level=("source", "variable")).reindex(range(len(rows)))
        own[["used", "rejected"]] = own[["used", "rejected"]].div(counts, axis=0)
        factor, unit = display_unit(labels.get(variable, ("", "m s-1"))[1])
        own[list(SHOWN[:4])] *= factor
        about = {"source": source, "variable": variable, "unit": unit}
        about["title"] = f"{labels.get(variable, ('', ''))[0]} {variable}".strip()
        series.append(about | {name: _short(own[name].tolist()) for name in SHOWN})
    return series


def _short(values: Sequence[float | None]) -> list[float | None]:
    """Return numbers with four digits; what is missing is null."""
    return [None if v is None or v != v else float(f"{v:.4g}") for v in values]  # noqa: PLR0124
