"""Figures that watch the machine: cost function, departures, seconds per stage."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.report_curves import draw_series, time_axis
from tasks.report_style import PALETTE, PENS, WIDTH, Line, Pen, legend, panels

MEDIAN = Pen("median over the cycles and their 10–90 % range", "#0072b2", "-")
LAST = Pen("last cycle", "#d55e00", "--")
BEFORE = Pen("before the step (median)", "#56b4e9", ":")
EXPECTED = Pen("half the number of observations", "#6b6b6b", ":")
COUNTS = {"used": Pen("used", "#0072b2", "-"), "rejected": Pen("rejected", "#d55e00", "-")}
COST_TITLES = {
    "J_b": "J_b: distance from the prior",
    "J_o": "J_o: misfit to the observations",
    "J": "J: the sum of both",
}
SUFFIX = "_before"
STATISTICS: dict[str, Line] = {"standard deviation": "-", "mean": ":"}


def cost_terms(traces: pd.DataFrame) -> list[str]:
    """Return the columns of a trace that are terms of the cost function after a step."""
    names = (str(name) for name in traces.columns)
    terms = [name for name in names if name == "J" or name.startswith("J_")]
    return sorted(
        (term for term in terms if not term.endswith(SUFFIX)), key=lambda t: (t == "J", t)
    )


def cost_by_step(traces: pd.DataFrame, expected: float | None) -> Figure:
    """Draw every term of the cost function against the reverse step."""
    terms = cost_terms(traces)
    figure, axes = panels(len(terms), columns=min(3, max(2, len(terms))), height=2.6)
    for ax, term in zip(axes, terms, strict=True):
        draw_term(ax, traces, term)
        if expected and term == "J":
            ax.axhline(expected, color=EXPECTED.color, linestyle=EXPECTED.line)
        ax.set_title(COST_TITLES.get(term, term))
        cost_axes(ax, traces, term)
    before = [BEFORE] if any(f"{term}{SUFFIX}" in traces for term in terms) else []
    legend(figure, [MEDIAN, LAST, *before, *([EXPECTED] if expected else [])])
    return figure


def draw_term(ax: Axes, traces: pd.DataFrame, term: str) -> None:
    """Draw one term: all cycles, the last one, and before the steps if it is known."""
    steps = traces.groupby("step")
    middle, marker = steps[term].median(), "o" if len(steps) < 20 else ""
    abscissa = middle.index.to_numpy()
    band = steps[term].quantile(0.1).to_numpy(), steps[term].quantile(0.9).to_numpy()
    ax.fill_between(abscissa, *band, color=MEDIAN.color, alpha=0.18, linewidth=0)
    if f"{term}{SUFFIX}" in traces:
        before = steps[f"{term}{SUFFIX}"].median().to_numpy()
        ax.plot(abscissa, before, color=BEFORE.color, linestyle=BEFORE.line, marker=marker)
    ax.plot(abscissa, middle.to_numpy(), color=MEDIAN.color, marker=marker)
    last = traces[traces["cycle_time"] == traces["cycle_time"].max()].groupby("step")[term].mean()
    ax.plot(
        last.index.to_numpy(),
        last.to_numpy(),
        color=LAST.color,
        linestyle=LAST.line,
        marker=marker,
        markersize=3,
    )


def cost_axes(ax: Axes, traces: pd.DataFrame, term: str) -> None:
    """Scale the axes of a cost panel; every step is named by its noise level, if known."""
    columns = [name for name in (term, f"{term}{SUFFIX}") if name in traces]
    values = traces[columns].to_numpy(np.float64)
    if (values > 0).all() and values.max() > 20 * np.median(values):
        ax.set_yscale("log")
    elif (values >= 0).all():
        ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    if "sigma" not in traces:
        ax.set_xlabel("reverse step")
    else:
        noise = traces.groupby("step")["sigma"].median()
        pairs = zip(noise.index, noise, strict=True)
        names = {round(s): f"step {s:g}\nσ {v:.2g}" for s, v in pairs}
        ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: names.get(round(step), "")))


def departures_through_time(
    table: pd.DataFrame, titles: Mapping[str, str], scales: Mapping[str, float]
) -> Figure:
    """Draw standard deviation and mean of O-B and O-A per variable; `titles` are the panels."""
    figure, axes = panels(len(titles))
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        rows = table.xs(name, level="variable") * scales[name]
        for letter, source in (("b", "background"), ("a", "analysis")):
            for statistic, line in zip(("std", "mean"), STATISTICS.values(), strict=True):
                pen = PENS[source]._replace(line=line)
                draw_series(ax, rows[f"o_minus_{letter}_{statistic}"], pen)
        ax.axhline(0, color="#888888", linewidth=0.7)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.set_title(title)
        time_axis(ax)
    pens = [
        Pen(f"{kind} {statistic}", PENS[source].color, line)
        for kind, source in (("O−B", "background"), ("O−A", "analysis"))
        for statistic, line in STATISTICS.items()
    ]
    legend(figure, pens)
    return figure


def counts_and_chi2(table: pd.DataFrame) -> Figure:
    """Draw chi2 per variable through time, and how many observations were used and rejected."""
    figure, (left, right) = panels(2, columns=2, height=2.3)
    names = list(table.index.get_level_values("variable").unique())
    pens = [Pen(n, PALETTE[i % len(PALETTE)], "-") for i, n in enumerate(names)]
    for pen in pens:
        draw_series(left, table["chi2"].xs(pen.label, level="variable"), pen)
    left.axhline(1, color="#222222", linestyle="--", linewidth=1)
    left.set_ylim(bottom=0)
    left.set_title("χ² of O−B (1 where the assumed errors are right)")
    counts = table.groupby(level="cycle_time")[["used", "rejected"]].sum()
    stack(right, counts, [pen.color for pen in COUNTS.values()])
    right.set_title("number of observations")
    for ax in (left, right):
        time_axis(ax)
    legend(figure, pens)
    legend(figure, list(COUNTS.values()), left=WIDTH / 2 + 0.42)
    return figure


def stack(ax: Axes, table: pd.DataFrame, colors: Sequence[str]) -> None:
    """Draw columns of non-negative numbers on top of each other, a bar per row."""
    times = table.index.to_numpy()
    days = (times - times[0]) / np.timedelta64(1, "D")
    width = 0.82 * min(np.diff(days), default=0.25)
    base = np.zeros(len(table))
    for name, color in zip(table.columns, colors, strict=False):
        top = base + table[name].fillna(0).to_numpy(np.float64)
        if len(table) > 60:  # one outline instead of a thousand bars
            ax.fill_between(times, base, top, step="mid", color=color, linewidth=0)
        else:
            ax.bar(times, top - base, bottom=base, width=width, color=color)
        base = top
    ax.set_ylim(bottom=0)


def seconds_through_time(table: pd.DataFrame) -> Figure:
    """Draw the seconds of every stage (columns) in every cycle (rows), stacked."""
    figure, (ax,) = panels(1, height=2.3)
    stack(ax, table, PALETTE)
    time_axis(ax)
    ax.set_ylabel("seconds")
    legend(figure, [Pen(str(n), PALETTE[i], "-") for i, n in enumerate(table.columns)])
    return figure
