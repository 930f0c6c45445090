"""Real observations of a window: read, given their errors, judged without the background.

Files are looked for anew each time, so what came late is read when the stage is done again
(`tasks.late_files`). A file that cannot be read, or an address where nothing is, is counted and said; the cycle goes on with the
rest, if need be with nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from models.normalization import Statistics
from models.observations.batch import to_observations
from models.observations.comparable import unobservable
from models.observations.errors import assign_errors
from models.observations.quality.control import Moment, screen_reports
from models.observations.quality.departures import far_from
from models.observations.quality.reasons import Reason, Verdicts
from models.observations.reports import Reports
from models.observations.table import validate_table
from models.observations.tabulate import tabulate
from models.state import StateSpec
from tasks.observing import Observing
from tasks.readers.account import Account
from tasks.readers.files import find_files
from tasks.readers.reading import read_batches
from tasks.withholding import set_aside

__all__ = ["Found", "addresses_of", "files_of_window", "judge_reports", "read_window"]

HOUR = pd.Timedelta(hours=1)


@dataclass
class Found:
    """What was read.

    Attributes:
        table: All rows, not judged.
        accounts: What is in each file.
        missing: Addresses where nothing is.
        sizes: How large each file was when it was found [bytes].
    """

    table: pd.DataFrame
    accounts: dict[str, Account] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    sizes: dict[str, int | None] = field(default_factory=dict)

    @property
    def unread(self) -> dict[str, str]:
        """Files that could not be read, or not to their end, and why."""
        return {
            name: reason
            for name, own in self.accounts.items()
            for what, reason in own.left
            if what == "file"
        }

    @property
    def damaged(self) -> int:
        """Number of damaged messages or lines."""
        return sum(sum(own.damages.values()) for own in self.accounts.values())

    def sentence(self) -> str:
        """Say what is wrong, the empty text if nothing is."""
        parts = []
        if self.missing:
            parts.append(f"nothing at {', '.join(self.missing)}")
        if self.unread:
            name, reason = next(iter(self.unread.items()))
            count = f"{len(self.unread)} of {len(self.accounts)} files"
            parts.append(f"{count} could not be read, such as {name}: {reason}")
        if self.damaged:
            parts.append(f"{self.damaged} damaged messages or lines were left out")
        if not parts and not len(self.table):
            parts.append("the files hold no observations")
        return "; ".join(parts)


def addresses_of(patterns: Sequence[str], moment: Moment) -> list[str]:
    """Return the addresses for the hours of a window, each once, in order."""
    hours = pd.date_range(moment.after.floor("h"), moment.until.ceil("h"), freq="h")
    found = (hour.strftime(p) if "%" in p else p for p in patterns for hour in hours)
    return list(dict.fromkeys(found))


def read_window(observing: Observing, moment: Moment) -> Found:
    """Read all files of a window; rows of other times are among them."""
    sizes, missing = files_of_window(observing, moment)
    found = read_tables(sizes, observing.files.format)
    found.sizes, found.missing = sizes, missing
    return found


def files_of_window(
    observing: Observing, moment: Moment
) -> tuple[dict[str, int | None], list[str]]:
    """Return the sizes of all files of a window [bytes], and the addresses where nothing is."""
    sizes: dict[str, int | None] = {}
    missing = []
    for address in addresses_of(observing.files.address, moment):
        try:
            sizes |= {file.address: file.size for file in find_files([address])}
        except ValueError:
            missing.append(address)
    if any("%" in pattern for pattern in observing.files.address) and sizes:
        missing = []  # not every hour has a file
    return sizes, missing


def read_tables(addresses: Iterable[str], form: str | None = None) -> Found:
    """Read files into one table."""
    accounts: dict[str, Account] = {}
    tables = [tabulate(Reports.none(), "").table]
    names = list(addresses)
    for file, batch in read_batches(names, form) if names else ():
        accounts.setdefault(file.address, Account()).add(batch.account)
        if len(batch.table):
            tables.append(batch.table)
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    if "report_code" in table:
        table["report_code"] = table["report_code"].fillna(0).astype(np.int64)
    return Found(validate_table(table), accounts)


def judge_reports(
    table: pd.DataFrame,
    observing: Observing,
    moment: Moment | None,
    statistics: Statistics | None,
) -> pd.DataFrame:
    """Assign errors and judge by all that needs no background.

    Args:
        table: All rows.
        observing: How they are treated.
        moment: The window; without one any time will do.
        statistics: The climatology; without it nothing is compared with that.
    """
    table = assign_errors(table, observing.errors)
    reasons = unobservable(table, observing.spec)
    screened = screen_reports(table, observing.control, moment, reasons)
    factor = observing.control.climatology
    if statistics is not None and factor is not None:
        screened = screen_climate(screened, observing.spec, statistics, factor)
    return set_aside(screened, observing.config)


def screen_climate(
    screened: pd.DataFrame, spec: StateSpec, statistics: Statistics, factor: float
) -> pd.DataFrame:
    """Reject what is so many standard deviations from the climatology."""
    verdicts = Verdicts.of(screened)
    rows = np.flatnonzero(screened["used"].to_numpy(bool))
    far = np.zeros(len(screened), bool)
    if len(rows):
        far[rows] = far_from_climate(screened.iloc[rows], spec, statistics, factor)
    verdicts.reject(far, Reason.CLIMATE)
    return verdicts.on(screened)


@torch.no_grad()
def far_from_climate(
    table: pd.DataFrame, spec: StateSpec, statistics: Statistics, factor: float
) -> "np.typing.NDArray[np.bool_]":
    """Tell which rows are far from the climatology of their time."""
    observations = to_observations(table, spec)
    middle = table["time"].sort_values().iloc[len(table) // 2]
    expected = observations.equivalents(statistics.climatology([pd.Timestamp(middle)]))[0]
    std = statistics.std[None, :, None, None].expand(1, *spec.shape).contiguous()
    deviation = observations.operator.absolute()(std)[0]
    departure = (observations.y - expected).double().numpy()
    return far_from(
        departure, observations.error.double().numpy(), deviation.double().numpy(), factor
    )
