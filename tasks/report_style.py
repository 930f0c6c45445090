"""The look of the report: colors, units for people, digits, and figures as self-contained HTML.

One meaning has one color in every figure. The colors are those of Okabe and Ito (2008, Color
Universal Design, https://jfly.uni-koeln.de/color/); every source also has a line style of its own.
Figures are matplotlib's object-oriented `Figure`s, laid out in inches, 100 screen pixels to the
inch: no pyplot, so no global state, and no layout engine, which would cost more than the drawing.
"""

import base64
import io
import math
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

MAP_COLORS = "RdBu_r"
WIDTH = 11.6  # inches; 1160 pixels of a page 1200 wide
STYLE: dict[Any, Any] = {  # matplotlib types its keys as a union of 300 literals
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "figure.dpi": 100,
    "svg.fonttype": "none",  # text stays text: searchable, and a third of the size
    "path.simplify_threshold": 0.3,
}


Line = Literal["-", "--", ":"]


class Pen(NamedTuple):
    """How one source of states is drawn in every figure."""

    label: str
    color: str
    line: Line


PENS = {
    "free": Pen("free run (no assimilation)", "#6b6b6b", "--"),
    "background": Pen("background", "#d55e00", "-"),
    "analysis": Pen("analysis", "#0072b2", "-"),
    "forecast": Pen("forecast from the analysis", "#009e73", "-"),
    "truth": Pen("truth", "#111111", "-"),
}
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d1f", "#444444")
DISPLAY = {  # SI unit in the files: (factor, unit for people)
    "Pa": (0.01, "hPa"),
    "kg kg-1": (1000.0, "g/kg"),
    "m s-1": (1.0, "m/s"),
    "m2 s-2": (1.0, "m²/s²"),
    "1": (1.0, ""),
}


def display_unit(unit: str) -> tuple[float, str]:
    """Return the factor and the name that turn an SI unit into one that people read."""
    return DISPLAY.get(unit, (1.0, unit))


def digits(value: float | None, count: int = 3) -> str:
    """Write a number with `count` significant digits and a true minus sign, a dash if missing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = count - 1 - math.floor(math.log10(abs(value)))
    if not -3 <= places <= 6:
        return f"{value:.{count - 1}e}".replace("-", "−")
    return f"{round(value, places):,.{max(places, 0)}f}".replace(",", "\u202f").replace("-", "−")


def fixed(value: float, places: int) -> str:
    """Write a number with a given number of decimals and a true minus sign."""
    return f"{value:.{max(places, 0)}f}".replace("-", "−") if math.isfinite(value) else "–"


def panels(
    count: int, columns: int = 3, height: float = 2.1, left: float = 0.62, top: float = 0.62
) -> tuple[Figure, list[Axes]]:
    """Lay out small multiples, filled row by row, with room for a legend on top."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    bottom, right, gap = 0.42, 0.25, 0.72
    total = top + rows * height + (rows - 1) * gap + bottom
    figure = Figure(figsize=(WIDTH, total))
    step = (WIDTH - right) / columns
    axes = []
    for number in range(count):
        row, column = divmod(number, columns)
        base = total - top - (row + 1) * height - row * gap
        box = ((left + column * step) / WIDTH, base / total)
        axes.append(figure.add_axes((*box, (step - left) / WIDTH, height / total)))
    return figure, axes


def legend(
    figure: Figure, pens: Sequence[Pen], left: float = 0.5, columns: int | None = None
) -> None:
    """Put one legend for all panels at the top of the figure, `left` inches from its edge."""
    handles = [Line2D([], [], color=p.color, linestyle=p.line, linewidth=2) for p in pens]
    anchor = (left / WIDTH, 1 - 0.02 / figure.get_figheight())
    labels, ncols = [p.label for p in pens], columns or len(pens)
    figure.legend(handles, labels, loc="upper left", bbox_to_anchor=anchor, ncols=ncols)


def inline_svg(figure: Figure, title: str) -> Markup:
    """Return the figure as an SVG element that can stand in a page beside others."""
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same names in every figure, used by none
    head, body = svg[svg.index("<svg") :].split(">", 1)
    match = re.search(r'viewBox="[^"]*"', head)
    box = match.group(0) if match else ""
    label = Markup.escape(title)
    # the tags below hold only what matplotlib drew; the title is escaped
    return Markup(f'<svg {box} role="img" aria-label="{label}">') + Markup(body)


@cache
def palette() -> NDArray[np.int64]:
    """Return the colors of maps and 56 shades of gray, black and white among them, (256, 3)."""
    colors = matplotlib.colormaps[MAP_COLORS](np.linspace(0, 1, 200))[:, :3]
    grays = np.linspace(0, 1, 56)[:, None].repeat(3, axis=1)
    return np.asarray((np.concatenate([grays, colors]) * 255).round(), np.int64)


def indexed(picture: NDArray[np.int64]) -> Image.Image:
    """Return (row, column, rgb) as an image in the palette's nearest colors."""
    shift = np.array([65536, 256, 1])
    packed, place = np.unique(picture @ shift, return_inverse=True)
    colors = packed[:, None] // shift % 256
    distance = (palette() ** 2).sum(1) - 2 * colors @ palette().T
    nearest = distance.argmin(1).astype(np.uint8)
    image = Image.fromarray(nearest[place].reshape(picture.shape[:2]), "P")
    image.putpalette(palette().astype(np.uint8).tobytes())
    return image


def inline_png(figure: Figure, title: str, dpi: int = 130) -> Markup:
    """Return the figure as an image element with its data inside.

    It has 256 colors, those of maps and grays: a third of the bytes of true color.
    """
    raw, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="rgba", dpi=dpi)
    width = int(figure.get_figwidth() * dpi)
    pixels = np.frombuffer(raw.getvalue(), np.uint8).reshape(-1, width, 4)[..., :3]
    indexed(pixels.astype(np.int64)).save(buffer, "png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(title, data)
