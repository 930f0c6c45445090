"""The results of a benchmark as Markdown: for each experiment methods × networks.

A cell is the mean analysis error, and in brackets its ratio to the reference method's on the
analyses that both have with the interval of 99 %. An ensemble's second table has its CRPS and its
spread over error likewise. The cost of the methods comes last, if it was measured.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from configs.benchmark import Benchmark
from tasks.report_style import digits

__all__ = ["markdown"]

Row = Mapping[str, Any]


def markdown(
    benchmark: Benchmark, results: Sequence[Row], cost: Row | None = None, about: str = ""
) -> str:
    """Return the tables.

    Args:
        benchmark: What was compared.
        results: Rows of the summary.
        cost: What `tasks.benchmark_cost` measured.
        about: Which cases they are from.
    """
    experiments = dict.fromkeys((row["kind"], row["lead_hours"]) for row in results)
    parts = [f"# Benchmark {benchmark.name}", *([f"{about}."] if about else [])]
    for kind, lead in experiments:
        chosen = [row for row in results if (row["kind"], row["lead_hours"]) == (kind, lead)]
        title = "Cycled" if kind == "cycled" else f"Single analyses of {lead} h forecasts"
        parts += [f"## {title}", table(benchmark, chosen, error_cell)]
        ensembles = [row for row in chosen if "analysis_crps" in row]
        if ensembles:
            text = "CRPS, and spread over error of analysis and background"
            parts += [f"## {title}: {text}", table(benchmark, ensembles, ensemble_cell)]
    if cost is not None:
        parts += [f"## Cost of one analysis, {cost['machine']}", cost_table(cost["rows"])]
    return "\n\n".join(parts) + "\n"


def table(benchmark: Benchmark, rows: Sequence[Row], cell: Callable[[Row], str]) -> str:
    """Return one table, methods down and networks across."""
    cells = {(row["method"], row["network"]): cell(row) for row in rows}
    methods = [m for m in benchmark.methods if any(row["method"] == m for row in rows)]
    networks = [n for n in benchmark.networks if any(row["network"] == n for row in rows)]
    body = [[method, *(cells.get((method, n), "") for n in networks)] for method in methods]
    return lines_of(["method", *networks], body)


def cost_table(rows: Sequence[Row]) -> str:
    """Return seconds by stage, and memory."""
    stages = ["seconds", "denoiser", "encoder", "decoder", "operator", "solver"]
    body = [
        [row["method"], str(row["members"]), *(digits(row[name]) for name in stages)]
        for row in rows
    ]
    for line, row in zip(body, rows, strict=True):
        line.append(digits(row["peak_memory"] / 2**20))
    return lines_of(["method", "members", *stages, "memory [MiB]"], body)


def lines_of(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def error_cell(row: Row) -> str:
    """Return an error with its ratio."""
    return f"{digits(row['analysis'])}{ratio(row, 'ratio')}"


def ensemble_cell(row: Row) -> str:
    """Return CRPS with its ratio, and the spreads over the errors."""
    spreads = [digits(row[f"{name}_spread_over_error"]) for name in ("analysis", "background")]
    return f"{digits(row['analysis_crps'])}{ratio(row, 'crps_ratio')}, {' and '.join(spreads)}"


def ratio(row: Row, name: str) -> str:
    """Return ` (×RATIO, LOW–HIGH)`, less where there is less, nothing of the reference itself."""
    if row.get(name, 1) == 1:
        return ""
    if f"{name}_low" not in row:
        return f" (×{digits(row[name])})"
    return f" (×{digits(row[name])}, {digits(row[f'{name}_low'])}–{digits(row[f'{name}_high'])})"
