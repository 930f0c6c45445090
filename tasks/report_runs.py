"""Sections on how the experiment ran: cost function, observations, seconds, configuration."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import yaml

from tasks import report_monitoring as monitoring
from tasks.experiment import STAGES
from tasks.report_curves import running_note
from tasks.report_material import Material
from tasks.report_page import Figure, Section, Table
from tasks.report_style import digits, fixed, inline_svg

__all__ = ["configuration", "cost", "observations", "plain", "timings"]


def cost(material: Material) -> Section:
    """Draw the cost function of the analyses."""
    key, title = "cost", "Cost function"
    traces = material.traces
    if traces.empty or "step" not in traces or not monitoring.cost_terms(traces):
        return Section(key, title, missing="The method left no trace of a cost function.")
    late = traces[traces["cycle_time"].map(material.is_counted).astype(bool)]
    if {"J_b", "J_o"} <= set(late) and "J" not in late:
        late = late.assign(J=late["J_b"] + late["J_o"])
    used = material.departures.through_time()["used"].groupby(level="cycle_time").sum()
    expected = float(used[used.index.map(material.is_counted)].median()) / 2 if len(used) else None
    figure = monitoring.cost_by_step(late, expected)
    caption = (
        "Terms of the cost function J = J_b + J_o at the end of every reverse step of the "
        "diffusion, in the analyses after the spin-up. J_o is half the sum of squared departures "
        "over their error variance. If prior and observations have the errors that are assumed, "
        "the minimum of J is about half the number of observations (dotted; Talagrand 1999)."
    )
    return Section(key, title, [Figure(inline_svg(figure, title), caption)])


def observations(material: Material) -> Section:
    """Draw and tabulate the departures."""
    key, title = "observations", "Observations"
    table = material.departures.through_time()
    if table.empty:
        return Section(key, title, missing="No feedback on observations has been published.")
    names = list(table.index.get_level_values("variable").unique())
    scales = {name: material.unit(name)[0] for name in names}
    titles = {name: f"{material.title(name)} [{material.unit(name)[1]}]" for name in names}
    note = running_note(table.index.get_level_values("cycle_time").nunique())
    departures = monitoring.departures_through_time(table, titles, scales)
    chi2 = monitoring.counts_and_chi2(table)
    figures = [
        Figure(
            inline_svg(departures, "Departures"),
            "Observation minus background and observation minus analysis of the used observations "
            "in every cycle, all levels together: standard deviation and mean." + note,
        ),
        Figure(
            inline_svg(chi2, "Chi-square and counts"),
            "Left: mean of (O−B)² / (σ_o² + σ_b²) per variable, with the background error σ_b that "
            "the check of the observations assumed. Right: number of observations in every cycle."
            + note,
        ),
    ]
    return Section(key, title, figures, [departure_table(material), rejection_table(material)])


def departure_table(material: Material) -> Table:
    """Tabulate counts, departures and chi2 after the spin-up."""
    header = [
        "variable",
        "used",
        "rejected",
        "O−B mean",
        "O−B std",
        "O−A mean",
        "O−A std",
        "χ²",
        "unit",
    ]
    rows = []
    for name, row in material.departures.by_variable(material.spin_up_end).iterrows():
        factor, unit = material.unit(str(name))
        names = ["o_minus_b_mean", "o_minus_b_std", "o_minus_a_mean", "o_minus_a_std"]
        departures = [digits(row[column] * factor) for column in names]
        counts = [grouped(row[column]) for column in ("used", "rejected")]
        rows.append([material.title(str(name)), *counts, *departures, digits(row["chi2"]), unit])
    return Table(header, rows, "Observations after the spin-up, all levels together.")


def rejection_table(material: Material) -> Table:
    """Tabulate the reasons for rejection in all cycles."""
    counts = material.departures.rejected.sort_values(ascending=False).head(30)
    table = counts.rename("count").reset_index()
    rows = [
        [material.title(str(row["variable"])), str(row["reason"]), grouped(row["count"])]
        for _, row in table.iterrows()
    ]
    caption = "Rejected observations of all cycles by reason, spin-up included."
    none = [["none", "every observation was used", "0"]]
    return Table(["variable", "reason", "count"], rows or none, caption, labels=2)


def grouped(count: float) -> str:
    """Write a whole number with its thousands apart."""
    return f"{int(count):,}".replace(",", "\u202f")


def seconds_of(material: Material) -> pd.DataFrame:
    """Return seconds by cycle time (rows), stage and part (columns)."""
    rows = [
        (commit.cycle_time, commit.stage, part, seconds)
        for commit in material.commits
        for part, seconds in commit.seconds.items()
    ]
    table = pd.DataFrame(rows, columns=["cycle_time", "stage", "part", "seconds"])
    return table.pivot_table("seconds", "cycle_time", ["stage", "part"], aggfunc="sum")


def timings(material: Material) -> Section:
    """Draw and tabulate the seconds of every stage."""
    key, title = "timings", "Timings"
    table = seconds_of(material)
    if table.empty:
        return Section(key, title, missing="No stage has been committed yet.")
    stages = table.T.groupby(level="stage").sum().T
    known = [name for name in STAGES if name in stages]
    stages = stages[[*known, *(name for name in stages if name not in known)]]
    figure = monitoring.seconds_through_time(stages)
    caption = (
        "Seconds that the stages of every cycle took, by their commits. A cycle may have waited "
        "for work that is done once, such as loading the components or a block of the nature run."
    )
    picture = Figure(inline_svg(figure, title), caption)
    return Section(key, title, [picture], [timing_table(table, stages)])


def timing_table(parts: pd.DataFrame, stages: pd.DataFrame) -> Table:
    """Tabulate the median, the maximum and the share of every stage and its parts."""
    total = stages.to_numpy().sum()
    rows = []
    for stage in stages.columns:
        rows.append([str(stage), "all", *cells(stages[stage], total)])
        own = parts.loc[:, stage]
        largest = sorted(own.columns, key=lambda part: -float(own[part].sum()))
        rows += [["", str(part), *cells(own[part], total)] for part in largest]
    rows.append(["cycle", "all", *cells(stages.sum(axis=1), total)])
    header = ["stage", "part", "median [s]", "maximum [s]", "share"]
    return Table(
        header, rows, "Seconds of a cycle by stage and part, of the cycles that had it.", labels=2
    )


def cells(series: pd.Series, total: float) -> list[str]:
    """Write median, maximum and share of the total."""
    share = 100 * float(series.sum()) / total if total else np.nan
    return [fixed(float(series.median()), 3), fixed(float(series.max()), 3), f"{share:.0f} %"]


def configuration(material: Material) -> Section:
    """Tabulate the configuration, the digests of the components and the versions."""
    settings = [[key, plain(value)] for key, value in material.configuration.items()]
    digests = [[name, str(digest)[:16]] for name, digest in material.components.items()]
    tables = [Table(["setting", "value"], settings, labels=2)]
    if digests:
        tables.append(Table(["component", "digest (SHA-256)"], digests, labels=2))
    if material.commits:
        last = material.commits[-1]
        rows = [[name, version] for name, version in last.versions.items()] + [["host", last.host]]
        tables.append(Table(["package", "version"], rows, "Of the last commit.", labels=2))
    folded = yaml.safe_dump(dict(material.configuration), sort_keys=False, allow_unicode=True)
    return Section("configuration", "Configuration", tables=tables, folded=folded)


def plain(value: object) -> str:
    """Write a value of the configuration in a line; the kind of a choice comes first."""
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k} {plain(v)}" for k, v in value.items() if k != "kind")
        kind = str(value.get("kind", ""))
        return f"{kind} ({rest})" if kind and rest else kind or rest
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return str(value)
