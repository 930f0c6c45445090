"""Curves of the report's chosen fields: zonal power spectra and rank histograms."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from tasks.report_style import PENS, Pen, legend, panels

Array = NDArray[np.float64]
CURVES = {
    "truth": PENS["truth"],
    "background": PENS["background"],
    "analysis": PENS["analysis"],
    "background error": Pen("background error", PENS["background"].color, "--"),
    "analysis error": Pen("analysis error", PENS["analysis"].color, "--"),
}


class Spectra(NamedTuple):
    """Power by zonal wavenumber of one field; `unit` is that of the field."""

    title: str
    unit: str
    wavenumber: Array
    power: Mapping[str, Array]


def draw_spectra(spectra: Sequence[Spectra]) -> Figure:
    """Draw the power spectra of fields side by side, both axes logarithmic."""
    figure, axes = panels(len(spectra), height=2.9)
    for ax, one in zip(axes, spectra, strict=True):
        for name, pen in CURVES.items():
            if name in one.power:
                # neither the mean nor an absent wave has a place on logarithmic axes
                power = one.power[name][1:]
                power = np.where(power > 1e-9 * power.max(), power, np.nan)
                ax.plot(
                    one.wavenumber[1:], power, color=pen.color, linestyle=pen.line, linewidth=1.6
                )
        logarithmic(ax, one)
        ax.set_title(one.title)
        ax.set_ylabel(f"power [({one.unit})²]" if "/" in one.unit else f"power [{one.unit}²]")
    legend(figure, [pen for name, pen in CURVES.items() if any(name in s.power for s in spectra)])
    return figure


def logarithmic(ax: Axes, one: Spectra) -> None:
    """Scale both axes; powers far below the smallest error (round-off) are cut."""
    ax.set(xscale="log", yscale="log", xlabel="zonal wavenumber")
    powers = np.concatenate([power[1:] for power in one.power.values()])
    present = powers[powers > 1e-7 * powers.max()]
    if len(present):
        ax.set_ylim(present.min() / 2, present.max() * 2)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))


def power_of_ten(value: float) -> str:
    """Write a decade as 10 with a superscript, as plain text."""
    exponent = round(np.log10(value)) if value > 0 else 0
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def draw_ranks(histograms: Mapping[str, Array]) -> Figure:
    """Draw rank histograms; the line is what exchangeable members give."""
    figure, axes = panels(len(histograms), height=2.0)
    for ax, (title, frequency) in zip(axes, histograms.items(), strict=True):
        ax.bar(range(len(frequency)), frequency, width=0.9, color=PENS["analysis"].color)
        ax.axhline(1 / len(frequency), color="#222222", linestyle="--", linewidth=1)
        ax.set_title(title)
        ax.set_xlabel("rank of the truth among the members")
    axes[0].set_ylabel("frequency")
    return figure
