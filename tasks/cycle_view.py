"""What the user interface shows of one cycle: tables and pictures of what its stages committed.

Everything is read from the committed attempts and written nowhere. The rows are text for people;
units are those of the report.
"""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from tasks import archive
from tasks.assimilate import FEEDBACK, TRACE
from tasks.cycle_departures import draw_departures
from tasks.cycle_maps import draw_maps
from tasks.departures import departure_sums, statistics
from tasks.experiment import cycle_name
from tasks.report_style import digits, display_unit
from tasks.runtime import Runtime
from tasks.store import join, read_bytes
from tasks.svg import data_address

__all__ = ["departure_rows", "pictures", "score_rows"]

SOURCES = ("analysis", "background", "free")
Rows = list[dict[str, str]]


def score_rows(runtime: Runtime, time: pd.Timestamp) -> Rows:
    """Return the errors of a verified cycle, a row for each variable.

    Raises:
        ReopenedError: It is not verified (any more).
    """
    summary: Mapping[str, Any] = runtime.plan.committed(time, "verification").summary
    names = ["all", *(name for name in summary["mse"]["analysis"] if name != "all")]
    rows = [
        {
            "variable": "all variables" if name == "all" else name,
            **{source: digits(summary["mse"][source].get(name)) for source in SOURCES},
            "analysis − background": digits(
                summary["mse"]["analysis"][name] - summary["mse"]["background"][name]
            ),
        }
        for name in names
    ]
    weighted = summary["wmse"]
    difference = digits(weighted["analysis"] - weighted["background"])
    row = {source: digits(weighted[source]) for source in SOURCES}
    label = {"variable": "all, in 24 h background-error variances"}
    return [*rows, label | row | {"analysis − background": difference}]


def departure_rows(runtime: Runtime, time: pd.Timestamp) -> Rows:
    """Return counts and departures of an analyzed cycle, a row for each source and variable.

    Raises:
        ReopenedError: It is not analyzed (any more).
    """
    units = {variable.name: variable.units for variable in runtime.spec.variables}
    rows = []
    table = statistics(departure_sums(_feedback(runtime, time))).reset_index()
    for row in table.to_dict("records"):
        factor, unit = display_unit(units.get(row["variable"], "m s-1"))
        rows.append(
            {
                "source": str(row["source"]),
                "variable": str(row["variable"]),
                "used": f"{row['used']:.0f}",
                "rejected": f"{row['rejected']:.0f}",
                "O−B bias": digits(row["bias"] * factor),
                "O−B RMS": digits(row["rms"] * factor),
                "expected RMS": digits(row["expected"] * factor),
                "O−A RMS": digits(row["rms_a"] * factor),
                "unit": unit,
            }
        )
    return rows


def pictures(runtime: Runtime, time: pd.Timestamp) -> dict[str, str]:
    """Return addresses that hold the maps and the departures of an analyzed cycle.

    Raises:
        ReopenedError: It is not analyzed (any more).
    """
    plan, title = runtime.plan, f"{runtime.experiment.config.name} {cycle_name(time)}"
    analysis = plan.committed(time, "analysis").address
    forecast = plan.committed(time, "forecast").address
    states = [
        runtime.spec.to_dataset(archive.read_fields(address).mean(0, keepdim=True), [time])
        for address in (join(forecast, "background"), join(analysis, "analysis"))
    ]
    feedback = _feedback(runtime, time)
    trace = json.loads(read_bytes(join(analysis, TRACE)))["trace"]
    return {
        "maps": data_address(draw_maps(states[0], states[1], feedback, f"Maps of {title}")),
        "departures": data_address(draw_departures(feedback, trace, f"Departures of {title}")),
    }


def _feedback(runtime: Runtime, time: pd.Timestamp) -> pd.DataFrame:
    address = runtime.plan.committed(time, "analysis").address
    return archive.read_table(join(address, FEEDBACK))
