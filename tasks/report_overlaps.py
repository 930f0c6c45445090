"""The section on the overlaps of streams: how far they are apart, and whether spin-ups were long."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator

from tasks import store
from tasks.overlaps import ALL, LIMIT, OVERLAPS, in_words, verdicts
from tasks.report_curves import error_axis
from tasks.report_material import Material
from tasks.report_page import Figure, Section, Table, count_of
from tasks.report_style import PALETTE, Pen, digits, inline_svg, legend, panels
from tasks.tables import read_table

__all__ = ["overlaps"]

Verdict = dict[str, Any]
SHOWN = 8  # streams with a curve of their own


def overlaps(material: Material) -> Section | None:
    """Draw and tabulate the overlaps; nothing if the archive is not joined from streams."""
    address = store.join(material.root, OVERLAPS)
    if not store.exists(address):
        return None
    table, key, title = read_table(address), "overlaps", "Overlaps of the streams"
    if table.empty:
        return Section(key, title, missing="There is one stream.")
    found = verdicts(table)
    caption = (
        "Mean square difference of the analyses of two streams in the cycles that both have, "
        "the spin-up of the later one, in units of the climatological variance. "
        f"Thin: {LIMIT:g} of the analysis error, what it should have come down to. "
    )
    if len(found) > SHOWN:
        caption += f"Drawn: the {SHOWN} streams that are furthest apart at the end. "
    told = sentence(found) if len(found) > SHOWN else " ".join(f"{t}." for t in in_words(found))
    told = told[:1].upper() + told[1:]
    picture = Figure(inline_svg(curves(material, table), title), caption + told)
    return Section(key, title, [picture], [summary(material, found)])


def sentence(found: list[Verdict]) -> str:
    """Say how many spin-ups were long enough."""
    known = [one["long_enough"] for one in found if one["long_enough"] is not None]
    if not known:
        return "Without a truth it cannot be told whether the spin-up was long enough."
    spin_ups = count_of(len(known), "spin-up")
    if all(known):
        return f"All of {spin_ups} were long enough." if len(known) > 1 else "It was long enough."
    return f"{known.count(False)} of {spin_ups} {'was' if len(known) == 1 else 'were'} too short."


def curves(material: Material, table: pd.DataFrame) -> Picture:
    """Draw the difference against the cycle of the spin-up, a panel for each variable."""
    names = [name for name in material.titles if name in set(table["variable"])]
    figure, axes = panels(len(names))
    last = table[(table["variable"] == ALL) & (table["cycle"] == table["cycle"].max())]
    shown = sorted(last.nlargest(SHOWN, "difference")["stream"])
    pens = {stream: Pen(stream, PALETTE[n], "-") for n, stream in enumerate(shown)}
    for ax, name in zip(axes, names, strict=True):
        for stream, pen in pens.items():
            own = (table["variable"] == name) & (table["stream"] == stream)
            rows = table[own].sort_values("cycle")
            marker = "o" if len(rows) < 3 else ""
            ax.plot(rows["cycle"], rows["difference"], color=pen.color, marker=marker)
            ax.plot(rows["cycle"], LIMIT * rows["error"], color=pen.color, linewidth=0.6)
        ax.set_xlabel("cycle of the spin-up")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        error_axis(ax)
        ax.set_title(material.titles[name])
    legend(figure, list(pens.values()))
    return figure


def summary(material: Material, found: list[Verdict]) -> Table:
    """Tabulate the last cycle of each spin-up by variable; of many streams only the worst one."""
    header = ["stream", "variable", "difference", "analysis error", "ratio", "long enough"]
    rows = []
    for one in found:
        names = [ALL, one["worst"]] if len(found) > SHOWN else [*one["variables"]]
        for number, name in enumerate(filter(None, names)):
            values = one["variables"][name]
            numbers = [digits(values[key]) for key in ("difference", "error", "ratio")]
            known = values["ratio"] is not None and name != ALL
            verdict = ("yes" if values["ratio"] <= LIMIT else "no") if known else ""
            stream = "" if number else one["stream"]
            rows.append([stream, material.titles.get(name, name), *numbers, verdict])
    caption = (
        "The last cycle of each spin-up: difference of the two streams' analyses and error of the "
        "earlier stream's, in units of the climatological variance, and their ratio. "
        f"Long enough: the ratio is at most {LIMIT:g} for every variable."
    )
    return Table(header, rows, caption, labels=2)
