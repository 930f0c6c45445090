"""Sections from the archive: maps of the last cycle, spectra, ranks of the truth."""

import pandas as pd

from tasks import report_scores
from tasks.report_fields import (
    BACKGROUND_ERROR,
    choose_fields,
    grid_of,
    has_state,
    maps_of,
    ranks_of,
    spectra_of,
    spread_evenly,
)
from tasks.report_maps import Grid, draw_field
from tasks.report_material import Material
from tasks.report_page import Figure, Section, count_of, time_name
from tasks.report_spectra import Spectra, draw_ranks, draw_spectra
from tasks.report_style import inline_png, inline_svg

__all__ = ["ensemble", "maps", "spectra"]

CYCLES = 12  # as many states are averaged in spectra and rank histograms


def published_times(material: Material) -> list[pd.Timestamp]:
    """Return the cycle times after the spin-up whose states are published, and true if known."""
    known = material.true_times
    times = [time for time in material.counted_times if known is None or time in known]
    return [time for time in times if has_state(material, time)]


def maps(material: Material, time: pd.Timestamp | None = None) -> Section:
    """Draw maps of one cycle, by default of the last."""
    key, title = "maps", "Maps"
    times = [time] if time is not None else published_times(material)[-1:]
    if not times or not has_state(material, times[0]):
        return Section(key, title, missing="No cycle has been published yet.")
    grid = grid_of(material.layout)
    cells = Grid(pd.array(grid.latitude).to_numpy(float), pd.array(grid.longitude).to_numpy(float))
    figures = []
    for field in choose_fields(material.layout):
        content = maps_of(material, field, times[0])
        name = f"{content.name}, {time_name(times[0])}"
        picture = inline_png(draw_field(content, cells), f"Maps of {name}")
        figures.append(
            Figure(
                picture, map_caption(BACKGROUND_ERROR in content.maps), name[0].upper() + name[1:]
            )
        )
    return Section(key, title, figures)


def map_caption(with_truth: bool) -> str:
    """Say what the maps of a field are."""
    if not with_truth:
        text = "The truth is not stored with the experiment, so its errors cannot be drawn. "
    else:
        text = "Background error + increment = analysis error, on one color scale. "
    return text + (
        "Circles: the used observations of this field, filled with O−B on the same scale (open "
        "circles: only other fields are observed there). Coastline: Natural Earth."
    )


def spectra(material: Material) -> Section:
    """Draw the zonal power spectra of states and errors."""
    key, title = "spectra", "Spectra"
    times = spread_evenly(published_times(material), CYCLES)
    if not times:
        return Section(key, title, missing="No cycle has been published yet.")
    curves = []
    for field in choose_fields(material.layout):
        name, (_, unit) = material.field_title(*field), material.unit(field.variable)
        curves.append(Spectra(name, unit, *spectra_of(material, field, times)))
    rows = (
        "30° to 60° on both hemispheres" if grid_of(material.layout).reaches_poles else "the grid"
    )
    caption = (
        f"Power by zonal wavenumber (waves around the globe), mean over the latitudes of {rows} "
        f"and over {count_of(len(times), 'cycle')}. An error as large as the truth at a scale means that "
        "nothing is known of it; an analysis below the truth has lost variance there."
    )
    if material.truth is None:
        caption += " The truth is not stored with the experiment."
    if "member" in material.layout.dims:
        caption += " Background and analysis are the means over the members, which are smoother."
    return Section(key, title, [Figure(inline_svg(draw_spectra(curves), title), caption)])


def ensemble(material: Material) -> Section | None:
    """Draw spread, skill, CRPS and rank histograms, if there are members."""
    spread = report_scores.ensemble(material)
    if spread is None:
        return None
    figures, histograms = [spread], {}
    times = spread_evenly(published_times(material), CYCLES)
    for field in choose_fields(material.layout) if times else ():
        ranks = ranks_of(material, field, times)
        if ranks is not None:
            histograms[material.field_title(*field)] = ranks
    if histograms:
        caption = (
            f"Rank of the truth among the members of the analysis, over all points and "
            f"{count_of(len(times), 'cycle')}, weighted by area. Flat (dashed) is reliable; a U says too little spread."
        )
        figures.append(Figure(inline_svg(draw_ranks(histograms), "Rank histograms"), caption))
    return Section("ensemble", "Ensemble", figures)
