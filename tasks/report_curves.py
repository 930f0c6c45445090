"""Curves of the scores: error through time, by level, and against lead time; ensemble spread."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tasks.report_numbers import ALL, SOURCES
from tasks.report_style import PENS, Pen, digits, legend, panels

Titles = Mapping[str, str]
MANY = 150  # cycles whose single values are more than a line can show
ENSEMBLE = {
    "rmse": PENS["analysis"]._replace(label="RMSE of the mean analysis"),
    "spread": Pen("spread of the members", "#e69f00", "-"),
    "crps": Pen("CRPS", "#009e73", "-"),
}


def error_through_time(
    table: pd.DataFrame, titles: Titles, spin_up_end: pd.Timestamp | None
) -> Figure:
    """Draw the error of every variable in every cycle; the spin-up is shaded."""
    names = [name for name in titles if name in table]
    figure, axes = panels(len(names))
    for ax, name in zip(axes, names, strict=True):
        shade_spin_up(ax, table.index, spin_up_end)
        draw_sources(ax, table, name)
        time_axis(ax)
        error_axis(ax)
        ax.set_title(titles[name])
    legend(figure, [PENS[source] for source in SOURCES if has(table, source)])
    return figure


def has(table: pd.DataFrame, source: str) -> bool:
    """Tell whether any variable has a source (the last level of the columns)."""
    return source in table.columns.get_level_values(-1)


def draw_sources(ax: Axes, table: pd.DataFrame, variable: str) -> None:
    """Draw one line per source, the analysis on top."""
    for source in (source for source in SOURCES if (variable, source) in table):
        draw_series(ax, table[variable, source], PENS[source])


def draw_series(ax: Axes, series: pd.Series, pen: Pen) -> None:
    """Draw a value per cycle; for many cycles thinly, and boldly their running mean."""
    times, values = series.index.to_numpy(), series.to_numpy()
    window = running(len(series))
    bold, width = values, 1.5
    if window > 1:
        ax.plot(times, values, color=pen.color, linewidth=0.6, alpha=0.35)
        bold = series.rolling(window, center=True, min_periods=1).mean().to_numpy()
    (line,) = ax.plot(times, bold, color=pen.color, linewidth=width, linestyle=pen.line)
    line.set(marker="o" if len(series) < 3 else "", markersize=4)


def running(count: int) -> int:
    """Return the number of cycles in a running mean, 1 where there are few."""
    return 1 if count <= MANY else count // 40 * 2 + 1


def running_note(count: int) -> str:
    """Say what thin and bold lines are, if there are both."""
    window = running(count)
    text = f" Thin: every cycle; bold: running mean over {window} cycles."
    return text if window > 1 else ""


def shade_spin_up(ax: Axes, times: pd.Index, end: pd.Timestamp | None) -> None:
    """Shade the cycles that the means leave out."""
    if end is not None and len(times) and end > times[0]:
        ax.axvspan(times[0], min(end, times[-1]), color="#f1eee6", linewidth=0, zorder=0)


def time_axis(ax: Axes) -> None:
    """Write dates briefly and never on top of each other."""
    first, last = ax.dataLim.intervalx
    if first == last:
        ax.set_xlim(first - 0.5, last + 0.5)
    locator = AutoDateLocator(  # type: ignore[no-untyped-call]
        minticks=3, maxticks=6
    )
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator,
        formats=["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M"],
        zero_formats=["%Y", "%b %Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
        show_offset=False,
    )
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(formatter)


def error_axis(ax: Axes) -> None:
    """Scale an error axis: from zero, or logarithmic where the range is beyond a factor of 8."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.lines])
    values = values[np.isfinite(values)]
    if not len(values):
        return
    if values.min() > 0 and values.max() > 8 * values.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: digits(value, 1)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(min(0.0, values.min()), 1.08 * values.max() or 1.0)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def error_by_level(
    table: pd.DataFrame, titles: Titles, scales: Mapping[str, float], axis_label: str
) -> Figure:
    """Draw profiles of the RMSE for the variables that have levels, highest level on top."""
    names = [name for name in titles if name in table.index and len(table.loc[name]) > 1]
    figure, axes = panels(len(names), columns=4, height=2.9)
    for ax, name in zip(axes, names, strict=True):
        profile = table.loc[name].sort_index() * scales[name]
        for source in (source for source in SOURCES if source in profile):
            pen = PENS[source]
            ax.plot(
                profile[source], profile.index, color=pen.color, linestyle=pen.line,
                marker="o", markersize=4,
            )  # fmt: skip
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_title(titles[name])
        ax.set_ylabel(axis_label if ax is axes[0] else "")
    legend(figure, [PENS[source] for source in SOURCES if source in table])
    return figure


def error_by_field(table: pd.DataFrame, labels: list[str]) -> Figure:
    """Draw one row of dots per field, for states of single levels."""
    figure, (ax,) = panels(1, height=0.3 * len(labels) + 0.2, left=2.4)
    rows = np.arange(len(labels))
    for source in (source for source in SOURCES if source in table):
        ax.plot(table[source], rows, "o", color=PENS[source].color, markersize=8)
    ax.set_yticks(rows, labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(left=0)
    pens = [PENS[source]._replace(line="-") for source in SOURCES if source in table]
    legend(figure, pens)
    return figure


def error_by_lead(table: pd.DataFrame, free: Mapping[str, float], titles: Titles) -> Figure:
    """Draw the mean error of forecasts against lead time, and the free run's as a level."""
    names = [name for name in titles if name in table]
    figure, axes = panels(len(names))
    for ax, name in zip(axes, names, strict=True):
        pen = PENS["forecast"]
        ax.plot(table.index, table[name], color=pen.color, marker="o", markersize=4, clip_on=False)
        if name in free:
            ax.axhline(free[name], color=PENS["free"].color, linestyle=PENS["free"].line)
        ax.set_title(titles[name])
        ax.set_ylim(bottom=0)
        ax.set_xlim(left=0)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.set_xlabel("lead time [days]" if ax in axes[-3:] else "")
    legend(figure, [PENS["forecast"], *([PENS["free"]] if free else [])])
    return figure


def ensemble_through_time(tables: Mapping[str, pd.DataFrame], titles: Titles) -> Figure:
    """Draw RMSE of the mean, spread and CRPS (the keys) of the analysis ensemble per variable."""
    names = [name for name in titles if name in tables["spread"] and name != ALL]
    figure, axes = panels(len(names))
    for ax, name in zip(axes, names, strict=True):
        for metric, table in tables.items():
            draw_series(ax, table[name, "analysis"], ENSEMBLE[metric])
        time_axis(ax)
        error_axis(ax)
        ax.set_title(titles[name])
    legend(figure, [ENSEMBLE[metric] for metric in tables])
    return figure
