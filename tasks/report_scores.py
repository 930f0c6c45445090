"""Sections from the scores: summary, error through time, by level and lead time, ensemble."""

import math

import numpy as np

from tasks import report_curves as curves
from tasks.report_material import Material
from tasks.report_numbers import (
    ALL,
    BACKGROUND_UNITS,
    NORMALIZED,
    SummaryRow,
    by_level,
    lead_table,
    summary,
    through_time,
)
from tasks.report_page import Figure, Section, Table, count_of
from tasks.report_style import digits, fixed, inline_svg

__all__ = ["ensemble", "forecasts", "levels", "summary_section", "time_series"]

SHOWN = ("analysis", "background", "free")
HEADER = ("variable", "analysis", "background", "free run", "analysis −\nbackground",
          "95 % interval", "change", "RMSE\nanalysis", "RMSE\nbackground", "RMSE\nfree run", "unit")  # fmt: skip
MEASURE = "area-weighted mean square error in units of the climatological variance"
NO_SCORES = "No cycle has been verified yet."


def summary_section(material: Material) -> Section:
    """Compare analysis, background and free run per variable."""
    rows = summary(material.counted)
    if not rows:
        return Section("summary", "Summary", missing=NO_SCORES)
    cells = [summary_cells(material, row) for row in rows]
    return Section("summary", "Summary", tables=[Table(HEADER, cells, summary_caption(material))])


def summary_caption(material: Material) -> str:
    """Say what the numbers of the summary are."""
    count, last = len(material.counted_times), material.counted_times[-1]
    skipped = len(material.cycle_times) - count
    which = (
        f"after {count_of(skipped, 'cycle')} of spin-up" if skipped else "from the first one on"
    )
    if material.spin_up_end is None:
        which = "(all there are: none is past the spin-up)"
    return (
        f"Means over {count_of(count, 'cycle')} {which}, until {last:%Y-%m-%d %H} UTC. Errors: {MEASURE}, mean "
        "over the levels; 1 is the error of a climatological mean. The last row is in units of the "
        "24 h background-error variance. Intervals: paired block bootstrap over the cycles; "
        "an interval below zero says that the analysis is better than the background by more than "
        "chance. RMSE: root of the mean square over levels and cycles."
    )


def summary_cells(material: Material, row: SummaryRow) -> list[str]:
    """Write one row of the summary."""
    factor, unit = material.unit(row.variable)
    title = material.title(row.variable)
    title = "all, 24 h background units" if row.metric == BACKGROUND_UNITS else title
    errors = [digits(row.error.get(source)) for source in SHOWN]
    rmse = [digits(row.rmse.get(source, np.nan) * factor) for source in SHOWN]
    change = 100 * row.difference / row.error.get("background", np.nan)
    percent = digits(change, 2) + " %" if np.isfinite(change) else "–"
    return [title, *errors, *difference(row), percent, *rmse, unit]


def difference(row: SummaryRow) -> tuple[str, str]:
    """Write a difference and its interval with the decimals that the interval's width supports."""
    low, high = row.interval
    if math.isnan(low):
        return digits(row.difference), "too few cycles"
    if high == low:  # the analysis is the background: no assimilation
        return digits(row.difference), f"[{digits(low)}, {digits(high)}]"
    places = 1 - math.floor(math.log10(high - low))
    return fixed(row.difference, places), f"[{fixed(low, places)}, {fixed(high, places)}]"


def time_series(material: Material) -> Section:
    """Draw the error of every cycle."""
    key, title = "time", "Error through time"
    table = through_time(material.scores, NORMALIZED)
    if table.empty:
        return Section(key, title, missing=NO_SCORES)
    end = material.spin_up_end or material.cycle_times[-1]
    figure = curves.error_through_time(table, material.titles, end)
    caption = (
        f"Error of every cycle: {MEASURE}, mean over the levels. Shaded: the spin-up, which the "
        "means leave out. Logarithmic where an error changes much."
    ) + curves.running_note(len(table))
    return Section(key, title, [Figure(inline_svg(figure, title), caption)])


def levels(material: Material) -> Section:
    """Draw the error of every level."""
    key, title = "levels", "Error by level"
    table = by_level(material.counted, "rmse")
    if table.empty:
        return Section(key, title, missing=NO_SCORES)
    several = table.groupby(level="variable", sort=False).size().max() > 1
    picture = profiles if several else single_levels
    return Section(key, title, [picture(material)])


def profiles(material: Material) -> Figure:
    """Draw the profiles of variables on levels."""
    table = by_level(material.counted, "rmse")
    units = {name: material.unit(name) for name in material.titles}
    titles = {n: f"{title} [{units[n][1]}]" for n, title in material.titles.items() if n != ALL}
    axis = "pressure [hPa]" if material.is_pressure else "sigma"
    scales = {name: factor for name, (factor, _) in units.items()}
    figure = curves.error_by_level(table, titles, scales, axis)
    caption = (
        "RMSE of every level, the root of the mean square over the cycles after the spin-up. "
        "Variables on a single level are in the summary."
    )
    return Figure(inline_svg(figure, "Error by level"), caption)


def single_levels(material: Material) -> Figure:
    """Draw the error of fields where no variable has more than one level."""
    table = by_level(material.counted, NORMALIZED)
    labels = [material.field_title(str(name), float(level)) for name, level in table.index]
    figure = curves.error_by_field(table, labels)
    caption = f"Error of every field: {MEASURE}, mean over the cycles after the spin-up."
    return Figure(inline_svg(figure, "Error by field"), caption)


def forecasts(material: Material) -> Section:
    """Draw the error of the forecasts from the analyses."""
    key, title = "forecasts", "Forecasts"
    table = lead_table(material.counted)
    if len(table) < 2:
        return Section(key, title, missing="No forecast from an analysis has been verified.")
    free = {row.variable: row.error["free"] for row in summary(material.counted)
            if row.metric == NORMALIZED and "free" in row.error}  # fmt: skip
    figure = curves.error_by_lead(table, free, material.titles)
    started = material.counted.query("source == 'forecast'")["cycle_time"].nunique()
    caption = (
        f"Forecast error against lead time, the mean over {count_of(started, 'forecast')} from "
        f"analyses after the spin-up: {MEASURE}, mean over the levels. Lead time 0 is the analysis. Dashed: mean "
        "error of the free run at the cycle times."
    )
    return Section(key, title, [Figure(inline_svg(figure, title), caption)])


def ensemble(material: Material) -> Figure | None:
    """Draw spread and skill of the ensemble, if there is one."""
    tables = {metric: through_time(material.scores, metric) for metric in curves.ENSEMBLE}
    tables = {metric: table for metric, table in tables.items() if not table.empty}
    if "spread" not in tables:
        return None
    units = {name: material.unit(name) for name in material.titles}
    scaled = {
        metric: table.mul([units[name][0] for name in table.columns.get_level_values(0)], axis=1)
        for metric, table in tables.items()
    }
    titles = {name: f"{title} [{units[name][1]}]" for name, title in material.titles.items()}
    figure = curves.ensemble_through_time(scaled, titles)
    caption = (
        "Analysis ensemble in every cycle: RMSE of its mean, spread (root of the mean variance of "
        "the members) and CRPS; root mean square over the levels (CRPS: mean). Spread equals RMSE "
        "in a reliable large ensemble."
    )
    return Figure(inline_svg(figure, "Ensemble"), caption)
