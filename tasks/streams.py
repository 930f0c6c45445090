"""A period that is reprocessed in streams: how it is split, and where its parts lie.

    ROOT/experiment.yaml     the configuration and how the period is split; never changes
    ROOT/reprocess.yaml      all settings of the last command, addresses included
    ROOT/streams/NAME/       a stream: an experiment of its own
    ROOT/analysis.zarr ...   the one archive, joined from the streams (`tasks.promote`)

All streams have about the same number of cycles. The first begins with the period, as `losda run`
does; each other one begins `spin_up` cycles before its own part, from a first guess of its own:

    s01  |ooooooooooooooooooooooo|
    s02                  |-------ooooooooooooooo|            o own   - spin-up
    s03                                 |-------ooooooooooooooo|

Streams begin at multiples of `verification.forecast_every`, so that forecasts start at the same
hours of the day in all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import floor
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from configs import Config
from configs.base import DURATIONS
from configs.reprocess import Reprocess
from tasks import store
from tasks.experiment import Experiment
from tasks.plan import JOINED, Plan

__all__ = [
    "Reprocessing",
    "Stream",
    "is_reprocess",
    "read_reprocessing",
    "reprocessing_of",
    "sources_of",
]

SETTINGS, STREAMS = "reprocess.yaml", "streams"


@dataclass(frozen=True)
class Stream:
    """One part of a period.

    Attributes:
        name: Its name, s01 and so on.
        experiment: All of its cycles as an experiment.
        spin_up: How many of them come before its own part.
    """

    name: str
    experiment: Experiment
    spin_up: int

    @property
    def root(self) -> str:
        """Its address."""
        return self.experiment.root

    @property
    def times(self) -> list[pd.Timestamp]:
        """All of its cycle times."""
        return self.experiment.cycle_times()

    @property
    def own_times(self) -> list[pd.Timestamp]:
        """The cycles that go into the archive."""
        return self.times[self.spin_up :]

    @property
    def overlap(self) -> list[pd.Timestamp]:
        """The cycles that the stream before has as well."""
        return self.times[: self.spin_up]

    def unfinished(self) -> list[pd.Timestamp]:
        """Return its cycles that are not published yet.

        Raises:
            StaleCommitError: A stage was done with another code, configuration or input.
        """
        if not store.exists(store.join(self.root, "experiment.yaml")):
            return self.times
        return self.plan.at_once().unfinished(self.times)

    @cached_property
    def plan(self) -> Plan:
        """What its stages depend on; remembers the commits that were read.

        Raises:
            ValueError: It has not begun.
        """
        return Plan.read(self.root)

    def done(self) -> int:
        """Return how many of its cycles are published, by one listing."""
        return min(len(store.names(store.join(self.root, "published"))), len(self.times))


@dataclass(frozen=True)
class Reprocessing:
    """A period, its configuration and its streams.

    Attributes:
        whole: The period as one experiment; its address is that of the archive.
        settings: How it is split.
    """

    whole: Experiment
    settings: Reprocess

    @property
    def root(self) -> str:
        """Address of the whole."""
        return self.whole.root

    @cached_property
    def streams(self) -> list[Stream]:
        """The streams in the order of time."""
        return [self._stream(*place) for place in enumerate(_split(self.whole, self.settings))]

    def stream(self, name: str) -> Stream:
        """Return a stream.

        Raises:
            ValueError: There is none of that name.
        """
        for stream in self.streams:
            if stream.name == name:
                return stream
        names = ", ".join(stream.name for stream in self.streams)
        raise ValueError(f"stream {name!r} of {self.root}: allowed are {names}")

    @property
    def identity(self) -> dict[str, Any]:
        """What the whole's experiment.yaml has beyond that of an experiment."""
        return {JOINED: self.settings.model_dump(mode="json")}

    def save(self) -> None:
        """Keep all settings, so that the directory alone tells what its streams are."""
        config = self.whole.config.model_dump(mode="json")
        document = {JOINED: self.settings.model_dump(mode="json"), "config": config}
        text = yaml.safe_dump(document, sort_keys=False)
        store.write_bytes(store.join(self.root, SETTINGS), text.encode())

    def _stream(self, number: int, cycles: range) -> Stream:
        whole, spin_up = self.whole, self.settings.spin_up if number else 0
        start = whole.start + cycles.start * whole.step
        changes = {"start": start.to_pydatetime(), "cycles": len(cycles)}
        config = whole.config.model_copy(update=changes)
        name = f"s{number + 1:0{max(2, len(str(self.settings.streams)))}d}"
        root = store.join(self.root, STREAMS, name)
        return Stream(name, Experiment(root=root, config=config), spin_up)


def reprocessing_of(root: str, config: Config, settings: Reprocess) -> Reprocessing:
    """Return what is to be reprocessed at an address.

    Args:
        root: Address of the whole.
        config: The configuration; its start and its number of cycles do not count.
        settings: The period, and how it is split.

    Raises:
        ValueError: The period is no whole number of cycles, or its streams are too short.
    """
    step = pd.Timedelta(config.step)
    cycles, rest = divmod(pd.Timestamp(settings.end) - pd.Timestamp(settings.start), step)
    if rest:
        raise ValueError(
            f"end: {settings.end.isoformat()}; must be start ({settings.start.isoformat()}) "
            f"and a multiple of step ({DURATIONS.dump_python(config.step, mode='json')})"
        )
    changes = {"start": settings.start, "cycles": int(cycles) + 1}
    whole = Experiment(root=root, config=_at_home(config).model_copy(update=changes))
    found = Reprocessing(whole, settings)
    _require_long_enough(found)
    return found


def read_reprocessing(root: str) -> Reprocessing:
    """Return what is reprocessed in a directory.

    Raises:
        ValueError: Nothing is.
    """
    if not is_reprocess(root):
        raise ValueError(f"{root}: no reprocess there ({SETTINGS} is missing)")
    document = yaml.safe_load(store.read_bytes(store.join(root, SETTINGS)))
    settings = Reprocess.model_validate(document[JOINED])
    return reprocessing_of(root, Config.model_validate(document["config"]), settings)


def is_reprocess(root: str) -> bool:
    """Return whether something is reprocessed in a directory."""
    return store.exists(store.join(root, SETTINGS))


def sources_of(root: str) -> list[tuple[str, frozenset[pd.Timestamp] | None]]:
    """Return whose commits made the archive at an address, and of which cycles; None is all."""
    if not is_reprocess(root):
        return [(root, None)]
    streams = read_reprocessing(root).streams
    return [(stream.root, frozenset(stream.own_times)) for stream in streams]


def _split(whole: Experiment, settings: Reprocess) -> list[range]:
    """Return the cycles of each stream, spin-up included, counted from the period's start."""
    parts = _parts(whole, settings, round)
    return parts if _least(parts, settings) >= settings.spin_up else _parts(whole, settings, floor)


def _parts(whole: Experiment, settings: Reprocess, rounded: Callable[[float], int]) -> list[range]:
    """Return equal parts, as far as the starts have to be rounded."""
    total, count, spin_up = whole.config.cycles, settings.streams, settings.spin_up
    every = whole.config.verification.forecast_every // whole.config.step
    share = (total + (count - 1) * spin_up) / count
    starts = [rounded(k * (share - spin_up) / every) * every for k in range(count)]
    ends = [*(start + spin_up for start in starts[1:]), total]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _least(parts: list[range], settings: Reprocess) -> int:
    """Return the smallest number of cycles that a stream has of its own."""
    spin_ups = [0, *[settings.spin_up] * (len(parts) - 1)]
    own = (part.stop - part.start - k for part, k in zip(parts, spin_ups, strict=True))
    return min(own)


def _fits(whole: Experiment, settings: Reprocess) -> bool:
    """Return whether no stream is shorter than the spin-up."""
    least = _least(_split(whole, settings), settings)
    return settings.streams == 1 or least >= settings.spin_up


def _require_long_enough(found: Reprocessing) -> None:
    """Refuse streams that are shorter than the spin-up."""
    whole, settings = found.whole, found.settings
    if _fits(whole, settings):
        return
    fewer = (settings.model_copy(update={"streams": n}) for n in range(settings.streams, 0, -1))
    most = next(one.streams for one in fewer if _fits(whole, one))
    least = _least(_split(whole, settings), settings)
    raise ValueError(
        f"streams: {settings.streams}; of {whole.config.cycles} cycles one would have "
        f"{max(least, 0)} of its own, fewer than its spin-up of {settings.spin_up}; allowed: "
        f"up to {most}, or a longer period, or a shorter spin-up"
    )


def _at_home(config: Config) -> Config:
    """Return a configuration whose local addresses mean the same in every process."""
    changes: dict[str, object] = {}
    if config.registry != "packaged":
        changes["registry"] = _absolute(config.registry)
    if config.reference.kind != "nature":
        own = {"address": _absolute(config.reference.address)}
        changes["reference"] = config.reference.model_copy(update=own)
    return config.model_copy(update=changes)


def _absolute(address: str) -> str:
    return address if store.is_remote(address) else str(Path(address).absolute())
