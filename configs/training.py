"""How `losda train` makes the components."""

from typing import Annotated, Any, Literal, Self

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


class Optimized(Model):
    """What the trainings of all networks share."""

    learning_rate: Positive = 2e-3
    """Largest learning rate; before it a warm-up, after it half a cosine."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the exponential moving average of the weights, which is what is published; over
    the first iterations k it is at most k / (9 + k)."""


class Autoencoder(Optimized):
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
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the exponential moving average of the weights."""


class ModelError(Optimized):
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


class Denoiser(Optimized):
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


class Emulator(Optimized):
    """Training of the learned forecast model."""

    iterations: Count = 1500
    """Steps of the optimizer."""
    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    """Channels of the network."""
    blocks: Annotated[int, Field(ge=0)] = 3
    """Residual blocks."""
    patch: Count = 1
    """Points per side of the patches that the network sees as channels: for the same operations it
    is wider and sees farther."""
    batch: Count = 64
    """Forecasts for each step."""
    noise: Annotated[float, Field(ge=0)] = 0.3
    """Disturbance of the initial states, in standard deviations of the anomalies: the analyses'."""
    evaluate_every: Count = 50
    """Iterations between evaluations on the validation period; the best weights are kept."""
    patience: Count = 4
    """Evaluations without a better one after which the training ends."""


class Stopping(Model):
    """Early stopping of autoencoder, model error and prior (the emulator has its own)."""

    patience: Annotated[int, Field(ge=0)] = 0
    """Evaluations without a smaller validation loss after which a training ends; the averaged
    weights with the smallest one are kept. With 0 nothing is evaluated, and the last are kept."""
    evaluate_every: Count = 50
    """Iterations between evaluations."""
    batches: Count = 8
    """Batches that an evaluation takes, the same ones each time: states of the validation
    trajectories, or pairs that are held out."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Part of the newest pairs, the last ones in time, on which no network is trained."""


class Computing(Model):
    """What a training computes with. Only the precision makes other weights than rounding does."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """cpu, cuda, cuda:NUMBER, or auto: CUDA where there is any. Of several processes on one machine
    each takes the device of its own number."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in the blocks of the networks; weights and sums stay in float32."""
    recompute: bool = False
    """Whether the backward pass computes the blocks again instead of keeping what is inside them
    (gradient checkpointing): less memory, about a third more operations."""
    compile: bool = False
    """Whether the blocks are compiled by torch.compile."""
    ahead: Annotated[int, Field(ge=0)] = 1
    """Batches that threads draw while a step computes, each in a thread of its own."""
    save_every: Count = 100
    """Iterations between the states from which a killed training goes on."""


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
    stopping: Stopping = Stopping()
    """When a training ends before its last iteration."""
    computing: Computing = Computing()
    """Device, precision, memory."""
    given: tuple[Literal["world", "statistics", "autoencoder"], ...] = ()
    """Components that are those of the registry (`checkpoints`) and not made again, where another
    forecast model is tried. The unit of errors is then that of the statistics."""
    judged_cycles: Annotated[int, Field(ge=10)] = 100
    """Length of the validation cycles that judge the components."""
    threads: Count = 2
    """Processes or threads that work side by side."""

    @model_validator(mode="after")
    def _parents_are_given_too(self) -> Self:
        if "autoencoder" in self.given and "statistics" not in self.given:
            raise ValueError(
                f"train.given: {list(self.given)}; an autoencoder belongs to its statistics, "
                "which must be given too"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return what makes another training: all but what changes its speed, and rounding."""
        excluded: dict[str, Any] = {
            "threads": True,
            "in_memory": True,
            "computing": set(Computing.model_fields) - {"precision"},
        }
        return self.model_dump(mode="json", exclude=excluded)
