"""The provider's own quality control, from the column `quality`; its meaning depends on the format.

| format | rejected | suspect |
|---|---|---|
| PREPBUFR (rows with a report code of NCEP) | marks 4 to 15 | 3 |
| BUFR | 4 (confidence below 20 %) | 3 (below 50 %) |
| MADIS | X, Q (failed a stage), B (reject list) | I (interpolated) |
| ISD | 3, 7 (erroneous) | 2, 6 (suspect) |
| IODA | 4 to 15, as NCEP's | 3 |
| ODB | bits rejected (4), blocklisted (8) of datum_status | passive (2) |

IGRA removes what its checks reject, METAR as CSV has no key to its bits: nothing there is judged.

References:
    | NCEP, BUFR/PREPBUFR code table of quality markers,
    | https://www.emc.ncep.noaa.gov/mmb/data_processing/prepbufr.doc/table_7.htm
    | NOAA NCEP MADIS, Quality control, https://madis.ncep.noaa.gov/madis_qc.shtml
    | NOAA NCEI (2018), Federal Climate Complex data documentation for integrated surface data
    | ECMWF, ODB governance, datum_status
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["flagged", "suspects"]

Rows = NDArray[np.bool_]
Marks = NDArray[np.int64]
NCEP = "ncep"
REJECTED: dict[str, frozenset[int]] = {
    NCEP: frozenset(range(4, 16)),
    "bufr": frozenset((4,)),
    "madis": frozenset((4, 5, 7)),
    "isd": frozenset((3, 7)),
    "ioda": frozenset(range(4, 16)),
}
SUSPECT: dict[str, frozenset[int]] = {
    NCEP: frozenset((3,)),
    "bufr": frozenset((3,)),
    "madis": frozenset((8,)),
    "isd": frozenset((2, 6)),
    "ioda": frozenset((3,)),
}

REJECTED_BITS, SUSPECT_BITS = {"odb": 0b1100}, {"odb": 0b0010}


def flagged(table: pd.DataFrame) -> Rows:
    """Tell which rows their provider rejected."""
    return _marked(table, REJECTED, REJECTED_BITS)


def suspects(table: pd.DataFrame) -> Rows:
    """Tell which rows their provider calls suspect."""
    return _marked(table, SUSPECT, SUSPECT_BITS)


def _marked(table: pd.DataFrame, marks: dict[str, frozenset[int]], bits: dict[str, int]) -> Rows:
    codes, names = pd.factorize(table["source"])
    form = np.array([str(name).partition(":")[0] for name in names] + [""], object)[codes]
    if "report_code" in table:
        form = np.where(table["report_code"].fillna(0).to_numpy() > 0, NCEP, form)
    quality = table["quality"].to_numpy(np.int64)
    found = np.zeros(len(table), bool)
    for name, bad in marks.items():
        found |= (form == name) & np.isin(quality, list(bad))
    for name, mask in bits.items():
        found |= (form == name) & (quality & mask != 0)
    return found
