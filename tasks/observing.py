"""From the configuration to what quality control and error assignment need."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from configs import Config
from configs.observing import Errors, Files, Quality
from models.observations.error_table import ErrorTable
from models.observations.errors import ErrorRule, ErrorSettings
from models.observations.quality.blocklist import Block
from models.observations.quality.buddies import BuddySettings
from models.observations.quality.control import ControlSettings, Moment
from models.observations.quality.thinning import ThinningSettings
from models.state import StateSpec
from tasks.experiment import window_of
from tasks.store import read_bytes

__all__ = ["Observing", "error_digest", "files_of"]

EARTH = 6371.0


def files_of(config: Config) -> Files | None:
    """Return the settings of real observations, None if observations are drawn."""
    source = config.observations.source
    return source if isinstance(source, Files) else None


def error_digest(settings: Errors) -> str | None:
    """Return the digest of the error table that is named, None without one."""
    if settings.table is None:
        return None
    return hashlib.sha256(_table_text(settings.table).encode()).hexdigest()


def _table_text(address: str) -> str:
    try:
        return read_bytes(address).decode()
    except (FileNotFoundError, IsADirectoryError) as error:
        text = f"observations.source.errors.table: {address}: there is no such file"
        raise ValueError(text) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"observations.source.errors.table: {address} is not text") from error


@dataclass(frozen=True)
class Observing:
    """How an experiment treats real observations.

    Attributes:
        files: The settings.
        spec: The state.
        config: The whole configuration.
    """

    files: Files
    spec: StateSpec
    config: Config

    def moment(self, time: pd.Timestamp) -> Moment:
        """Return the window of a cycle."""
        window = window_of(self.config)
        half = window.length / 2
        before, after = (
            half if own is None else pd.Timedelta(own)
            for own in (self.files.before, self.files.after)
        )
        times = window.times(time) if self.config.observations.at_own_time else [time]
        return Moment(time - before, time + after, tuple(times))

    @cached_property
    def errors(self) -> ErrorSettings:
        """How errors are assigned.

        Raises:
            ValueError: The table that is named is none.
        """
        own = self.files.errors
        table = ErrorTable.packaged()
        if own.table is not None:
            try:
                table = ErrorTable.from_csv(_table_text(own.table)).over(table)
            except ValueError as error:
                raise ValueError(f"{own.table}: {error}") from None
        rules = tuple(ErrorRule(**rule.model_dump(exclude_none=True)) for rule in own.rules)
        return ErrorSettings(table, own.own, rules)

    @cached_property
    def control(self) -> ControlSettings:
        """What is refused."""
        own: Quality = self.files.quality
        blocks = tuple(
            Block(
                **entry.model_dump(exclude={"since", "until"}),
                since=None if entry.since is None else pd.Timestamp(entry.since),
                until=None if entry.until is None else pd.Timestamp(entry.until),
            )
            for entry in own.blocklist
        )
        thinning = own.thinning.model_dump()
        thinning["spacing"] = thinning["spacing"] or grid_spacing(self.spec)
        buddies = None if own.buddies is None else BuddySettings(**own.buddies.model_dump())
        return ControlSettings(
            flags=own.flags,
            suspects=own.suspects,
            blocklist=blocks,
            repeated=own.repeated,
            climatology=own.climatology,
            background=own.background,
            buddies=buddies,
            stations=own.stations,
            thinning=ThinningSettings(**thinning),
        )


def grid_spacing(spec: StateSpec) -> float:
    """Return the distance of the rows of a grid [km]."""
    latitude = spec.grid.latitude
    return EARTH * math.radians(abs(latitude[-1] - latitude[0]) / (len(latitude) - 1))
