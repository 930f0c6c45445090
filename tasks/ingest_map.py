"""A map of what was read: the used observations by report type, the rejected ones by reason.

A place is drawn once for each type or reason, where at least one of its values is used or rejected.
An address that ends in .html gets a self-contained page with the counts beside it, any other a PNG.
"""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from models.grid import LatLonGrid
from tasks.report_maps import Box, frame, into_box
from tasks.report_style import PALETTE, STYLE, WIDTH, inline_svg
from tasks.store import write_bytes

__all__ = ["draw_map", "write_map"]

WORLD = Box(-180.0, 180.0, -90.0, 90.0)
TOP, FOOT, LEFT, RIGHT, LEGEND = 0.35, 0.35, 0.5, 0.25, 0.45
MOST = len(PALETTE) - 1
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 1160px; margin: 24px auto; padding: 0 16px; color: #222 }}
svg {{ width: 100%; height: auto }}
table {{ border-collapse: collapse; margin: 16px 0; display: block; overflow-x: auto }}
th, td {{ padding: 2px 8px; text-align: right; border-bottom: 1px solid #e3e3e3; font-size: 13px;
  white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left }}
</style>
<h1>{title}</h1>
{figure}
{tables}
</html>
"""


def write_map(address: str, table: pd.DataFrame, title: str, grid: LatLonGrid | None) -> None:
    """Draw the map of a judged table and write it.

    Args:
        address: Where to; .html or .png.
        table: Observations with `used` and `reason`.
        title: What they are.
        grid: The grid that they are for; without one the whole world is drawn.
    """
    with matplotlib.rc_context(STYLE):
        figure = draw_map(table, box_of(grid))
        if address.endswith((".html", ".htm")):
            picture = inline_svg(figure, title) if len(table) < 5000 else _picture(figure, title)
            page = PAGE.format(title=Markup.escape(title), figure=picture, tables=_tables(table))
            data = page.encode()
        else:
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=130)
            data = buffer.getvalue()
    write_bytes(address, data, durable=False)


def box_of(grid: LatLonGrid | None) -> Box:
    """Return the part of the world that is drawn: a region with a margin, or all of it."""
    if grid is None or grid.wraps:
        return WORLD
    south, north = min(grid.latitude), max(grid.latitude)
    west, east = grid.longitude[0], grid.longitude[-1]
    margin = 0.1 * max(north - south, east - west)
    return Box(west - margin, east + margin, max(south - margin, -90), min(north + margin, 90))


def draw_map(table: pd.DataFrame, box: Box) -> Figure:
    """Draw used and rejected observations on two maps below each other."""
    width = WIDTH - LEFT - RIGHT
    height = width * min(box.shape, 0.75)
    each = TOP + LEGEND + height + FOOT
    figure = Figure(figsize=(WIDTH, 2 * each))
    used = table["used"].to_numpy(bool)
    parts = (
        (f"{number_of(used)} values are used, by report type", table[used], "type"),
        (f"{number_of(~used)} values are rejected, by reason", table[~used], "reason"),
    )
    for number, (title, rows, column) in enumerate(parts):
        base = (1 - number) * each + FOOT
        place = (LEFT / WIDTH, base / (2 * each), width / WIDTH, height / (2 * each))
        axes = figure.add_axes(place)
        handles = scatter(axes, rows, column, box)
        frame(axes, title, box)
        axes.set_title(axes.get_title(loc="left"), loc="left", pad=34)
        axes.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=4,
            borderaxespad=0.2,
            handletextpad=0.2,
            columnspacing=1.2,
            fontsize=8.5,
        )
    return figure


def number_of(rows: NDArray[np.bool_]) -> str:
    """Write how many rows there are."""
    return f"{int(rows.sum()):,}".replace(",", "\u202f")


def scatter(axes: Axes, rows: pd.DataFrame, column: str, box: Box) -> list[Line2D]:
    """Draw the places of some rows, the rarest group on top; return the keys of the legend."""
    counts = rows[column].value_counts()
    names = list(counts.index[:MOST])
    groups = [(str(name), [name]) for name in names]
    if len(counts) > MOST:
        groups.append((f"{len(counts) - MOST} others", list(counts.index[MOST:])))
    parts = [rows[rows[column].isin(members)] for _, members in groups]
    drawn = [own[["lon", "lat"]].round(2).drop_duplicates().dropna() for own in parts]
    above = np.argsort(np.argsort([-len(places) for places in drawn]))
    handles = []
    for number, ((label, _), own, places) in enumerate(zip(groups, parts, drawn, strict=True)):
        size = float(np.clip(9000 / max(len(places), 1), 1.5, 16))
        axes.scatter(
            into_box(places["lon"].to_numpy(np.float64), box.west),
            places["lat"],
            s=size,
            c=PALETTE[number],
            linewidths=0,
            zorder=2 + int(above[number]),
        )
        text = f"{label} ({len(own):,})".replace(",", "\u202f")
        marker = {"marker": "o", "linestyle": "", "markersize": 5}
        handles.append(Line2D([], [], color=PALETTE[number], label=text, **marker))  # type: ignore[arg-type]
    return handles


def _picture(figure: Figure, title: str) -> Markup:
    """Return the figure as a picture: thousands of dots are smaller so than as SVG."""
    import base64

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Markup('<img style="width:100%" alt="{}" src="data:image/png;base64,{}">').format(
        title, data
    )


def _tables(table: pd.DataFrame) -> Markup:
    used = table["used"].to_numpy(bool)
    counts = pd.crosstab(table["type"], table["variable"])
    taken = pd.crosstab(table["type"][used], table["variable"][used]).reindex_like(counts)
    rows = [
        [name, *(f"{int(t)}/{c}" if c else "" for t, c in zip(ts, cs, strict=True))]
        for name, ts, cs in zip(
            counts.index, taken.fillna(0).to_numpy(), counts.to_numpy(), strict=True
        )
    ]
    reasons = table.loc[~used, "reason"].value_counts()
    left = [[str(name), str(count)] for name, count in reasons.items()]
    return _html(["used / read", *counts.columns], rows) + _html(["rejected", "values"], left)


def _html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in header)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in rows
    )
    return Markup("<table><tr>{}</tr>{}</table>").format(head, body)
