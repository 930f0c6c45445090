"""Departures and cost function of a cycle for the user interface, as SVG text.

left     RMS and bias of O-B over the RMS that was expected, by source and variable
middle   O-B over its expected standard deviation, how often, and the normal distribution
right    the terms of the cost function at the end of each step, on a logarithmic axis
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.departures import departure_sums, statistics
from tasks.report_observations import column
from tasks.report_style import PENS, digits
from tasks.svg import Canvas

__all__ = ["draw_departures"]

WIDTH, PANEL, GAP, TOP, TALL, FOOT = 1160, 340, 70, 50, 210, 44  # pixels
REACH, BINS = 4.0, 32
COST = {"J_b": "#e69f00", "J_o": "#009e73", "J": "#111111"}
COLORS = {name: PENS[name].color for name in ("background", "analysis")}
MOST = 12  # rows


def draw_departures(feedback: pd.DataFrame, trace: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return the departures of a cycle, and its cost function if there is one, as SVG.

    Args:
        feedback: Every observation of the cycle with `used`, `o_minus_b` and `o_minus_a`.
        trace: What the method says of its steps.
        title: What the picture is called.
    """
    canvas = Canvas(WIDTH, TOP + TALL + FOOT, title)
    draw_ratios(canvas, 0, statistics(departure_sums(feedback)))
    draw_histogram(canvas, PANEL + GAP, feedback)
    draw_cost(canvas, 2 * (PANEL + GAP), trace)
    return canvas.svg()


def heading(canvas: Canvas, left: float, title: str, keys: Mapping[str, str]) -> None:
    """Write a panel's title and what its colors mean."""
    canvas.text(left, 15, title, size=14, bold=True)
    x = left
    for name, color in keys.items():
        canvas.rectangle(x, 29, 14, 4, color)
        canvas.text(x + 19, 36, name, size=12)
        x += 32 + 6.9 * len(name)


def draw_ratios(canvas: Canvas, left: float, table: pd.DataFrame) -> None:
    """Draw a bar for each source and variable; 1 is what was expected."""
    keys = {"RMS of O−B": COLORS["background"], "bias": "#1c1c1c", "expected": "#888"}
    heading(canvas, left, "O−B over the expected √(HBHᵀ + R)", keys)
    known = table[table["expected"] > 0]
    shown = known[known["used"] > 0].sort_values("used", ascending=False, kind="stable")[:MOST]
    if not len(shown):
        canvas.text(left, TOP + 24, "no observation was used", color="#555")
        return
    rms, bias = (shown[name] / shown["expected"] for name in ("rms", "bias"))
    reach = max(1.3, 1.1 * float(rms.max()))
    label, high = 130, min(TALL / len(shown), 34)
    scale = (PANEL - label - 36) / reach
    several = shown.index.get_level_values("source").nunique() > 1
    for number, (source, variable) in enumerate(shown.index):
        y = TOP + number * high
        name = f"{source} {variable}" if several else str(variable)
        canvas.text(left, y + high / 2 + 5, f"{name} ({shown['used'].iloc[number]:.0f})")
        x = left + label
        canvas.rectangle(x, y + 4, rms.iloc[number] * scale, high - 10, COLORS["background"])
        canvas.rectangle(x, y + high / 2 - 3, abs(bias.iloc[number]) * scale, 4, "#1c1c1c")
        ratio = f"{rms.iloc[number]:.2f}"
        canvas.text(left + PANEL, y + high / 2 + 4, ratio, size=12, anchor="end")
    x = left + label + scale
    canvas.line([(x, TOP), (x, TOP + high * len(shown))], "#888", dashes="4 3")
    canvas.text(x, TOP + high * len(shown) + 16, "1", size=12, anchor="middle")


def draw_histogram(canvas: Canvas, left: float, feedback: pd.DataFrame) -> None:
    """Draw how often the departures have each size, and how often they should."""
    used = feedback["used"].to_numpy(bool)
    names = "o_minus_b", "o_minus_a", "background_error", "error"
    b, a, sigma_b, sigma_o = (column(feedback, name, used)[used] for name in names)
    sigma = np.hypot(sigma_o, sigma_b)
    keys = {"O−B": COLORS["background"], "O−A": COLORS["analysis"], "expected of O−B": "#888"}
    heading(canvas, left, "Departures over the expected deviation", keys)
    edges = np.linspace(-REACH, REACH, BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    curves = {}
    for x, color in ((b, COLORS["background"]), (a, COLORS["analysis"])):
        finite = (x / sigma)[np.isfinite(x / sigma)]
        if len(finite):
            counts = np.histogram(np.clip(finite, -REACH, REACH), edges)[0]
            curves[color] = counts / len(finite) / (edges[1] - edges[0])
    normal = np.exp(-(middle**2) / 2) / math.sqrt(2 * math.pi)
    top = 1.05 * max(float(y.max()) for y in [normal, *curves.values()])

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x + REACH) / (2 * REACH) * PANEL, TOP + (1 - y / top) * TALL

    axis(canvas, left, [(v, f"{v:g}".replace("-", "−")) for v in (-4, -2, 0, 2, 4)], place)
    canvas.line([place(x, y) for x, y in zip(middle, normal, strict=True)], "#888", dashes="4 3")
    for color, values in curves.items():
        canvas.line([place(x, y) for x, y in zip(middle, values, strict=True)], color, width=2)


def axis(canvas: Canvas, left: float, ticks: Sequence[tuple[float, str]], place: Any) -> None:  # noqa: ANN401
    """Draw the lower axis of a panel."""
    canvas.line([(left, TOP + TALL), (left + PANEL, TOP + TALL)], "#555", width=1)
    for value, text in ticks:
        x, _ = place(value, 0.0)
        canvas.line([(x, TOP + TALL), (x, TOP + TALL + 4)], "#555", width=1)
        canvas.text(x, TOP + TALL + 18, text, size=12, anchor="middle")


def draw_cost(canvas: Canvas, left: float, trace: Sequence[Mapping[str, Any]]) -> None:
    """Draw the terms of the cost function by step."""
    rows = pd.DataFrame(list(trace))
    if {"J_b", "J_o"} <= set(rows) and "J" not in rows:
        rows["J"] = rows["J_b"] + rows["J_o"]
    terms = [name for name in COST if name in rows and (rows[name] > 0).any()]
    heading(canvas, left, "Cost function by step", {name: COST[name] for name in terms})
    if not terms or "step" not in rows:
        canvas.text(left, TOP + 24, "the method left no trace of one", color="#555")
        return
    table = rows.groupby("step")[terms].mean()
    table = table.where(table > 0)
    low, high = math.log10(table.min().min()), math.log10(table.max().max())
    low, high = low - 0.08, max(high, low + 0.3) + 0.12
    first, last = float(table.index.min()), float(table.index.max())
    span = (last - first) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        part = (x - first) / span if last > first else 0.5
        height = (math.log10(y) - low) / (high - low) if y > 0 else 0.0
        return left + 20 + part * (PANEL - 76), TOP + (1 - height) * TALL

    every = max(1, -(-len(table) // 8))
    axis(canvas, left, [(float(s), f"{s:g}") for s in table.index[::every]], place)
    canvas.text(left + PANEL / 2, TOP + TALL + 36, "step", size=12, anchor="middle")
    lowest = TOP + TALL + 14.0
    ends = {name: table[name].dropna().iloc[-1] for name in terms}
    for name in sorted(terms, key=ends.__getitem__):
        known = table[name].dropna()
        points = [place(*point) for point in zip(known.index, known, strict=True)]
        canvas.line(points, COST[name], width=2)
        dots = points if len(points) <= 16 else points[-1:]
        canvas.circles([x for x, _ in dots], [y for _, y in dots], [COST[name]] * len(dots), 3.4)
        x, y = points[-1]
        last_value = digits(float(known.iloc[-1]))
        lowest = min(y + 4, lowest - 14)  # one above the other
        canvas.text(x + 8, lowest, last_value, size=12, color=COST[name])
