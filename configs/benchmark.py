"""The configuration of a benchmark: methods × networks × seeds on the same world."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.base import Duration, Model
from configs.methods import Method
from configs.schema import Network

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Seed = Annotated[int, Field(ge=0)]


class Cycled(Model):
    """Cycles of each method from the same poor first guess."""

    cycles: Annotated[int, Field(ge=1)] = 420
    """Length of each."""
    spin_up: Annotated[int, Field(ge=0)] = 20
    """Cycles at the start that the means leave out."""
    seeds: tuple[Seed, ...] = (0,)
    """Seeds of networks and observation errors."""


class Uncycled(Model):
    """Single analyses of forecasts from the truth, as published."""

    leads: tuple[Duration, ...] = (timedelta(hours=24), timedelta(hours=48))
    """Length of the forecast that is the background."""
    dates: Annotated[int, Field(ge=1)] = 60
    """Number of analyses."""
    every: Duration = timedelta(hours=42)
    """Time between them."""
    seeds: tuple[Seed, ...] = (0,)
    """Seeds of networks and observation errors."""


class Group(Model):
    """A rectangle of the comparison: these methods on these networks."""

    kind: Literal["cycled", "uncycled"] = "cycled"
    """Whether the methods cycle."""
    methods: tuple[Name, ...]
    """Labels of the methods."""
    networks: tuple[Name, ...]
    """Labels of the networks."""
    analyses: Annotated[int, Field(ge=1)] | None = None
    """Number of cycles or dates of this group, if it is another than of all."""


class Cost(Model):
    """Seconds and memory of one analysis of each method, measured in turn."""

    network: Name
    """Label of the network."""
    methods: tuple[Name, ...] = ()
    """Labels of the methods; all if empty."""
    rounds: Annotated[int, Field(ge=1)] = 5
    """Analyses of each method; their median counts."""


class Benchmark(Model):
    """A comparison of assimilation methods."""

    name: Name
    """Name of the benchmark."""
    base: str = "embedded"
    """Configuration that all cases share."""
    settings: tuple[str, ...] = ()
    """Changes of it, as key=value."""
    reference: Name
    """Label of the method that the others are compared with."""
    ensemble_reference: Name | None = None
    """Label of the ensemble whose CRPS the others' are compared with."""
    methods: dict[Name, Method]
    """What is compared, by label."""
    networks: dict[Name, Network]
    """What is observed, by label."""
    groups: tuple[Group, ...]
    """Which methods meet which networks."""
    cycled: Cycled = Cycled()
    """How methods cycle."""
    uncycled: Uncycled = Uncycled()
    """How they are compared on single backgrounds."""
    cost: Cost | None = None
    """How their cost is measured; not at all if not given."""


class Search(Model):
    """A search for the settings of one method, one setting after the other."""

    name: Name
    """Name of the search: the method's label in benchmarks."""
    base: str = "embedded"
    """Configuration that all cases share."""
    settings: tuple[str, ...] = ()
    """Changes of it, as key=value."""
    method: Method
    """Where the search starts."""
    space: dict[str, tuple[float | str | bool, ...]]
    """Values of each setting, in the order in which they are searched."""
    passes: Annotated[int, Field(ge=1)] = 1
    """How often the settings are gone through."""
    networks: dict[Name, Network]
    """What is observed; the geometric mean of the errors counts."""
    metric: Literal["mse", "crps"] = "mse"
    """What is as small as possible: the error of the mean, or the ensemble's CRPS."""
    cycles: Annotated[int, Field(ge=1)] = 60
    """Length of the cycles."""
    spin_up: Annotated[int, Field(ge=0)] = 20
    """Cycles at the start that the means leave out."""
    seed: Seed = 0
    """Seed of networks and errors."""

    @model_validator(mode="after")
    def _ensembles_have_a_crps(self) -> Self:
        if self.metric == "crps" and getattr(self.method, "members", 1) == 1:
            raise ValueError("metric: crps; allowed is mse, or a method with members")
        return self
