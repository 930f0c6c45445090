"""How `losda train` makes the components."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.base import Model, Time

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Nature(Model):
    """The trajectories that the components of the embedded world are trained on."""

    streams: Count = 8
    """Independent nature runs, with starts spread over the year."""
    days: Count = 180
    """Length of each [days]."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the noise that starts them; the test segments have seeds of their own."""


class Period(Model):
    """A period of the reference, both ends included."""

    start: Time
    """First time."""
    end: Time
    """Last time."""


class Autoencoder(Model):
    """Architecture and training of the autoencoder."""

    patch: Count = 2
    """Points per side of a patch."""
    latent: Count = 56
    """Channels of the latent state."""
    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 96
    """Channels of the residual networks."""
    blocks: Annotated[int, Field(ge=0)] = 2
    """Residual blocks on each side."""
    iterations: Count = 1600
    """Steps of the optimizer."""
    batch: Count = 16
    """States for each step."""


class ModelError(Model):
    """Training of the known part of the forecast model's error, a part of the prior."""

    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 128
    """Channels of the network."""
    blocks: Annotated[int, Field(ge=0)] = 3
    """Residual blocks."""
    forecasts: Count = 400
    """Sets of 16 forecasts over one cycle from the truth."""
    iterations: Annotated[int, Field(ge=0)] = 1000
    """Steps of the optimizer; with 0 only the climatology of the error is known."""
    batch: Count = 32
    """Forecasts for each step."""


class Denoiser(Model):
    """Architecture and training of the prior."""

    network: Literal["unet", "transformer"] = "unet"
    """What depends on the flow: a U-net, or a transformer as published."""
    covariance: Literal["full", "separable"] = "full"
    """Correlations between all latent channels, or for large latent states of turned channels."""
    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """Channels at the finest level, or of a token."""
    depth: Count = 12
    """Blocks of a transformer."""
    heads: Count = 8
    """Heads of its attention, which divide the channels."""
    deep: Annotated[int, Field(ge=8, multiple_of=8)] = 96
    """Channels at the coarser levels."""
    iterations: Annotated[int, Field(ge=0)] = 400
    """Steps of the optimizer in each generation; with 0 the prior stays Gaussian."""
    batch: Count = 32
    """Pairs for each step."""
    generations: Count = 2
    """How often cycles are run with the current prior and the prior is trained on them."""
    gaussian: Count = 2
    """Generations whose cycles have a Gaussian prior."""
    cycles: Count = 40
    """Length of these cycles."""
    streams: Count = 8
    """Cycles side by side for each density of observations."""
    fractions: tuple[float, ...] = (0.01, 0.05, 0.05, 0.10)
    """Observed fraction in each group of cycles."""
    columns: bool = True
    """Whether whole columns are observed, or single values."""
    forecasts: Count = 70
    """Sets of 16 forecasts from the truth, for the first generation."""
    weight_decay: Positive = 0.02
    """Weight decay."""

    @model_validator(mode="after")
    def _heads_divide_the_channels(self) -> Self:
        if self.network == "transformer" and self.hidden % self.heads:
            raise ValueError(
                f"train.denoiser.heads: {self.heads}; must divide hidden ({self.hidden})"
            )
        return self


class BackgroundError(Model):
    """The static background-error covariance of 3DVar."""

    bands: Count = 3
    """Bands of latitudes with correlations of their own."""
    truncation: Count | None = 21
    """Largest total wavenumber on a global grid; what the grid resolves if not given."""
    forecasts: Count = 94
    """Sets of 16 one-day forecasts from the truth, for the first covariance."""
    generations: Annotated[int, Field(ge=0)] = 1
    """How often it is estimated again, from the backgrounds of 3DVar's own cycles, which are those
    of the denoiser's training."""


class Emulator(Model):
    """Training of the learned forecast model."""

    iterations: Count = 1500
    """Steps of the optimizer."""
    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    """Channels of the network."""
    blocks: Annotated[int, Field(ge=0)] = 3
    """Residual blocks."""
    batch: Count = 64
    """Forecasts for each step."""


class Train(Model):
    """Settings of the training; none of them enters the identity of an experiment."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the training."""
    nature: Nature = Nature()
    """Trajectories, where the reference is the nature run."""
    period: Period | None = None
    """Training period, where the reference is data."""
    validation: Period | None = None
    """Validation period, where the reference is data."""
    in_memory: Annotated[float, Field(ge=0)] = 2.0
    """Data up to so many GB are read at once; of more, batches are read as they are needed."""
    error_forecasts: Count = 60
    """Sets of 16 forecasts over 24 h that give the background error, where the reference is data."""
    autoencoder: Autoencoder = Autoencoder()
    """The autoencoder."""
    model_error: ModelError = ModelError()
    """The forecast model's error, as far as it is known beforehand."""
    denoiser: Denoiser = Denoiser()
    """The prior."""
    background_error: BackgroundError = BackgroundError()
    """The covariance of 3DVar."""
    emulator: Emulator = Emulator()
    """The learned forecast model, where the configuration asks for one."""
    judged_cycles: Annotated[int, Field(ge=10)] = 100
    """Length of the validation cycles that judge the components."""
    threads: Count = 2
    """Processes or threads that work side by side."""
