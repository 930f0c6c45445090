"""Why a row is not used: one reason each, the first that was found."""

from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Reason", "Verdicts", "account"]

Rows = NDArray[np.bool_]


class Reason(StrEnum):
    """The reasons; their texts are in the column `reason` of the feedback."""

    NO_TIME = "time is missing"
    WINDOW = "time outside the window"
    NO_POSITION = "position is not finite"
    LATITUDE = "latitude beyond the poles"
    LONGITUDE = "longitude beyond 360 degrees"
    OUTSIDE = "position outside the grid"
    VARIABLE = "unknown variable"
    NO_LEVEL = "no level"
    LEVEL = "unknown level"
    LEVELS = "variable has no levels"
    PRESSURE = "pressure outside the levels"
    BELOW = "pressure below the model's surface"
    HEIGHT = "station far from the model's surface"
    NO_HEIGHT = "elevation is missing"
    NOT_FINITE = "value is not finite"
    SENTINEL = "value stands for a missing one"
    IMPOSSIBLE = "value is not plausible"
    PLACE = "pressure or elevation is not plausible"
    SATURATION = "humidity above saturation"
    ELEVATION = "pressure does not fit the elevation"
    BLOCKLIST = "on the blocklist"
    FLAG = "rejected by the provider"
    SUSPECT = "suspect for the provider"
    NO_ERROR = "error is not finite"
    WRONG_ERROR = "error is not positive"
    DUPLICATE = "duplicate"
    REPEATED = "another report of the station is nearer in time"
    CLIMATE = "far from the climatology"
    BACKGROUND = "far from the background"
    BUDDIES = "far from its neighbors"
    PARTNER = "other component of the wind is rejected"
    STATION = "too many values of its station are rejected"
    THINNED = "thinned"
    MERGED = "merged into a superobservation"
    WITHHELD = "withheld"


ORDER: tuple[str, ...] = ("", *Reason)


class Verdicts:
    """The reasons of the rows of one table; the first one stays."""

    def __init__(self, count: int) -> None:
        """Begin with no reason against any row."""
        self._codes = np.zeros(count, np.int16)
        self._texts = list(ORDER)

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Verdicts":
        """Go on with the reasons that a table has.

        Raises:
            ValueError: A row is neither used nor has a reason, or both.
        """
        verdicts = cls(len(table))
        reasons = table["reason"].to_numpy(object)
        if ((reasons == "") != table["used"].to_numpy(bool)).any():
            raise ValueError("a row must be used or have a reason why not, and not both")
        verdicts.reject_each(reasons)
        return verdicts

    @property
    def open(self) -> Rows:
        """The rows that nothing speaks against."""
        return np.asarray(self._codes == 0)

    def reject(self, rows: Rows, reason: Reason) -> None:
        """Reject those of some rows that nothing speaks against yet."""
        self._codes[rows & self.open] = ORDER.index(reason)

    def reject_each(self, reasons: NDArray[np.object_]) -> None:
        """Reject rows with reasons of their own; the empty text is none."""
        found, texts = pd.factorize(reasons)
        known = []
        for text in texts:
            if text not in self._texts:
                self._texts.append(str(text))
            known.append(self._texts.index(str(text)))
        new = np.asarray(known, np.int16)[found] if len(texts) else self._codes
        self._codes = np.where(self.open, new, self._codes)

    def on(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with the columns `used` and `reason`."""
        texts = pd.Series(pd.array(self._texts, dtype="str").take(self._codes), table.index)
        return table.assign(used=self.open, reason=texts)


def account(table: pd.DataFrame) -> pd.DataFrame:
    """Return the number of rows by type, variable and reason; of used rows that is empty."""
    keys = ["type", "variable", "reason"]
    counts = table.groupby(keys, observed=True, sort=True).size()
    return counts.rename("count").reset_index()
