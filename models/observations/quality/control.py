"""The chain of checks: first without the background, then with it.

    screen_reports      what a table alone tells: when and where, values, lists, duplicates
    screen_departures   what the background and the neighbors tell, and thinning at the end

Each row ends with `used`, or with the first reason against it in `reason`; the rows stay as many and
in their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.observations.quality.blocklist import Block, blocked
from models.observations.quality.buddies import BuddySettings, judge
from models.observations.quality.departures import far_from, of_bad_stations, without_partner
from models.observations.quality.duplicates import duplicated, repeated
from models.observations.quality.flags import flagged, suspects
from models.observations.quality.reasons import Reason, Verdicts
from models.observations.quality.thinning import (
    ThinningSettings,
    superobservations,
    thinned,
)
from models.observations.quality.values import (
    impossible_places,
    impossible_values,
    sentinels,
    supersaturated,
    unfitting_pressures,
)

__all__ = ["ControlSettings", "Moment", "screen_departures", "screen_reports"]

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]
Check = Callable[[pd.DataFrame], Rows]
CHECKS: tuple[tuple[Reason, Check], ...] = (
    (Reason.NOT_FINITE, lambda table: ~np.isfinite(table["observation"].to_numpy(np.float64))),
    (Reason.SENTINEL, lambda table: sentinels(table["observation"].to_numpy(np.float64))),
    (Reason.PLACE, impossible_places),
    (Reason.IMPOSSIBLE, impossible_values),
    (Reason.SATURATION, supersaturated),
    (Reason.ELEVATION, unfitting_pressures),
)
CONFIRMED = 2.0
"""With neighbors on its side a departure may be so many times as large."""


@dataclass(frozen=True)
class ControlSettings:
    """What is refused.

    Attributes:
        flags: Whether what the provider rejected is refused.
        suspects: Whether what the provider calls suspect is refused too.
        blocklist: What nobody wants to use.
        repeated: Whether one report of each station is enough for a window.
        climatology: Allowed number of standard deviations of O minus climatology; None: any.
        background: Allowed number of standard deviations of O-B; None: any.
        buddies: How neighbors judge; None: not at all.
        stations: Part of a station's values whose rejection rejects the others; None: no part.
        thinning: How dense observations may be.
    """

    flags: bool = True
    suspects: bool = False
    blocklist: Sequence[Block] = ()
    repeated: bool = True
    climatology: float | None = 8.0
    background: float | None = 5.0
    buddies: BuddySettings | None = field(default_factory=BuddySettings)
    stations: float | None = 0.2
    thinning: ThinningSettings = field(default_factory=ThinningSettings)


@dataclass(frozen=True)
class Moment:
    """The window of a cycle.

    Attributes:
        after: Times must be later than this, UTC.
        until: Last time, UTC.
        compared_at: Times at which observations are compared with the background.
    """

    after: pd.Timestamp
    until: pd.Timestamp
    compared_at: Sequence[pd.Timestamp]

    def offset(self, times: pd.Series) -> Array:
        """Return the distance of each time from the nearest one of comparison [s]."""
        own = times.to_numpy("datetime64[ns]")
        apart = [
            np.abs((own - np.datetime64(time, "ns")) / np.timedelta64(1, "s"))
            for time in self.compared_at
        ]
        return np.asarray(np.min(apart, axis=0), np.float64)


def screen_reports(
    table: pd.DataFrame,
    settings: ControlSettings,
    moment: Moment | None = None,
    unobservable: NDArray[np.object_] | None = None,
) -> pd.DataFrame:
    """Judge a validated table by itself.

    Args:
        table: Observations with their errors.
        settings: What is refused.
        moment: The window; without one any time will do.
        unobservable: For each row why the state cannot be compared with it, or the empty text.
    """
    verdicts = Verdicts(len(table))
    verdicts.reject(table["time"].isna().to_numpy(), Reason.NO_TIME)
    if moment is not None:
        inside = (table["time"] > moment.after) & (table["time"] <= moment.until)
        verdicts.reject(~inside.to_numpy(bool), Reason.WINDOW)
    verdicts.reject(~_finite(table, "lat") | ~_finite(table, "lon"), Reason.NO_POSITION)
    verdicts.reject((table["lat"].abs() > 90.0).to_numpy(), Reason.LATITUDE)
    if unobservable is not None:
        verdicts.reject_each(unobservable)
    verdicts.reject(blocked(table, settings.blocklist), Reason.BLOCKLIST)
    for reason, check in CHECKS:
        verdicts.reject(check(table), reason)
    if settings.flags:
        verdicts.reject(flagged(table), Reason.FLAG)
    if settings.suspects:
        verdicts.reject(suspects(table), Reason.SUSPECT)
    verdicts.reject(without_partner(table, verdicts.open, ~verdicts.open), Reason.PARTNER)
    verdicts.reject(~_finite(table, "error"), Reason.NO_ERROR)
    verdicts.reject((table["error"] <= 0).to_numpy(), Reason.WRONG_ERROR)
    verdicts.reject(duplicated(table, verdicts.open), Reason.DUPLICATE)
    if settings.repeated and moment is not None:
        offset = moment.offset(table["time"])
        verdicts.reject(repeated(table, verdicts.open, offset), Reason.REPEATED)
    return verdicts.on(table)


def screen_departures(
    table: pd.DataFrame, settings: ControlSettings, moment: Moment, background_error: Array
) -> pd.DataFrame:
    """Judge a screened table by its departures from the background, and thin it.

    Args:
        table: Screened observations with the column `o_minus_b` [SI].
        settings: What is refused.
        moment: The window.
        background_error: Background-error standard deviation at each row [SI].
    """
    verdicts = Verdicts.of(table)
    departure, error = (table[name].to_numpy(np.float64) for name in ("o_minus_b", "error"))
    before = verdicts.open
    confirmed = np.zeros(len(table), bool)
    if settings.buddies is not None:
        found = judge(table, before, departure, background_error, settings.buddies)
        verdicts.reject(found.far, Reason.BUDDIES)
        confirmed = found.near
    if settings.background is not None:
        # neighbors may confirm what the background denies, within bounds
        far = far_from(departure, error, background_error, settings.background)
        absurd = far_from(departure, error, background_error, CONFIRMED * settings.background)
        verdicts.reject(far & ~confirmed | absurd, Reason.BACKGROUND)
    wrong = before & ~verdicts.open
    verdicts.reject(without_partner(table, verdicts.open, wrong), Reason.PARTNER)
    if settings.stations is not None:
        bad = of_bad_stations(table, verdicts.open, wrong, settings.stations)
        verdicts.reject(bad, Reason.STATION)
    return _thin(verdicts, table, settings.thinning, moment, departure)


def _thin(
    verdicts: Verdicts,
    table: pd.DataFrame,
    settings: ThinningSettings,
    moment: Moment,
    departure: Array,
) -> pd.DataFrame:
    candidates = verdicts.open
    out, stands = thinned(table, candidates, moment.offset(table["time"]), settings)
    merging = settings.kind == "superob"
    if merging:
        table = superobservations(table, candidates, stands, departure, settings.common)
        table = table.assign(
            o_minus_b=departure + table["observation"] - table["reported"],
        )
    verdicts.reject(out, Reason.MERGED if merging else Reason.THINNED)
    return verdicts.on(table)


def _finite(table: pd.DataFrame, name: str) -> Rows:
    return np.asarray(np.isfinite(table[name].to_numpy(np.float64)))
