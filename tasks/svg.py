"""Pictures as SVG text: a fraction of matplotlib's time, sharp at any size, and small.

For what is drawn in each cycle while the next one waits for the processor. Positions are pixels
from the upper left corner; the font is the page's.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Canvas", "data_address"]

Anchor = Literal["start", "middle", "end"]
Bytes = NDArray[np.uint8]
MARGIN = 14  # pixels
FONT = "system-ui,'Segoe UI','DejaVu Sans',Verdana,Arial,sans-serif"


@dataclass
class Canvas:
    """Elements of a picture, in the order in which they are drawn.

    Attributes:
        width: Width without the margins [pixels].
        height: Height without the margins [pixels].
        title: What it shows, for those who cannot see it.
    """

    width: int
    height: int
    title: str
    elements: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        bold: bool = False,
        anchor: Anchor = "start",
        color: str = "#1c1c1c",
    ) -> None:
        """Write words on a baseline."""
        weight = ' font-weight="600"' if bold else ""
        self.elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{weight} text-anchor="{anchor}" '
            f'fill="{color}">{escape(words)}</text>'
        )

    def rectangle(
        self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none"
    ) -> None:
        """Draw a rectangle."""
        self.elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
            f'height="{max(height, 0):.1f}" fill="{fill}" stroke="{edge}"/>'
        )

    def circles(
        self, x: Iterable[float], y: Iterable[float], colors: Iterable[str], radius: float
    ) -> None:
        """Draw circles with thin dark edges."""
        pairs = zip(x, y, colors, strict=True)
        circles = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius:g}" fill="{color}"/>'
            for a, b, color in pairs
        )
        self.elements.append(f'<g stroke="#222" stroke-width=".4">{circles}</g>')

    def line(
        self,
        points: Sequence[tuple[float, float]],
        color: str,
        *,
        width: float = 1.6,
        dashes: str = "",
    ) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"'
            f"{style}/>"
        )

    def cells(
        self, place: tuple[float, float, float, float], cells: Bytes, palette: Bytes
    ) -> None:
        """Draw the cells of a grid.

        Args:
            place: Left, top, width and height [pixels].
            cells: Number of each cell's color, (row, column), the first row on top.
            palette: Colors, (256, rgb).
        """
        x, y, width, height = place
        image, buffer = Image.fromarray(cells, "P"), io.BytesIO()
        image.putpalette(palette.tobytes())
        image.save(buffer, "png")
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        self.elements.append(
            f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            'preserveAspectRatio="none" style="image-rendering:pixelated" '
            f'href="data:image/png;base64,{data}"/>'
        )

    def raw(self, element: str) -> None:
        """Add an element that is SVG already."""
        self.elements.append(element)

    def svg(self) -> str:
        """Return the picture."""
        left, top = -MARGIN, -MARGIN
        width, height = self.width + 2 * MARGIN, self.height + 2 * MARGIN
        size = f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img">'
        title = f"<title>{escape(self.title)}</title>"
        paper = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="#fff"/>'
        return "".join([head, title, paper, *self.elements, "</svg>"])


def data_address(svg: str) -> str:
    """Return an address that holds the picture itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")
