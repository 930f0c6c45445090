"""Maps of one cycle: background error, increment, analysis error, and the observations.

On all maps of a field the color scale is the same, symmetric about zero, so that the panels add
up by eye: background error + increment = analysis error. The projection is equirectangular with
the cells of the grid drawn as they are. The longitudes of a map are those of its grid (0..360,
-180..180, or a region); the coastline is repeated at -360, 0 and +360 degrees and cut by the frame.

Coastline: Natural Earth 1:110m, public domain (https://www.naturalearthdata.com), in `coast.npz`
as (longitude, latitude) pairs with NaN between the lines.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from tasks.report_style import MAP_COLORS, WIDTH

OBSERVATIONS = "observations (observation − background)"
LEFT, GAP, RIGHT, TITLE, FOOT = 0.5, 0.5, 1.1, 0.3, 0.3  # inches around and between the maps
Array = NDArray[np.float64]


class Box(NamedTuple):
    """The edges of a map [degrees]."""

    west: float
    east: float
    south: float
    north: float

    @property
    def shape(self) -> float:
        """Height over width on paper: true at the box's mean latitude, global maps 1:2."""
        middle = 0.0 if self.north - self.south > 120 else (self.north + self.south) / 2
        return (self.north - self.south) / (self.east - self.west) / math.cos(math.radians(middle))


@dataclass(frozen=True)
class Grid:
    """Cell centers of a latitude-longitude grid [degrees]."""

    latitude: Array
    longitude: Array

    @property
    def edges(self) -> tuple[Array, Array]:
        """Cell edges, (longitude, latitude): midway between centers, within the poles."""
        return cell_edges(self.longitude), np.clip(cell_edges(self.latitude), -90.0, 90.0)

    @property
    def box(self) -> Box:
        """The edges of the whole grid."""
        longitude, latitude = self.edges
        return Box(longitude[0], longitude[-1], min(latitude), max(latitude))


@dataclass(frozen=True)
class FieldMaps:
    """What is drawn of one field: maps by title, departures where observed, and their unit."""

    name: str
    unit: str
    maps: Mapping[str, Array]
    departures: pd.DataFrame  # columns lon, lat, value; value is NaN where only the place is known


def cell_edges(centers: Array) -> Array:
    """Return the n + 1 edges of n cells from their centers."""
    middle = (centers[1:] + centers[:-1]) / 2
    return np.concatenate([[2 * centers[0] - middle[0]], middle, [2 * centers[-1] - middle[-1]]])


@lru_cache(maxsize=1)
def coast_lines() -> tuple[Array, ...]:
    """Return the world's coastline as polylines of (longitude, latitude) [degrees]."""
    with np.load(io.BytesIO((files("tasks") / "coast.npz").read_bytes())) as archive:
        points = archive["xy"].astype(np.float64)
    pieces = np.split(points, np.flatnonzero(np.isnan(points[:, 0])))
    kept = (piece[~np.isnan(piece[:, 0])] for piece in pieces)
    return tuple(piece for piece in kept if len(piece) > 1)


def coast_in(box: Box) -> list[Array]:
    """Return copies of the coastline, shifted by whole turns, that reach into a box."""
    turns = [np.array([turn, 0.0]) for turn in (-360.0, 0.0, 360.0)]
    lines = (line + turn for turn in turns for line in coast_lines())
    return [line for line in lines if reaches(line, box)]


def reaches(line: Array, box: Box) -> bool:
    """Tell whether the bounding box of a polyline touches a box."""
    (west, south), (east, north) = line.min(axis=0), line.max(axis=0)
    across = west <= box.east and east >= box.west
    return bool(across and south <= box.north and north >= box.south)


def into_box(longitude: Array, west: float) -> Array:
    """Shift longitudes by whole turns into [west, west + 360)."""
    return west + np.mod(longitude - west, 360.0)


def color_limit(field: FieldMaps) -> float:
    """Return the common color limit: what 99.5 % of the cells of every map stay within."""
    limits = [float(np.quantile(np.abs(values), 0.995)) for values in field.maps.values()]
    return max(limits, default=0.0) or 1.0


def draw_field(field: FieldMaps, grid: Grid) -> Figure:
    """Draw the maps of one field, two in a row, with one color bar for all."""
    titles = [*field.maps, *([OBSERVATIONS] if len(field.departures) else [])]
    width = (WIDTH - LEFT - GAP - RIGHT) / 2
    height = width * min(grid.box.shape, 0.9)
    total = math.ceil(len(titles) / 2) * (height + TITLE + FOOT) + 0.05
    figure = Figure(figsize=(WIDTH, total))
    scale = Normalize(-color_limit(field), color_limit(field))
    for number, title in enumerate(titles):
        row, column = divmod(number, 2)
        left, base = LEFT + column * (width + GAP), total - (row + 1) * (height + TITLE + FOOT)
        place = (left / WIDTH, (base + FOOT) / total, width / WIDTH, height / total)
        axes = figure.add_axes(place)
        if title in field.maps:
            axes.pcolormesh(*grid.edges, field.maps[title], cmap=MAP_COLORS, norm=scale)
        else:
            draw_departures(axes, field.departures, scale, grid.box.west)
        frame(axes, title, grid.box)
    place = ((WIDTH - 0.9) / WIDTH, FOOT / total, 0.15 / WIDTH, 1 - (FOOT + TITLE) / total)
    bar = figure.add_axes(place)
    figure.colorbar(
        ScalarMappable(scale, MAP_COLORS), cax=bar, extend="both", label=f"[{field.unit}]"
    )
    return figure


def draw_departures(axes: Axes, table: pd.DataFrame, scale: Normalize, west: float) -> None:
    """Draw observations where they are, filled with the departure's color where it is known."""
    places = into_box(table["lon"].to_numpy(np.float64), west), table["lat"]
    size = float(np.clip(6000 / max(len(table), 1), 5, 30))
    known = table["value"].notna().to_numpy()
    axes.scatter(
        places[0][~known], places[1][~known], s=size, facecolors="none", edgecolors="#222222",
        linewidths=0.6,
    )  # fmt: skip
    axes.scatter(
        places[0][known], places[1][known], s=size, c=table["value"][known], cmap=MAP_COLORS,
        norm=scale, edgecolors="#222222", linewidths=0.4,
    )  # fmt: skip


def frame(axes: Axes, title: str, box: Box) -> None:
    """Add the coastline, the title and the degrees around a map."""
    axes.add_collection(LineCollection(coast_in(box), colors="#333333", linewidths=0.55))
    axes.set(xlim=(box.west, box.east), ylim=(box.south, box.north))
    axes.set_title(title)
    axes.grid(visible=False)
    axes.spines[:].set_visible(True)
    for axis, span, suffix in (
        (axes.xaxis, box.east - box.west, "EW"),
        (axes.yaxis, 2 * (box.north - box.south), "NS"),
    ):
        axis.set_major_locator(MultipleLocator(60 if span > 120 else 10 if span > 40 else 5))
        axis.set_major_formatter(FuncFormatter(lambda value, _, ends=suffix: degrees(value, ends)))


def degrees(value: float, ends: str) -> str:
    """Write a latitude (`ends` "NS") or a longitude ("EW") as people do."""
    value = value if ends == "NS" else (value + 180) % 360 - 180
    if value in (0, -180):
        return f"{abs(value):g}°"
    return f"{abs(value):g}°{ends[0] if value > 0 else ends[1]}"
