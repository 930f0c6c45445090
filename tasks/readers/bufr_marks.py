"""Per cent confidences of BUFR values → marks: 0 none given, 1 good, 3 suspect, 4 rejected.

A confidence below 20 % rejects, one below 50 % makes suspect: the limits are ours. In ECMWF's archive
70 is the rule; 10 and 0 are what its own checks refused. A place, a pressure or a height that is bad
makes all values at it as bad.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR, element 0 33 007
"""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from tasks.bufr.blocks import Block
from tasks.readers.bufr_blocks import confidence
from tasks.readers.marks import worse

__all__ = ["GOOD_TO_BAD", "marks_of_codes", "place_marks"]

REJECTED_BELOW, SUSPECT_BELOW = 20.0, 50.0
GOOD_TO_BAD = (1, 3, 4)
PLACE = ((5001, 5002), (6001, 6002))
Marks = NDArray[np.int64]


def _marks(percent: NDArray[np.float64]) -> Marks:
    """Return the marks of confidences [%]; 0 where none is given."""
    with np.errstate(invalid="ignore"):
        return np.select(
            [np.isnan(percent), percent < REJECTED_BELOW, percent < SUSPECT_BELOW], [0, 4, 3], 1
        ).astype(np.int64)


def marks_of_codes(
    block: Block, quantities: Mapping[str, Iterable[int]], deep: bool
) -> dict[str, Marks]:
    """Return the marks of quantities, of those that have any; of a wind the worse of two."""
    found = {name: confidence(block, codes, deep) for name, codes in quantities.items()}
    marks = {name: _marks(percent) for name, percent in found.items() if percent is not None}
    if {"wind_speed", "wind_direction"} <= marks.keys():
        both = marks["wind_speed"], marks["wind_direction"]
        marks["wind_speed"] = worse(*both, GOOD_TO_BAD)
    return marks


def place_marks(block: Block) -> Marks:
    """Return the marks of latitude and longitude, the worse of two."""
    marks = np.zeros(block.rows, np.int64)
    for codes in PLACE:
        percent = confidence(block, codes, deep=False)
        if percent is not None:
            marks = worse(marks, _marks(percent), GOOD_TO_BAD[1:])
    return marks
