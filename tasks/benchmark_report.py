"""The results of a benchmark: one long table, a summary, and a page.

DIRECTORY/benchmark.parquet   all rows of all cases
DIRECTORY/benchmark.csv       one row for each method on each network
DIRECTORY/benchmark.json      the same, with the configuration
DIRECTORY/benchmark.md        tables in Markdown
DIRECTORY/benchmark.html      tables and plots
DIRECTORY/cost.json           cost of the methods, if it was measured (`tasks.benchmark_cost`)
"""

import io
import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from configs.benchmark import Benchmark
from tasks.benchmark_case import case_rows
from tasks.benchmark_cost import read_cost
from tasks.benchmark_markdown import markdown
from tasks.benchmark_page import benchmark_page
from tasks.benchmark_plan import cases
from tasks.benchmark_summary import summary
from tasks.report_page import render
from tasks.report_style import STYLE
from tasks.store import write_bytes

__all__ = ["write_results"]


def write_results(benchmark: Benchmark, directory: str) -> dict[str, Any]:
    """Write everything from the cases that are there, and return the summary."""
    folder = Path(directory)
    tables = [case_rows(case, str(folder / "cases" / case.name)) for case in cases(benchmark)]
    rows = pd.concat([table for table in tables if len(table)], ignore_index=True)
    found = summary(benchmark, rows)
    buffer = io.BytesIO()
    rows.to_parquet(buffer, index=False, compression="zstd")
    write_bytes(str(folder / "benchmark.parquet"), buffer.getvalue())
    flat = pd.DataFrame(found).drop(columns=RANKS, errors="ignore")
    write_bytes(str(folder / "benchmark.csv"), flat.to_csv(index=False).encode())
    cost = read_cost(benchmark, directory)
    write_bytes(str(folder / "benchmark.md"), markdown(benchmark, found, cost).encode())
    document = {
        "benchmark": benchmark.model_dump(mode="json", exclude_none=True),
        "results": found,
        "cost": cost,
        "page": str(folder / "benchmark.html"),
    }
    text = json.dumps(document, indent=1)
    write_bytes(str(folder / "benchmark.json"), text.encode())
    with matplotlib.rc_context(STYLE):
        page = benchmark_page(benchmark, found, rows, cost)
    write_bytes(str(folder / "benchmark.html"), render(page).encode())
    return document


RANKS = ["background_ranks", "analysis_ranks"]
