"""Where observations come from: drawn from the reference, or read from files and judged.

Files are real observations. Their values may also be simulated: positions, times, types and errors
of a real network with values of the reference, for an observing-system experiment.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from configs.base import Model, parse_time

Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, le=1)]
Moment = Annotated[datetime, BeforeValidator(parse_time)]
Before = Annotated[timedelta, Field(ge=timedelta(0))]


class _Pattern(Model):
    type: str = "*"
    """Report type, with `*`, `?` and `[…]`."""
    variable: str = "*"
    """Observed variable."""
    station: str = "*"
    """Identifier of the station."""
    source: str = "*"
    """Where it comes from, as in `madis:*`."""


class ErrorRule(_Pattern):
    """An exception from the error table; of several that fit the last counts, the highest floor."""

    error: Positive | None = None
    """The error [SI]; the table's if not given."""
    factor: Positive = 1.0
    """By what the error is multiplied."""
    floor: Positive | None = None
    """Least error [SI], for what the grid cannot represent."""


class Errors(Model):
    """Observation errors."""

    table: str | None = None
    """CSV file of a table that comes before the package's (`losda errors` writes one)."""
    own: bool = True
    """Whether errors that a file gives come before the table's."""
    rules: tuple[ErrorRule, ...] = ()
    """Exceptions."""


class Block(_Pattern):
    """An entry of the blocklist."""

    since: Moment | None = None
    """First time; from ever if not given."""
    until: Moment | None = None
    """Last time; for ever if not given."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(getattr(self, name) == "*" for name in _Pattern.model_fields):
            raise ValueError("must name a type, a variable, a station or a source")
        return self


class Buddies(Model):
    """The check against the neighbors."""

    factor: Positive = 4.0
    """Allowed number of standard deviations."""
    length: Annotated[float, Field(ge=50, le=3000)] = 400.0
    """Correlation length of background errors [km]."""
    least: Annotated[int, Field(ge=1)] = 2
    """So many neighbors are needed."""


class Thinning(Model):
    """Dense observations to the resolution of the analysis."""

    kind: Literal["none", "thin", "superob"] = "thin"
    """Keep one of each box, or let one stand for the mean departure of all."""
    spacing: Annotated[float, Field(ge=1, le=10_000)] | None = None
    """Size of a box [km]; that of the grid's cells if not given."""
    layer: Positive = 0.2
    """Depth of a layer in the logarithm of the pressure."""
    types: tuple[str, ...] = (
        *("aircraft", "satwind", "metar", "synop", "ship", "buoy", "profiler"),
    )
    """Report types that are thinned, each for itself."""
    common: Part = 0.3
    """Part of the error variance that the values of a box have in common."""


class Quality(Model):
    """Which observations are refused."""

    flags: bool = True
    """Refuse what the provider rejected."""
    suspects: bool = False
    """Refuse what the provider calls suspect, too."""
    blocklist: tuple[Block, ...] = ()
    """What is not used whatever it says."""
    repeated: bool = True
    """Take one report of each station in a window, the nearest in time."""
    climatology: Positive | None = 8.0
    """Refuse what is so many standard deviations from the climatology; null: do not ask."""
    background: Positive | None = 5.0
    """Refuse |O-B| above this many standard deviations of O-B; null: do not ask."""
    buddies: Buddies | None = Buddies()
    """Refuse what the neighbors speak against; null: do not ask."""
    stations: Annotated[float, Field(gt=0, le=1)] | None = 0.2
    """Refuse all values of a station if this part of them is refused by the two before; null: do
    not."""
    thinning: Thinning = Thinning()
    """How dense observations may be."""


class Withhold(Model):
    """Observations that are kept from the analyses and judge them: one part of the stations."""

    parts: Annotated[int, Field(ge=2, le=1000)] = 5
    """The stations are split into so many parts, by their names."""
    part: Annotated[int, Field(ge=0)] = 0
    """The part that is withheld, the same stations in each cycle."""

    @model_validator(mode="after")
    def _part_is_one_of_them(self) -> Self:
        if self.part >= self.parts:
            last = self.parts - 1
            raise ValueError(
                f"observations.withhold.part: {self.part}; allowed with {self.parts} parts: 0 to {last}"
            )
        return self


class Complete(Model):
    """A file whose presence says that all observations of a source are there for a cycle."""

    source: str
    """Name of the source; it may have a cutoff of its own (operations.cutoffs)."""
    address: str
    """The file, with `%Y`, `%m`, `%d`, `%H` and `%j` of the cycle time."""


class Simulation(Model):
    """Values of the reference in place of the reported ones, with errors as the table's."""

    gross: Part = 0.0
    """Part of the values that get a gross error of 5 to 20 standard deviations."""


class Drawn(Model):
    """Observations of the network, drawn from the reference."""

    kind: Literal["drawn"] = "drawn"


class Files(Model):
    """Observations from files."""

    kind: Literal["files"]
    address: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths, folders, patterns or s3:// prefixes; `%Y`, `%m`, `%d`, `%H` and `%j` stand for the
    hours of the window."""
    format: str | None = None
    """Format of all files; seen by their first bytes if not given."""
    before: Before | None = None
    """The window begins so long before the cycle time; half a step if not given."""
    after: Before | None = None
    """The window ends so long after the cycle time; half a step if not given."""
    complete: tuple[Complete, ...] = ()
    """How sources say that their observations of a cycle are all there; without any of them a drive
    waits for the cutoff."""
    errors: Errors = Errors()
    """Observation errors."""
    quality: Quality = Quality()
    """Which observations are refused."""
    simulation: Simulation | None = None
    """Values of the reference at the files' positions; times are moved by whole steps into the
    window."""


Source = Annotated[Drawn | Files, Field(discriminator="kind")]
