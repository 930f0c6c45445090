"""The assimilation methods that a configuration can ask for; each kind is one file in models."""

from typing import Annotated, Literal

from pydantic import Field

from configs.base import Model

Positive = Annotated[float, Field(gt=0)]
Members = Annotated[int, Field(ge=1, le=1000)]


class LocalError(Model):
    """An expected background error that varies in space."""

    unobserved: Positive = 2.5
    """Error of what nobody observes [24 h background error]."""
    length: Annotated[float, Field(ge=50, le=10_000)] = 800.0
    """How far an observation says how large errors are [km]."""


class Free(Model):
    """No assimilation: the analysis is the background."""

    kind: Literal["free"]


class Losda(Model):
    """LO-SDA (Sun et al. 2025, arXiv 2510.22562); what is not given follows from the preset."""

    kind: Literal["losda"] = "losda"
    preset: Literal["paper", "fast"] = "fast"
    """`paper`: as published as far as is known; `fast`: few steps, Gauss-Newton."""
    members: Members = 1
    """Number of analyses (an ensemble if more than one)."""
    steps: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Noise levels of the reverse diffusion."""
    start: Positive | None = None
    """First noise level."""
    stop: Positive | None = None
    """Last noise level."""
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of fresh noise between the levels."""
    noisy_start: bool | None = None
    """Whether to start from noise, for a sample of the posterior instead of its mean."""
    anchor: Annotated[float, Field(ge=0, le=1)] | None = None
    """Weight of the denoiser's mean in the first anchor; 0 anchors on the background."""
    outer: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Linearizations, or descent steps, of each latent optimization."""
    inner: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Iterations of conjugate gradients for each linearization."""
    anchor_scale: Positive | None = None
    """Factor on the root of the anchor's covariance."""
    representativeness: Annotated[float, Field(ge=0)] | None = None
    """Error of the decoder that is added to the observation error [24 h background error]."""
    prior_draw: Annotated[float, Field(ge=0)] | None = None
    """Size of each member's draw from the prior (ensembles only)."""
    ensemble_weight: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Weight of the members' perturbations in the anchor's covariance (ensembles only)."""
    ensemble_width: Positive | None = None
    """Half-width of their localization [km]."""
    isotropic: bool | None = None
    """Whether the anchor's covariance is a multiple of the identity."""
    corrected: bool | None = None
    """Whether the known part of the model's error is taken off the background."""
    adaptive: bool | None = None
    """Whether the expected background error follows the innovations."""
    local: LocalError | None = None
    """Whether it does so at each place by itself, for networks with voids; null: as one number."""


class L3DVar(Model):
    """Variational assimilation in latent space; what is not given follows from the preset."""

    kind: Literal["l3dvar"]
    preset: Literal["published", "full"] = "full"
    """`published`: diagonal covariance of fixed size; `full`: the full latent covariance."""
    members: Members = 1
    """Number of analyses (an ensemble if more than one)."""
    inner: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Largest number of iterations of conjugate gradients."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Stop where the gradient is this small, relative to the first."""
    anchor_scale: Positive | None = None
    """Factor on the root of the background-error covariance."""
    representativeness: Annotated[float, Field(ge=0)] | None = None
    """Error of the decoder that is added to the observation error [24 h background error]."""
    corrected: bool | None = None
    """Whether the known part of the model's error is taken off the background."""
    adaptive: bool | None = None
    """Whether the size of the covariance follows the innovations."""
    local: LocalError | None = None
    """Whether it does so at each place by itself, for networks with voids; null: as one number."""


class ThreeDVar(Model):
    """3DVar with a static covariance; what is not given follows from the method."""

    kind: Literal["3dvar"]
    members: Members = 1
    """Number of analyses (an ensemble if more than one)."""
    scale: Positive | None = None
    """Factor on the background-error covariance."""
    adaptive: bool | None = None
    """Whether the size of the covariance follows the innovations."""
    local: LocalError | None = None
    """Whether it does so at each place by itself, for networks with voids; null: as one number."""
    outer: Annotated[int, Field(ge=1, le=100)] | None = None
    """Linearizations of the observation operator."""
    inner: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Largest number of iterations of conjugate gradients for each linearization."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Stop where the gradient is this small, relative to the first."""
    prior_draw: Annotated[float, Field(ge=0)] | None = None
    """Size of each member's draw from the covariance (ensembles only)."""
    corrected: bool = False
    """Whether the known part of the model's error is taken off the background, as LO-SDA does."""


class Sampler(Model):
    """What the posterior samplers share; what is not given follows from the method."""

    members: Members = 1
    """Number of analyses (an ensemble of samples if more than one)."""
    steps: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Noise levels of the reverse diffusion."""
    start: Positive | None = None
    """First noise level."""
    stop: Positive | None = None
    """Last noise level."""
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of fresh noise between the levels."""
    noisy_start: bool | None = None
    """Whether to start from noise, for a sample instead of the mean."""
    representativeness: Annotated[float, Field(ge=0)] | None = None
    """Error of the decoder that is added to the observation error [24 h background error]."""
    corrected: bool | None = None
    """Whether the known part of the model's error is taken off the background."""
    adaptive: bool | None = None
    """Whether the expected background error follows the innovations."""
    local: LocalError | None = None
    """Whether it does so at each place by itself, for networks with voids; null: as one number."""


class Dps(Sampler):
    """Latent diffusion posterior sampling, score-based data assimilation."""

    kind: Literal["dps"]
    likelihood: Literal["gaussian", "normalized"] | None = None
    """What replaces the likelihood of a noisy state."""
    gamma: Positive | None = None
    """Factor on the variance of the denoised state (gaussian)."""
    zeta: Positive | None = None
    """Length of the step (normalized)."""


class Mmps(Sampler):
    """Moment matching posterior sampling."""

    kind: Literal["mmps"]
    iterations: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Iterations of GMRES at each noise level."""


class Repaint(Sampler):
    """Repaint in latent space, the mechanism of DiffDA."""

    kind: Literal["repaint"]
    weight: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the observed values that is replaced."""
    resample: Annotated[int, Field(ge=1, le=100)] | None = None
    """Visits of each noise level."""


class Letkf(Model):
    """The local ensemble transform Kalman filter."""

    kind: Literal["letkf"]
    members: Annotated[int, Field(ge=2, le=1000)] = 40
    """Members of the ensemble."""
    half_width: Positive = 1250.0
    """Half-width of the horizontal localization [km]; it ends at twice that."""
    half_width_q: Positive | None = None
    """The same for the analysis of specific humidity, if it is another."""
    vertical: Positive = 0.7
    """Half-width of the vertical localization in ln sigma or ln p."""
    factor: Positive = 1.0
    """Factor on the background perturbations."""
    adaptive: bool = False
    """Whether a further factor, 0.8 to 2, follows the innovations."""
    additive: Annotated[float, Field(ge=0)] = 0.3
    """Size of the draws from the covariance of 3DVar that are added to the members."""
    static_members: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Draws from the covariance of 3DVar that are further members in the analysis; none if not given."""
    static: Positive = 1.0
    """Size of their perturbations."""
    to_perturbations: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Relaxation to the background's perturbations (RTPP)."""
    to_spread: Annotated[float, Field(ge=0)] = 0.0
    """Relaxation to the background's spread (RTPS)."""
    coarsen: Annotated[int, Field(ge=1)] = 1
    """Weights are computed on every n-th column and interpolated."""
    corrected: bool = False
    """Whether the known part of the model's error is taken off the members, as LO-SDA does."""


Latent = Losda | L3DVar | Dps | Mmps | Repaint
Method = Annotated[
    Free | Losda | ThreeDVar | L3DVar | Dps | Mmps | Repaint | Letkf, Field(discriminator="kind")
]
