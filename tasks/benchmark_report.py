"""The results of a benchmark: one long table, a summary, and a page.

DIRECTORY/benchmark.parquet   all rows of all cases
DIRECTORY/cases.parquet       the cases that are whole (`tasks.benchmark_published`)
DIRECTORY/benchmark.csv       one row for each method on each network
DIRECTORY/benchmark.json      the same, with the configuration
DIRECTORY/benchmark.md        tables in Markdown
DIRECTORY/benchmark.html      tables and plots
DIRECTORY/cost.json           cost of the methods, if it was measured (`tasks.benchmark_cost`)
"""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from configs.benchmark import Benchmark
from tasks.benchmark_case import case_rows, to_parquet
from tasks.benchmark_cost import read_cost
from tasks.benchmark_markdown import markdown
from tasks.benchmark_page import benchmark_page
from tasks.benchmark_plan import cases
from tasks.benchmark_published import CASES, ROWS, folder_of, published
from tasks.benchmark_summary import summary
from tasks.report_page import render
from tasks.report_style import STYLE
from tasks.store import write_bytes

__all__ = ["write_results"]


def write_results(benchmark: Benchmark, directory: str) -> dict[str, Any]:
    """Write everything from the cases that are there, and return the summary."""
    folder = Path(directory)
    planned = cases(benchmark)
    tables = [case_rows(case, str(folder_of(case, directory))) for case in planned]
    rows = pd.concat([table for table in tables if len(table)], ignore_index=True)
    whole = published(planned, directory)
    rows = rows.astype({"value": "float32"})
    write_bytes(str(folder / ROWS), to_parquet(rows))
    write_bytes(str(folder / CASES), to_parquet(whole))
    found = summary(benchmark, rows.astype({"value": "float64"}))
    about = provenance(whole, len(planned))
    flat = pd.DataFrame(found).drop(columns=RANKS, errors="ignore")
    write_bytes(str(folder / "benchmark.csv"), flat.to_csv(index=False).encode())
    cost = read_cost(benchmark, directory)
    write_bytes(str(folder / "benchmark.md"), markdown(benchmark, found, cost, about).encode())
    document = {
        "benchmark": benchmark.model_dump(mode="json", exclude_none=True),
        "about": about,
        "results": found,
        "cost": cost,
        "page": str(folder / "benchmark.html"),
    }
    text = json.dumps(document, indent=1)
    write_bytes(str(folder / "benchmark.json"), text.encode())
    with matplotlib.rc_context(STYLE):
        page = benchmark_page(benchmark, found, rows, cost, about)
    write_bytes(str(folder / "benchmark.html"), render(page).encode())
    return document


def provenance(whole: pd.DataFrame, planned: int) -> str:
    """Say how many cases are whole and which versions of `models` made them."""
    counts = whole["code"].value_counts()
    made = [f"{str(code)[:12]} ({count})" for code, count in counts.items()]
    return f"{len(whole)} of {planned} cases, made by code {', '.join(made) or '–'}"


RANKS = ["background_ranks", "analysis_ranks"]
