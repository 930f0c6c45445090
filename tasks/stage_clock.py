"""Seconds that an analysis spends in its stages, also in their tangents and adjoints.

A stage is a function of a tensor with a mark at its entrance and one at its exit. Marks do not
change what passes; they look at the clock when a value, a gradient or a tangent passes. The time between the
two marks of a stage, in either direction, is the stage's:

    value, tangent    entrance → exit        adjoint    exit → entrance

and all other time is the solver's. Stages must not be nested.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.observations.batch import Observations

__all__ = ["StageClock", "TimedObservations", "timed_components"]


@dataclass
class StageClock:
    """Adds up the seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: tuple[str, str, float] = ("", "", 0.0)

    def pass_mark(self, stage: str, end: str, x: Tensor) -> None:
        """Take note that `x` passed a mark."""
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        now = time.perf_counter()
        last_stage, last_end, began = self._last
        if stage == last_stage and end != last_end:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - began
            self._last = ("", "", now)
        else:
            self._last = (stage, end, now)

    def timed(self, stage: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function of one tensor, and others that are not differentiated, with marks."""

        def marked(x: Tensor, *others: Any) -> Tensor:  # noqa: ANN401
            entered: Tensor = Mark.apply(x, self, stage, "entrance")  # type: ignore[no-untyped-call]
            value = function(entered, *others)
            left: Tensor = Mark.apply(value, self, stage, "exit")  # type: ignore[no-untyped-call]
            return left

        return marked


class Mark(torch.autograd.Function):
    """The identity, which tells a clock when something passes, in all directions."""

    @staticmethod
    def forward(x: Tensor, clock: StageClock, stage: str, end: str) -> Tensor:
        """Return `x`."""
        clock.pass_mark(stage, end, x)
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        """Keep the clock."""
        ctx.mark = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        """Return the gradient, through a mark that its own derivative passes too."""
        return Mark.apply(gradient, *ctx.mark), None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # noqa: ANN401
        """Return the tangent."""
        clock, stage, end = ctx.mark
        clock.pass_mark(stage, end, tangent)
        return tangent.view_as(tangent)


@dataclass(frozen=True)
class TimedObservations(Observations):
    """Observations whose equivalents are a stage."""

    clock: StageClock = field(default_factory=StageClock)

    def equivalents(self, x: Tensor) -> Tensor:
        """Return what the observations would be of states."""
        return self.clock.timed("operator", super().equivalents)(x)


@contextmanager
def timed_components(clock: StageClock) -> Iterator[None]:
    """Make encoder, decoder and denoiser of all methods stages, for as long as the context lasts."""
    stages: list[tuple[type, str, str]] = [
        (Autoencoder, "encode", "encoder"),
        (Autoencoder, "decode", "decoder"),
        (LatentDenoiser, "denoise", "denoiser"),
        (LatentDenoiser, "center", "denoiser"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in stages]
    for (owner, name, stage), (_, _, original) in zip(stages, originals, strict=True):
        setattr(owner, name, method_of(clock, stage, original))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def method_of(
    clock: StageClock, stage: str, original: Callable[..., Tensor]
) -> Callable[..., Tensor]:
    """Return a method that is a stage."""

    def method(self: object, x: Tensor, *others: Any) -> Tensor:  # noqa: ANN401
        return clock.timed(stage, partial(original, self))(x, *others)

    return method
