"""The page of a benchmark: for each experiment its table, errors through time, and ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from configs.benchmark import Benchmark
from tasks.report_curves import time_axis
from tasks.report_page import Figure as Picture
from tasks.report_page import Page, Section, Table, count_of
from tasks.report_style import PALETTE, Pen, digits, inline_svg, legend, panels

__all__ = ["benchmark_page"]

Rows = Sequence[Mapping[str, Any]]
WINDOW = 21
LEGEND_COLUMNS = 7


def benchmark_page(
    benchmark: Benchmark,
    results: Rows,
    rows: pd.DataFrame,
    cost: Mapping[str, Any] | None,
    about: str,
) -> Page:
    """Return the page of the results so far, of the cost if it was measured, and what made them."""
    pens = {
        method: Pen(method, PALETTE[k % len(PALETTE)], "-" if k < len(PALETTE) else "--")
        for k, method in enumerate(benchmark.methods)
    }
    sections = []
    frame = pd.DataFrame(results)
    for (kind, lead), part in frame.groupby(["kind", "lead_hours"], sort=False):
        chosen = [row for row in results if (row["kind"], row["lead_hours"]) == (kind, lead)]
        title = "Cycled" if kind == "cycled" else f"Single analyses of {lead} h forecasts"
        figures = [bars(benchmark, chosen, pens)]
        if kind == "cycled":
            figures.append(through_time(benchmark, rows[rows["kind"] == kind], pens))
            figures += rank_histograms(chosen, pens)
        tables = [network_table(network, chosen) for network in part["network"].unique()]
        sections.append(Section(f"{kind}-{lead}", title, figures, tables))
    if cost is not None:
        sections.append(Section("cost", "Cost of one analysis", [], [cost_table(cost)]))
    cases = count_of(len(frame), "result")
    named = benchmark.ensemble_reference
    ensembles = f", those of the CRPS to {named}," if named else ""
    return Page(
        title=f"Benchmark {benchmark.name}",
        subtitle=f"{cases} · errors are mean squares in units of the 24 h background-error "
        "variance, analyses of the cycles after the spin-up",
        verdict=f"Ratios are to {benchmark.reference}{ensembles} on the same cycles, with intervals of 99 % "
        "(circular block bootstrap, blocks of 20 cycles or 4 single analyses; none for few).",
        tiles=[],
        sections=sections,
        footer=f"losda benchmark · configuration {benchmark.name} · {about}",
    )


def network_table(network: str, results: Rows) -> Table:
    """Return the table of one network."""
    header = ["method", "analyses", "error", "95 %", "background", "ratio", "99 %"]
    header += ["CRPS", "ratio", "99 %"]
    header += ["spread/error\nanalysis", "spread/error\nbackground", "seconds"]
    body = []
    for row in results:
        if row["network"] == network:
            cells = [
                str(row["analyses"]),
                digits(row["analysis"]),
                span(row, "analysis"),
                digits(row["background"]),
            ]
            cells += [digits(row.get("ratio")), span(row, "ratio")]
            cells += [digits(row.get("analysis_crps"))]
            cells += [digits(row.get("crps_ratio")), span(row, "crps_ratio")]
            rest = ["analysis_spread_over_error", "background_spread_over_error", "seconds"]
            body.append([str(row["method"]), *cells, *(digits(row.get(name)) for name in rest)])
    return Table(header, body, network)


def cost_table(cost: Mapping[str, Any]) -> Table:
    """Return the table of seconds and memory."""
    names = {"denoiser": "denoiser", "encoder": "encoder", "decoder": "decoder"}
    names |= {"operator": "operator", "solver": "solver", "seconds": "all [s]"}
    body = [
        [
            row["method"],
            str(row["members"]),
            *(digits(row[name]) for name in names),
            digits(row["peak_memory"] / 2**20),
        ]
        for row in cost["rows"]
    ]
    caption = (
        f"Seconds of each stage with its tangents and adjoints, median of analyses of the same first "
        f"guess in turn ({cost['rows'][0]['observations']} observations, {cost['machine']}); the "
        "solver has all that is no other stage. Memory is what one analysis takes beside the "
        "components."
    )
    return Table(["method", "members", *names.values(), "memory [MiB]"], body, caption)


def span(row: Mapping[str, Any], name: str) -> str:
    """Write an interval."""
    if not np.isfinite(row.get(f"{name}_low", np.nan)):
        return "–"
    return f"{digits(row[f'{name}_low'])} – {digits(row[f'{name}_high'])}"


def bars(benchmark: Benchmark, results: Rows, pens: Mapping[str, Pen]) -> Picture:
    """Draw the mean errors with their intervals, one panel for each network."""
    networks = [n for n in benchmark.networks if any(row["network"] == n for row in results)]
    methods = [m for m in benchmark.methods if any(row["method"] == m for row in results)]
    figure, axes = panels(len(networks), columns=3, height=0.26 * len(methods) + 0.5, left=1.35)
    for ax, network in zip(axes, networks, strict=True):
        for row in (row for row in results if row["network"] == network):
            place, pen = methods.index(row["method"]), pens[row["method"]]
            if "analysis_low" in row:
                ends = [row["analysis_low"], row["analysis_high"]]
                ax.plot(ends, [place, place], color=pen.color, linewidth=5, alpha=0.4)
            ax.plot(row["analysis"], place, "o", color=pen.color, markersize=6)
            ax.plot(row["background"], place, "|", color=pen.color, markersize=9)
        ax.set_yticks(range(len(methods)), methods)
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set_xscale("log")
        plain_numbers(ax.xaxis)
        ax.set_title(network)
    caption = "Analysis error (dot) with its interval of 95 %; the tick is the background's."
    return Picture(inline_svg(figure, "Mean errors"), caption)


def through_time(benchmark: Benchmark, rows: pd.DataFrame, pens: Mapping[str, Pen]) -> Picture:
    """Draw running means of the analysis error, one panel for each network."""
    rows = rows[(rows["source"] == "analysis") & (rows["metric"] == "mse")]
    table = rows.pivot_table(index="cycle_time", columns=["network", "method"], values="value")
    networks = [n for n in benchmark.networks if n in table]
    shown = [pens[m] for m in benchmark.methods if m in rows["method"].unique()]
    lines = -(-len(shown) // LEGEND_COLUMNS)
    figure, axes = panels(len(networks), columns=2, height=2.4, top=0.42 + 0.2 * lines)
    for ax, network in zip(axes, networks, strict=True):
        for method in (m for m in benchmark.methods if m in table[network]):
            series = table[network, method].rolling(WINDOW, min_periods=1, center=True).mean()
            pen = pens[method]
            ax.plot(series.index, series, color=pen.color, linestyle=pen.line, linewidth=1.3)
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
        time_axis(ax)
        ax.set_title(network)
    legend(figure, shown, columns=LEGEND_COLUMNS)
    caption = f"Analysis error, running mean over {WINDOW} cycles, from the poor first guess on."
    return Picture(inline_svg(figure, "Errors through time"), caption)


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis out, at 1, 2 and 5."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_formatter(NullFormatter())


def rank_histograms(results: Rows, pens: Mapping[str, Pen]) -> list[Picture]:
    """Draw the rank histograms of the ensembles; flat is right."""
    ensembles = [row for row in results if isinstance(row.get("analysis_ranks"), list)]
    if not ensembles:
        return []
    figure, axes = panels(len(ensembles), columns=4, height=1.6)
    for ax, row in zip(axes, ensembles, strict=True):
        histogram(ax, row["analysis_ranks"], pens[row["method"]].color)
        ax.set_title(f"{row['method']} · {row['network']}")
    caption = "Rank of the truth among the analysis members (the line: a perfect ensemble)."
    return [Picture(inline_svg(figure, "Rank histograms"), caption)]


def histogram(ax: Axes, shares: Sequence[float], color: str) -> None:
    """Draw one rank histogram."""
    ax.bar(range(len(shares)), np.asarray(shares) * len(shares), color=color, width=0.9)
    ax.axhline(1, color="#111111", linewidth=0.8)
    ax.set_ylim(bottom=0)
