import pytest
import torch

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.guidance.latent_optimization import linearize
from tasks import stage_clock
from tasks.stage_clock import StageClock, timed_components

now = [0.0]


class Slow(torch.autograd.Function):
    """x³, whose value takes 1 s, gradient 10 s, and the gradient's gradient 100 s."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
        now[0] += 1.0
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, w: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return SlowGradient.apply(x, w)


class SlowGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor, w: torch.Tensor
    ) -> torch.Tensor:
        now[0] += 10.0
        ctx.save_for_backward(x, w)
        return 3 * x**2 * w

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, u: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        now[0] += 100.0
        x, w = ctx.saved_tensors
        return 6 * x * w * u, 3 * x**2 * u


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StageClock:
    now[0] = 0.0
    monkeypatch.setattr(stage_clock.time, "perf_counter", lambda: now[0])
    return StageClock()


def test_value_adjoint_and_tangent_are_counted_and_nothing_between_the_stages(
    clock: StageClock,
) -> None:
    decoder, operator = clock.timed("decoder", Slow.apply), clock.timed("operator", Slow.apply)

    def departure(r: torch.Tensor) -> torch.Tensor:
        now[0] += 0.25  # the solver's
        h = decoder(r)
        now[0] += 0.25
        return operator(h)

    r = torch.tensor([0.5, -2.0])
    _, tangent, adjoint = linearize(departure, r)  # the value, and the adjoint once
    assert clock.seconds == {"decoder": 11.0, "operator": 11.0}
    adjoint(torch.ones(2))
    assert clock.seconds == {"decoder": 21.0, "operator": 21.0}
    image = tangent(torch.ones(2))
    assert clock.seconds == {"decoder": 121.0, "operator": 121.0}
    torch.testing.assert_close(image, -9 * r**8)  # marks change nothing


def test_without_gradients_the_value_is_counted(clock: StageClock) -> None:
    with torch.no_grad():
        clock.timed("decoder", Slow.apply)(torch.ones(1))
    assert clock.seconds == {"decoder": 1.0}


def test_forward_mode_is_counted(clock: StageClock) -> None:
    def square(x: torch.Tensor) -> torch.Tensor:
        now[0] += 1.0
        return x**2

    timed = clock.timed("decoder", square)
    _, tangent = torch.func.jvp(timed, (torch.tensor([3.0]),), (torch.tensor([1.0]),))
    assert float(tangent) == 6.0
    assert clock.seconds["decoder"] == 1.0


def test_the_components_are_as_before_afterwards() -> None:
    names = [(Autoencoder, "decode"), (Autoencoder, "encode"), (LatentDenoiser, "denoise")]
    before = [getattr(owner, name) for owner, name in names]
    with pytest.raises(RuntimeError), timed_components(StageClock()):
        assert all(getattr(o, n) is not b for (o, n), b in zip(names, before, strict=True))
        raise RuntimeError
    assert [getattr(owner, name) for owner, name in names] == before
