"""Pictures of the embedded world: zonal means, snapshots, the seasons and the growth of errors."""

from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.normalization import Statistics
from models.state import embedded_spec
from models.world.realism import (
    LARGE,
    SEASONS,
    SMALL,
    Climate,
    jets,
    monthly_mean,
    transient_deviation,
    zonal_mean,
)
from models.world.tables import Array
from tasks.report_style import PALETTE, STYLE

__all__ = ["draw_pictures"]

DPI = 110
SECTIONS = (
    ("u", "zonal wind [m/s]", 1.0, np.arange(-60.0, 61, 5), "RdBu_r"),
    ("t", "temperature [K]", 1.0, np.arange(190.0, 306, 5), "viridis"),
    ("q", "specific humidity [g/kg]", 1e3, np.arange(0.0, 18.1, 1), "YlGnBu"),
)
EDDIES = ("transient eddies of v [m/s]", np.arange(0.0, 25.5, 1.5), "magma_r")
SHOWN = (
    ("u@0.2", "zonal wind, σ = 0.20 [m/s]", 1.0, "RdBu_r"),
    ("t@0.835", "temperature, σ = 0.835 [K]", 1.0, "viridis"),
    ("q@0.835", "humidity, σ = 0.835 [g/kg]", 1e3, "YlGnBu"),
    ("sp", "surface pressure anomaly [hPa]", 1e-2, "RdBu_r"),
)
GROWTH = {
    "v@0.2": "northward wind, σ = 0.20",
    "u@0.51": "eastward wind, σ = 0.51",
    "t@0.51": "temperature, σ = 0.51",
    "q@0.835": "specific humidity, σ = 0.835",
    "sp": "surface pressure",
}


def draw_pictures(folder: Path, climate: Climate, statistics: Statistics, growth: Array) -> None:
    """Draw all pictures of a climate and of normalized errors (day, field) as PNG."""
    with matplotlib.rc_context(STYLE):
        figures = {
            "zonal_means": draw_sections(climate),
            "snapshots": draw_snapshots(climate, statistics),
            "seasons": draw_seasons(climate),
            "error_growth": draw_growth(growth),
        }
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})


def field_number(name: str) -> int:
    """Return the number of a field of the embedded world by its name."""
    return embedded_spec().field_names.index(name)


def draw_sections(climate: Climate) -> Figure:
    """Draw latitude–height sections, one row for each season at hand."""
    seasons = {s: m for s, m in SEASONS.items() if len(climate.within(m))}
    figure = Figure(figsize=(15, 3.6 * max(len(seasons), 1)), layout="constrained")
    panels = figure.subplots(max(len(seasons), 1), 4, squeeze=False, sharex=True, sharey=True)
    for row, (season, months) in zip(panels, seasons.items(), strict=False):
        for axes, (variable, title, factor, levels, colors) in zip(row, SECTIONS, strict=False):
            section = zonal_mean(climate, variable, months) * factor
            axes.set_title(f"{season}: {title}")
            draw_section(axes, climate.latitude, section, levels, colors)
        title, levels, colors = EDDIES
        row[3].set_title(f"{season}: {title}")
        eddies = transient_deviation(climate, "v", months)
        draw_section(row[3], climate.latitude, eddies, levels, colors)
        row[0].set_ylabel("σ = p / p$_s$")
    return figure


def draw_section(
    axes: Axes, latitude: Array, section: Array, levels: Array, colors: str
) -> QuadContourSet:
    """Draw one section with its color bar, the ground at the bottom."""
    sigma = [f.level for f in embedded_spec().fields[: len(section)]]
    beyond: Literal["both", "max"] = "max" if levels[0] == 0 else "both"
    filled = axes.contourf(latitude, sigma, section, levels, cmap=colors, extend=beyond)
    axes.contour(latitude, sigma, section, levels[::2], colors="#00000055", linewidths=0.4)
    axes.set(ylim=(0.95, 0.025), xticks=range(-60, 61, 30))
    axes.set_xticklabels(["60°S", "30°S", "0°", "30°N", "60°N"])
    axes.get_figure().colorbar(filled, ax=axes, pad=0.02)  # type: ignore[union-attr]
    return filled


def draw_snapshots(climate: Climate, statistics: Statistics) -> Figure:
    """Draw the weather of two days half a year apart."""
    places = [len(climate.times) // 24, len(climate.times) * 13 // 24]
    figure = Figure(figsize=(14, 12.5), layout="constrained")
    panels = figure.subplots(len(SHOWN), 2, sharex=True, sharey=True)
    for row, (name, title, factor, colors) in zip(panels, SHOWN, strict=True):
        field = field_number(name)
        maps = climate.x[places, field]
        if name == "sp":
            maps = maps - statistics.climatology(climate.times[places])[:, field].numpy()
        levels = color_levels(maps * factor, colors)
        for axes, x, time in zip(row, maps * factor, climate.times[places], strict=True):
            filled = draw_map(axes, climate, x, levels, colors)
            axes.set_title(f"{time:%d %B %H} UTC: {title}")
        figure.colorbar(filled, ax=row, pad=0.01, shrink=0.9)
    return figure


def draw_map(axes: Axes, climate: Climate, x: Array, levels: Array, colors: str) -> QuadContourSet:
    """Draw one map of values with the outline of the model's land."""
    longitude = np.linspace(0, 360, x.shape[1] + 1)
    closed, land = (np.concatenate([z, z[:, :1]], 1) for z in (x, climate.land))
    filled = axes.contourf(longitude, climate.latitude, closed, levels, cmap=colors, extend="both")
    axes.contour(longitude, climate.latitude, land, [0.5], colors="k", linewidths=0.8)
    axes.set(xticks=range(0, 361, 60), yticks=range(-60, 61, 30), ylim=(-86, 86))
    axes.set_xticklabels(["0°", "60°E", "120°E", "180°", "120°W", "60°W", "0°"])
    axes.set_yticklabels(["60°S", "30°S", "0°", "30°N", "60°N"])
    axes.grid(visible=False)
    return filled


def color_levels(maps: Array, colors: str) -> Array:
    """Return some 20 round levels that hold 99 % of the values, symmetric if diverging."""
    low, high = np.quantile(maps, [0.005, 0.995])
    if colors == "RdBu_r":
        high = max(-low, high)
        low = -high
    return np.asarray(MaxNLocator(20, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def draw_seasons(climate: Climate) -> Figure:
    """Draw temperature near the ground and the jets, month by month."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    north = np.clip((climate.latitude[:, None] - 45) * (70 - climate.latitude[:, None]), 0, 1)
    south, tropics = north[::-1], (abs(climate.latitude[:, None]) < 20) * 1.0
    belts = {
        "land, 45–70° N": climate.land * north,
        "sea, 45–70° N": (1 - climate.land) * north,
        "tropics, 20° S–20° N": np.broadcast_to(tropics, climate.land.shape),
        "sea, 45–70° S": (1 - climate.land) * south,
    }
    field = field_number("t@0.95")
    for color, (name, weights) in zip(PALETTE, belts.items(), strict=False):
        series = monthly_mean(climate, field, weights)
        left.plot(series.index, series, color=color, marker="o", markersize=3, label=name)
    months = sorted(set(climate.times.month))
    for color, name in zip(PALETTE, ("north", "south"), strict=False):
        speeds = [jets(climate, (month,))[name][0] for month in months]
        label = f"{name}ern hemisphere"
        right.plot(months, speeds, color=color, marker="o", markersize=3, label=label)
    left.set(title="temperature at σ = 0.95 [K]", xlabel="month")
    right.set(title="zonal-mean jet [m/s]", xlabel="month", ylim=(0, None))
    for axes in (left, right):
        axes.set_xticks(range(1, 13))
        axes.legend(loc="best", fontsize=8)
    return figure


def draw_growth(growth: Array) -> Figure:
    """Draw normalized errors of twins by day."""
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for color, (name, label) in zip(PALETTE, GROWTH.items(), strict=False):
        error = growth[:, field_number(name)]
        axes.semilogy(np.where(error > 5e-4, error, np.nan), color=color, label=label)
    axes.axhspan(SMALL, LARGE, color="#eeeeee", zorder=0, label="range of the fit")
    title = "growth of an error of 0.01 K at every point"
    axes.set(title=title, xlabel="day", ylabel="error / saturation", ylim=(None, 1.5))
    axes.legend(loc="lower right", fontsize=8.5)
    return figure
