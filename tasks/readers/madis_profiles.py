"""MADIS soundings (raob) and wind profilers: columns of levels → one report a level.

In soundings the dew point is a depression, and the first mandatory level is the surface.
The observation time of some soundings is a day late (23 UTC of the evening for 00 UTC: the day was not
turned back); where it is more than half a day behind the synoptic time, a day is taken off.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.observations.conversions import GRAVITY
from models.observations.reports import Reports
from tasks.readers.account import Account
from tasks.readers.marks import worse
from tasks.readers.netcdf import Seen, flags, si, strings, times, values

__all__ = ["profiler_reports", "sounding_reports"]

Array = NDArray[np.float64]
KINDS = {
    "pr": ("pressure", "pressure"),
    "ht": ("height", "length"),
    "tp": ("temperature", "temperature"),
    "td": ("depression", "temperature"),
    "wd": ("wind_direction", "direction"),
    "ws": ("wind_speed", "speed"),
}
PARTS = ("Man", "SigT", "SigW", "Trop", "MaxW")
LATE = np.timedelta64(12, "h")


def sounding_reports(variables: Seen, part: slice, account: Account) -> Iterator[Reports]:
    """Yield the mandatory and significant levels, the tropopauses and the wind maxima."""
    synoptic, release = times(variables["synTime"], part), times(variables["relTime"], part)
    with np.errstate(invalid="ignore"):
        late = release - synoptic > LATE
    time = np.where(late, release - np.timedelta64(24, "h"), release)
    time = np.where(np.isnat(time), synoptic, time)
    account.leave("other value", "release time a day late: turned back", int(late.sum()))
    latitude, longitude = values(variables["staLat"], part), values(variables["staLon"], part)
    elevation = values(variables["staElev"], part)
    number = values(variables["wmoStaNum"], part)
    station = np.where(
        np.isnan(number),
        strings(variables["staName"], part),
        np.array([f"{n:05.0f}" for n in number], object),
    )
    for ending in PARTS:
        levels = {
            name: si(variables[short + ending], part, kind)
            for short, (name, kind) in KINDS.items()
            if short + ending in variables
        }
        reported = np.any([np.isfinite(column) for column in levels.values()], axis=0)
        above, _ = np.nonzero(reported)
        own = {name: column[reported] for name, column in levels.items()}
        yield Reports(
            time[above],
            latitude[above],
            longitude[above],
            elevation[above],
            np.full(len(above), "temp", object),
            station[above],
            np.full(len(above), False),
            _sounding_values(own),
        )


def _sounding_values(own: dict[str, Array]) -> dict[str, Array]:
    depression = own.pop("depression", None)
    if depression is not None:
        own["dewpoint"] = own["temperature"] - depression
    if "pressure" in own and "height" in own:
        own["geopotential"] = own.pop("height") * GRAVITY
    return own


def profiler_reports(
    variables: Seen,
    part: slice,
    account: Account,
    letters: Sequence[str],
    good_to_bad: Sequence[int],
) -> Reports:
    """Return the winds of profilers; their levels are heights above the station."""
    u, v = si(variables["uComponent"], part, "speed", "m/s"), values(variables["vComponent"], part)
    marks = worse(
        flags(variables["uComponentDD"], part, letters),
        flags(variables["vComponentDD"], part, letters),
        good_to_bad,
    )
    height = si(variables["levels"], part, "length")
    elevation = values(variables["staElev"], part)
    reported = np.isfinite(u) | np.isfinite(v)
    above, _ = np.nonzero(reported)
    upward = int(np.isfinite(values(variables["wComponent"], part)).sum())
    account.leave("other value", "vertical wind: no variable of the table", upward)
    return Reports(
        times(variables["timeObs"], part)[above],
        values(variables["staLat"], part)[above],
        values(variables["staLon"], part)[above],
        elevation[above],
        np.full(len(above), "profiler", object),
        strings(variables["staName"], part)[above],
        np.full(len(above), False),
        {"u": u[reported], "v": v[reported], "height": height[reported] + elevation[above]},
        {"u": marks[reported]},
    )
