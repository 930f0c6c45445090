"""The configuration of one experiment; the defaults are the embedded world.

Every choice between kinds is a discriminated union on `kind`, so that a mistake is found before
anything runs.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from configs.base import Duration, Model, Time, require_multiple
from configs.data import NatureReference, Reference
from configs.forecast import EmbeddedForecast, ForecastModel
from configs.hiding import Location
from configs.methods import Losda, Method
from configs.observing import Drawn, Files, Source, Withhold
from configs.operations import Operations
from configs.training import Train

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Noise = Annotated[float, Field(ge=0)]
Variables = Annotated[tuple[str, ...], Field(min_length=1)]
HOUR = timedelta(hours=1)


class FirstGuess(Model):
    """The poor state from which the first background and the free run start."""

    lead: Duration = timedelta(days=5)
    """The first background is a forecast over this time from the reference."""


class CycledBackground(Model):
    """A forecast over one step from the analysis before."""

    kind: Literal["cycled"] = "cycled"


class ReferenceBackground(Model):
    """A forecast from the reference, anew for each analysis: analyses do not depend on each other."""

    kind: Literal["reference"]
    lead: Duration = timedelta(days=2)
    """The background is a forecast over this time."""


Background = Annotated[CycledBackground | ReferenceBackground, Field(discriminator="kind")]


class _Network(Model):
    noise: Noise = 0.1
    """Observation-error standard deviation in units of the climatological one. With 0 there are
    perfect observations, to which the method still gives an error of 0.01."""


class Columns(_Network):
    """A new random draw of grid columns in each cycle."""

    kind: Literal["columns"] = "columns"
    fraction: Fraction = 0.05
    """Part of the grid columns that is observed."""
    variables: Variables | None = None
    """Observed variables, `wind_speed` among them; all of the state by default."""


class Points(_Network):
    """A new random draw of single (field, grid point) pairs in each cycle."""

    kind: Literal["points"]
    fraction: Fraction = 0.05
    """Part of all values of the observed variables that is observed."""
    variables: Variables | None = None
    """Observed variables, `wind_speed` among them; all of the state by default."""


class Stations(_Network):
    """A fixed network of stations between the grid points, mostly on northern land."""

    kind: Literal["stations"]
    stations: Annotated[int, Field(ge=1)] = 150
    """Number of stations."""


class Swath(_Network):
    """Grid columns that a polar orbiter sees; consecutive cycles see others."""

    kind: Literal["swath"]
    width: Annotated[float, Field(gt=0, le=10_000)] = 2000.0
    """Width of the swath [km]."""
    fraction: Fraction = 0.05
    """Part of all grid columns that is observed; fewer if the satellite does not see as many."""
    variables: Variables | None = None
    """Observed variables; by default profiles of temperature and humidity."""


Network = Annotated[Columns | Points | Stations | Swath, Field(discriminator="kind")]


class Observations(Model):
    """Where observations come from, when they are made, and which are refused."""

    source: Source = Drawn()
    """Drawn from the reference, or read from files."""
    network: Network = Columns()
    """Observations drawn from the reference with Gaussian errors."""
    slots: Annotated[int, Field(ge=1)] = 1
    """Times at which observations are drawn: the centers of so many equal parts of the window,
    which is one step long. With 1 all are at the cycle time."""
    at_own_time: bool = True
    """Whether observations are compared with the background at their own times, or all with the
    background at the cycle time."""
    background_check: Positive = 12.0
    """Refuse |O-B| above this many standard deviations of O-B, of drawn observations."""
    withhold: Withhold | None = None
    """Observations that judge the analyses and are not used; null: none."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of where observations come from: drawn, or what a cycle of files waits for."""
        if isinstance(self.source, Files):
            return tuple(one.source for one in self.source.complete) or ("files",)
        return ("twin",)


class Verification(Model):
    """What is scored besides background, analysis and free run."""

    forecast_lead: Duration = timedelta(days=5)
    """Longest lead time of the forecasts from the analyses."""
    forecast_step: Duration = timedelta(days=1)
    """Lead times between scores."""
    forecast_every: Duration = timedelta(days=1)
    """Time between the analyses from which forecasts start."""

    @model_validator(mode="after")
    def _lead_is_a_multiple(self) -> Self:
        names = ("verification.forecast_lead", "verification.forecast_step")
        require_multiple(names[0], self.forecast_lead, names[1], self.forecast_step)
        return self


class Checkpoints(Model):
    """Components in the registry: an alias, a digest, or at least 8 digits of one."""

    world: str = "embedded"
    """Initial spectral states of the nature runs."""
    statistics: str = "embedded"
    """Climatology and standard deviations."""
    autoencoder: str = "embedded"
    """Encoder and decoder."""
    denoiser: str = "embedded"
    """Background-conditioned latent prior."""
    background_error: str = "embedded"
    """Static background-error covariance of 3DVar."""
    emulator: str = "embedded"
    """Learned forecast model."""
    forecast_model: str = "embedded"
    """Forecast model of others (ONNX, exported program, earth2studio)."""


class Config(Model):
    """One experiment: a named series of cycles."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the experiment."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random draw is keyed by (seed, cycle time, purpose, member)."""
    registry: Location = "packaged"
    """Address of a registry that is searched before the package's own."""
    start: Time
    """First cycle time."""
    step: Duration = timedelta(hours=6)
    """Time between cycles."""
    cycles: Annotated[int, Field(ge=1)] = 20
    """Number of cycles."""
    spin_up: Annotated[int, Field(ge=0)] = 8
    """Cycles at the start that the means leave out."""
    first_guess: FirstGuess = FirstGuess()
    """The poor state from which the first background starts."""
    background: Background = CycledBackground()
    """What the background of an analysis is."""
    reference: Reference = NatureReference()
    """The truth: observations are drawn from it, analyses scored against it."""
    forecast_model: ForecastModel = EmbeddedForecast()
    """The model of background, free run and forecasts."""
    observations: Observations = Observations()
    """Where observations come from."""
    method: Method = Losda()
    """The assimilation method."""
    verification: Verification = Verification()
    """What is scored."""
    checkpoints: Checkpoints = Checkpoints()
    """Components in the registry."""
    train: Train = Train()
    """How `losda train` makes the components."""
    operations: Operations = Operations()
    """How `losda drive` drives the experiment; not part of its identity."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    """Where models and methods compute: `auto` takes the first CUDA device if there is one."""
    chunk: Annotated[int, Field(ge=1)] | None = None
    """Members that forecasts and latent methods compute at once; null: all. Fewer need less
    memory; results differ by rounding, as between devices."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        options = self.verification
        require_multiple("first_guess.lead", self.first_guess.lead, "step", self.step)
        if isinstance(self.background, ReferenceBackground):
            require_multiple("background.lead", self.background.lead, "step", self.step)
        require_multiple("verification.forecast_step", options.forecast_step, "step", self.step)
        require_multiple("verification.forecast_every", options.forecast_every, "step", self.step)
        return self

    @model_validator(mode="after")
    def _end_is_not_before_start(self) -> Self:
        end = self.operations.end
        if end is not None and end < self.start:
            raise ValueError(
                f"operations.end: {end.isoformat()}; must not be before start "
                f"({self.start.isoformat()})"
            )
        return self

    @model_validator(mode="after")
    def _cutoffs_name_sources(self) -> Self:
        for source, _ in self.operations.cutoffs:
            if source not in self.observations.sources:
                allowed = ", ".join(self.observations.sources)
                raise ValueError(
                    f"operations.cutoffs.{source}: no source of the experiment; allowed: {allowed}"
                )
        return self

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        source = self.observations.source
        if isinstance(source, Files):
            parts = (source.before, source.after)
            if all(part is not None and not part for part in parts):
                raise ValueError(
                    "observations.source.before: PT0S; one of before and after must be more"
                )
        return self

    @model_validator(mode="after")
    def _slots_are_whole_hours(self) -> Self:
        slots, hours = self.observations.slots, self.step // HOUR
        # the first of k centers is (k - 1) / 2k windows before the middle, and they are 1 / k apart
        allowed = [k for k in range(1, hours + 1) if not (hours % k or hours * (k - 1) % (2 * k))]
        if slots not in allowed:
            choices = ", ".join(str(k) for k in allowed)
            raise ValueError(
                f"observations.slots: {slots}; the centers of so many parts of {hours} h (step) "
                f"must be whole hours; allowed: {choices}"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return what makes another experiment: all but addresses, training, operations, device, chunk, cycles."""
        excluded: dict[str, Any] = {
            "registry": True,
            "cycles": True,
            "train": True,
            "operations": True,
            "device": True,
            "chunk": True,
            "checkpoints": True,
            "reference": {"address", "grid"},
            "observations": {"source": {"address", "complete"}},
        }
        # What is as it was before there was a choice does not make another experiment.
        if isinstance(self.background, CycledBackground):
            excluded["background"] = True
        if getattr(self.reference, "coarsen", 1) == 1:
            excluded["reference"] |= {"coarsen"}
        return self.model_dump(mode="json", exclude=excluded, exclude_none=True)
