"""Maps of a cycle for the user interface: background, increment, observations; a field in a row.

The report's fields, units and coastline (`report_fields`, `report_maps`) as SVG text. Increment and
departures have one color scale, symmetric about zero; the background has its own.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from tasks.report_fields import Chosen, choose_fields, departures_at, grid_of, values
from tasks.report_maps import Box, Grid, coast_in, into_box
from tasks.report_style import MAP_COLORS, digits, display_unit
from tasks.svg import Canvas

__all__ = ["draw_maps"]

Array = NDArray[np.float64]
STATE_COLORS = "viridis"
WIDTH, MAP, GAP, BAR, TOP, FOOT = 1160, 320, 20, 70, 44, 14  # pixels
MOST = 600  # observations in a map
FLAT = 0.62  # highest map, height over width


def draw_maps(
    background: xr.Dataset, analysis: xr.Dataset, feedback: pd.DataFrame, title: str
) -> str:
    """Return the maps of a cycle as SVG.

    Args:
        background: State of one time (dims of the archive) [SI].
        analysis: State of the same time.
        feedback: Its observations with O-B.
        title: What the picture is called.
    """
    grid = grid_of(background)
    cells = Grid(np.asarray(grid.latitude, float), np.asarray(grid.longitude, float))
    fields = choose_fields(background)
    tall = round(MAP * min(cells.box.shape, FLAT))
    canvas = Canvas(WIDTH, len(fields) * (TOP + tall + FOOT), title)
    path = coast_path(cells.box, MAP, tall)
    style = 'fill="none" stroke="#333" stroke-width=".6"'
    canvas.raw(f'<defs><path id="coast" d="{path}" {style}/></defs>')
    for number, field in enumerate(fields):
        row = _Row(canvas, number * (TOP + tall + FOOT), tall, cells)
        row.draw(field, background, analysis, feedback)
    return canvas.svg()


class _Row:
    """One field's maps."""

    def __init__(self, canvas: Canvas, top: float, tall: float, grid: Grid) -> None:
        """Take a place on a canvas."""
        self.canvas, self.grid = canvas, grid
        self.top, self.tall = top + TOP, tall

    def draw(
        self, field: Chosen, background: xr.Dataset, analysis: xr.Dataset, feedback: pd.DataFrame
    ) -> None:
        """Draw background, increment and departures."""
        about = background[field.variable].attrs
        factor, unit = display_unit(str(about.get("units", "1")))
        x_b, x_a = (factor * values(ds, field) for ds in (background, analysis))
        seen = departures_at(feedback, field, factor).dropna()
        name = f"{about.get('long_name', '')} {field.variable}".strip()
        level = (
            str(background["level"].attrs.get("standard_name")) if "level" in background else ""
        )
        where = f"{field.level:g} hPa" if level == "air_pressure" else f"σ = {field.level:.2g}"
        heading = name + ("" if np.isnan(field.level) else f" at {where}") + f" [{unit}]"
        self.canvas.text(0, self.top - 26, heading[0].upper() + heading[1:], size=15, bold=True)
        low, high = (float(np.quantile(x_b, q)) for q in (0.005, 0.995))
        self.field(0, "background", x_b, STATE_COLORS, low, high)
        self.bar(MAP, STATE_COLORS, low, high)
        increment = x_a - x_b
        limit = float(np.quantile(np.abs(increment), 0.995)) or 1.0
        if len(seen):
            limit = max(limit, float(np.quantile(np.abs(seen["value"]), 0.9)))
        second = MAP + GAP + BAR
        self.field(
            second, "increment (analysis − background)", increment, MAP_COLORS, -limit, limit
        )
        third = second + MAP + GAP
        count = f"{len(seen):,}".replace(",", "\u202f")
        self.frame(third, f"observation − background, {count} used")
        self.departures(third, seen, limit)
        self.bar(third + MAP, MAP_COLORS, -limit, limit)

    def field(
        self, left: float, title: str, x: Array, colors: str, low: float, high: float
    ) -> None:
        """Draw a field with its coastline."""
        northward = self.grid.latitude[0] < self.grid.latitude[-1]
        shown = x[::-1] if northward else x
        place = left, self.top, MAP, self.tall
        self.canvas.cells(place, numbered(shown, low, high), color_table(colors))
        self.frame(left, title)

    def frame(self, left: float, title: str) -> None:
        """Draw coastline, frame and title of a map."""
        self.canvas.raw(f'<use href="#coast" x="{left:.1f}" y="{self.top:.1f}"/>')
        self.canvas.rectangle(left, self.top, MAP, self.tall, "none", "#555")
        self.canvas.text(left, self.top - 7, title)

    def departures(self, left: float, seen: pd.DataFrame, limit: float) -> None:
        """Draw a circle for each observation, or for some of very many."""
        shown = seen.iloc[:: max(1, -(-len(seen) // MOST))]
        box = self.grid.box
        x = into_box(shown["lon"].to_numpy(float), box.west) - box.west
        y = box.north - shown["lat"].to_numpy(float)
        colors = color_table(MAP_COLORS)[numbered(shown["value"].to_numpy(float), -limit, limit)]
        self.canvas.circles(
            left + x / (box.east - box.west) * MAP,
            self.top + y / (box.north - box.south) * self.tall,
            (f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors.tolist()),
            radius=2.6 if len(shown) > 200 else 3.4,
        )

    def bar(self, left: float, colors: str, low: float, high: float) -> None:
        """Draw a color bar with its ends and its middle."""
        scale = numbered(np.linspace(1, 0, 64)[:, None], 0.0, 1.0)
        self.canvas.cells((left + 8, self.top, 10, self.tall), scale, color_table(colors))
        for part in (0.0, 0.5, 1.0):
            y = self.top + (1 - part) * self.tall + 10 * part  # within the bar's ends
            value = low + part * (high - low)
            self.canvas.text(left + 22, y, digits(round(value, 12)), size=12)


@lru_cache(maxsize=4)
def color_table(name: str) -> NDArray[np.uint8]:
    """Return 256 colors, (256, 3)."""
    import matplotlib

    return np.asarray(matplotlib.colormaps[name](np.arange(256))[:, :3] * 255, np.uint8)


def numbered(x: Array, low: float, high: float) -> NDArray[np.uint8]:
    """Return the number of each value's color; that of NaN is the lowest."""
    part = np.nan_to_num((x - low) / ((high - low) or 1.0))
    return np.clip(part * 255, 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def coast_path(box: Box, width: float, height: float) -> str:
    """Return the coastline in a box as the path of an SVG, one number in three pixels."""
    scale = width / (box.east - box.west), height / (box.north - box.south)
    return "".join(filter(None, (_piece(line, box, scale) for line in coast_in(box))))


def _piece(line: Array, box: Box, scale: Sequence[float]) -> str:
    x, y = (line[:, 0] - box.west) * scale[0], (box.north - line[:, 1]) * scale[1]
    width, height = (box.east - box.west) * scale[0], (box.north - box.south) * scale[1]
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    path, last, is_down = [], (np.inf, np.inf), False
    for a, b, is_in in zip(x.tolist(), y.tolist(), inside.tolist(), strict=True):
        if not is_in:
            is_down = False
            continue
        if is_down and abs(a - last[0]) + abs(b - last[1]) < 1.5:
            continue
        path.append(f"{'L' if is_down else 'M'}{a:.0f} {b:.0f}")
        last, is_down = (a, b), True
    return "".join(path) if len(path) > 2 else ""
