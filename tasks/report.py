"""The report of an experiment: one self-contained HTML page of what lies on disk.

`write_report` reads what is committed and published and writes EXPERIMENT/report.html, with all
figures inside and no request to anywhere. The same experiment gives the same page, byte for byte.
"""

from collections.abc import Sequence

import matplotlib
import pandas as pd

from tasks import report_late, report_overlaps, report_runs, report_scores, report_states, store
from tasks.report_data import read_material
from tasks.report_material import Material, Truth
from tasks.report_numbers import ALL, BACKGROUND_UNITS, NORMALIZED, SummaryRow, summary
from tasks.report_page import Page, Section, Tile, count_of, render, time_name
from tasks.report_style import STYLE, digits

__all__ = ["write_report"]


def write_report(
    root: str, truth: Truth | None = None, map_time: pd.Timestamp | None = None
) -> str:
    """Write the report of an experiment and return its address.

    Args:
        root: Directory or s3:// address of the experiment.
        truth: Gives the true state of a time as a dataset with the variables of the archive.
            Without it, and if the verification kept no truth, there are no maps of errors.
        map_time: Cycle that the maps show; by default the last one.

    Raises:
        ValueError: There is no experiment.
    """
    material = read_material(root, truth)
    with matplotlib.rc_context(STYLE):
        page = page_of(material, sections_of(material, map_time))
    address = store.join(root, "report.html")
    store.write_bytes(address, render(page).encode())
    return address


def sections_of(material: Material, map_time: pd.Timestamp | None) -> list[Section]:
    """Return the sections in the order of the page."""
    ensemble = report_states.ensemble(material)
    overlaps = report_overlaps.overlaps(material)
    late = report_late.late_files(material)
    return [
        report_scores.summary_section(material),
        report_scores.time_series(material),
        *([overlaps] if overlaps else []),
        report_states.maps(material, map_time),
        report_scores.levels(material),
        report_states.spectra(material),
        report_runs.cost(material),
        report_scores.forecasts(material),
        report_runs.observations(material),
        *([late] if late else []),
        *([ensemble] if ensemble else []),
        report_runs.timings(material),
        report_runs.configuration(material),
    ]


def page_of(material: Material, sections: Sequence[Section]) -> Page:
    """Return the page with its header."""
    rows = summary(material.counted)
    last = material.commits[-1].created if material.commits else ""
    return Page(
        title=str(material.configuration.get("name", "experiment")),
        subtitle=subtitle(material),
        verdict=verdict([row for row in rows if row.variable != ALL]),
        tiles=tiles(material, rows),
        sections=sections,
        footer=f"losda · {material.root}" + (f" · last commit {last[:19]} UTC" if last else ""),
    )


def subtitle(material: Material) -> str:
    """Say what was run, when and how."""
    settings, times = material.configuration, material.cycle_times
    parts = [
        f"method {report_runs.plain(settings.get('method', 'unknown'))}",
        f"observations {report_runs.plain(network_of(settings.get('observations')))}",
    ]
    if times:
        parts.append(
            f"{count_of(len(times), 'cycle')}, {time_name(times[0])} to {time_name(times[-1])}"
        )
    return " · ".join(parts)


def network_of(observations: object) -> object:
    """Return the network of the observations' settings."""
    return observations.get("network", observations) if isinstance(observations, dict) else "–"


def verdict(rows: Sequence[SummaryRow]) -> str:
    """Say for how many variables the analysis beats the background."""
    known = [row for row in rows if row.difference == row.difference]
    if not known:
        return ""
    if not any(row.difference for row in known):
        return "The analysis is the background: nothing was assimilated."
    better = sum(row.difference < 0 for row in known)
    certain = sum(row.interval[1] < 0 for row in known)
    text = f"The analysis is better than the background for {better} of {len(known)} variables"
    if all(row.interval[0] != row.interval[0] for row in known):
        return f"{text}; there are too few cycles to tell it from chance."
    return f"{text}, for {certain} of them by more than chance (95 %)."


def tiles(material: Material, rows: Sequence[SummaryRow]) -> list[Tile]:
    """Return the numbers that stand out."""
    overall = {row.metric: row.error for row in rows if row.variable == ALL}
    errors, relative = overall.get(NORMALIZED, {}), overall.get(BACKGROUND_UNITS, {})
    names = {"analysis": "analysis", "background": "background", "free": "free run"}
    shown = [
        Tile(digits(errors[source]), f"{name} error [climatological variance]")
        for source, name in names.items()
        if source in errors
    ]
    if "analysis" in relative:
        text = "analysis error [24 h background-error variance]"
        shown.append(Tile(digits(relative["analysis"]), text))
    seconds = report_runs.seconds_of(material).sum(axis=1)
    if len(seconds):
        shown.append(Tile(f"{digits(float(seconds.median()), 2)} s", "median time of a cycle"))
    return shown
