"""What is committed in an experiment, what of it is stale, and what it waits for."""

import sys
from typing import Any

from flows.stream_status import stream_lines, streams_of
from flows.tables import print_rows
from flows.waiting import held_rows, said_waits
from tasks.experiment import STAGES
from tasks.journal import Journal
from tasks.orders import orders_of
from tasks.overview import Overview
from tasks.plan import Plan
from tasks.streams import is_reprocess

__all__ = ["print_status", "status_of"]

MARKS = {"committed": "done", "stale": "STALE", "open": "-"}


def status_of(root: str) -> dict[str, Any]:
    """Return the state of every stage of every cycle that has a commit; of streams a row for each.

    Raises:
        ValueError: There is no experiment.
    """
    if is_reprocess(root):
        return streams_of(root, status_of)
    plan = Plan.read(root).at_once()
    cycles = []
    for time in sorted(plan.ledger.cycles()):
        stages = {stage: plan.state(time, stage) for stage in STAGES}
        published = plan.is_published(time)
        cycles.append({"cycle_time": time.isoformat(), **stages, "published": published})
    orders = orders_of(Journal(root).entries())
    states = [cycle[stage] for cycle in cycles for stage in STAGES]
    return {
        "experiment": root,
        "name": plan.identity["name"],
        "method": plan.identity["method"]["kind"],
        "committed": states.count("committed"),
        "stale": states.count("stale"),
        "complete": sum(all(c[s] == "committed" for s in STAGES) for c in cycles),
        "held": held_rows(orders),
        "failures": len(orders.troubles),
        "late": {cycle: list(files) for cycle, files in orders.late.items()},
        "waits": said_waits(Overview(plan, plan.start), orders),
        "cycles": cycles,
    }


def print_status(status: dict[str, Any]) -> None:
    """Print the grid."""
    if "streams" in status:
        sys.stdout.write("\n".join(stream_lines(status)) + "\n")
        return
    rows = [
        {
            "cycle": cycle["cycle_time"],
            **{stage: MARKS[cycle[stage]] for stage in STAGES},
            "published": "yes" if cycle["published"] else "-",
        }
        for cycle in status["cycles"]
    ]
    title = f"{status['experiment']}: {status['name']}, {status['method']}, "
    title += f"{status['complete']} complete cycles, {status['stale']} stale stages"
    print_rows(rows, title)
    for hold in status["held"]:
        what = f"cycle {hold['cycle']}" if hold["cycle"] else "the experiment"
        sys.stdout.write(f"{what} is held by {hold['by']} since {hold['since']}: {hold['why']}\n")
    for cycle, files in status["late"].items():
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        sys.stdout.write(f"cycle {cycle}: {count} came late, such as {files[-1]}\n")
    for wait in status["waits"]:
        sys.stdout.write(f"{wait['cycle_time']}  {wait['kind']}: {wait['why']}\n")
