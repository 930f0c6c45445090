"""GNSS radio occultation in BUFR (template 3 10 026): bending angle and refractivity.

The profiles of temperature and humidity in it are retrieved with a forecast: no observations, so
they are not read. Of the bending angles that of frequency 0 is free of the ionosphere. Values whose
processing the provider calls not nominal (element 0 33 039) have the mark 4, rejected, the others 1.

References:
    | WMO, Manual on Codes I.2 (WMO-No. 306), flag table 0 33 039
    | ROM SAF (2021), WMO FM94 (BUFR) specification for radio occultation data,
    | SAF/ROM/METO/FMT/BUFR/001
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.observations.reports import Reports
from tasks.bufr.blocks import Block
from tasks.readers.account import Account
from tasks.readers.bufr_blocks import first, level_blocks, number

if TYPE_CHECKING:
    from tasks.readers.bufr import Place

__all__ = ["occultation_reports"]

FLAGS, WIDTH = 33039, 16
BAD_ANGLE, BAD_REFRACTIVITY = (1, 4, 5), (1, 4, 5, 6)
"""Bits, from the left and 1: whole profile, excess phase, bending angle, refractivity."""
FREQUENCY, IMPACT, BENDING, REFRACTIVITY, HEIGHT = 2121, 7040, 15037, 15036, 7007
Array = NDArray[np.float64]


def occultation_reports(
    block: Block, place: "Place", account: Account
) -> Iterator[tuple[Reports, str]]:
    """Yield the levels of bending angle and those of refractivity."""
    flags = number(block, FLAGS)
    for steps in block.blocks():
        for level, above in level_blocks(steps, frozenset({IMPACT}), frozenset({BENDING})):
            corrected = number(level, FREQUENCY) == 0
            other = int((~corrected & np.isfinite(number(level, BENDING))).sum())
            account.leave("other value", "bending angle of a single frequency: not read", other)
            level, above = level.take(np.flatnonzero(corrected)), above[corrected]
            values = {"bending_angle": number(level, BENDING)}
            values["impact_parameter"] = number(level, IMPACT)
            latitude, longitude = number(steps, 5001), number(steps, 6001)
            row = steps.parent[above]
            marks = _marks(flags, BAD_ANGLE)[row]
            yield _reports(place, row, values, marks, latitude[above], longitude[above]), "level"
        if steps.has(REFRACTIVITY):
            values = {"refractivity": number(steps, REFRACTIVITY)}
            values["height"] = number(steps, HEIGHT)
            marks = _marks(flags, BAD_REFRACTIVITY)[steps.parent]
            yield _reports(place, steps.parent, values, marks), "level"
        retrieved = first(steps, (12001, 13001), deep=False)
        if retrieved is not None:
            reason = "retrieved profile of a radio occultation: no observation"
            account.leave("other value", reason, int(np.isfinite(retrieved).sum()))


def _marks(flags: Array, bad: tuple[int, ...]) -> NDArray[np.int64]:
    """Return 4 where one of some bits is set, 1 where none is, 0 where there are no flags."""
    mask = sum(1 << (WIDTH - bit) for bit in bad)
    whole = np.nan_to_num(flags).astype(np.int64)
    marks: NDArray[np.int64] = np.where(np.isnan(flags), 0, np.where(whole & mask, 4, 1))
    return marks


def _reports(
    place: "Place",
    row: NDArray[np.int64],
    values: dict[str, Array],
    marks: NDArray[np.int64],
    latitude: Array | None = None,
    longitude: Array | None = None,
) -> Reports:
    return Reports(
        place.time[row],
        place.latitude[row] if latitude is None else latitude,
        place.longitude[row] if longitude is None else longitude,
        np.full(len(row), np.nan),
        place.type[row],
        place.station[row],
        np.zeros(len(row), bool),
        values,
        dict.fromkeys(("bending_angle", "refractivity"), marks),
    )
