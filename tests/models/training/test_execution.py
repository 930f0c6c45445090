"""Precision, recomputation and compilation of the blocks of a network."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.denoiser import WAVES, DenoiserShape, LatentDenoiser
from models.networks import ResidualBlock
from models.training.execution import PLAIN, Execution
from models.transformer import Block

BLOCKS, PRODUCTS = ResidualBlock | Block, nn.Conv2d | nn.Linear


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    shape = DenoiserShape(8, (4, 8), True, True, 4, 8, 8, network=kind, depth=2, heads=2)
    own: nn.Module = LatentDenoiser(shape, torch.zeros(4, 4, 8)).network
    for parameter in own.parameters():  # some are zero at first, and hide what is before them
        nn.init.normal_(parameter, std=0.2)
    return own


def results(
    own: nn.Module, execution: Execution, part: nn.Module | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Return a loss and its gradients, with all blocks or those of a part computed so."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 20, 4, 8, generator=generator)
    levels = torch.randn(3, 2 * WAVES, generator=generator)
    own.zero_grad()
    with execution.of(part or own):
        loss = (own(x, levels) ** 2).mean()
        loss.backward()
    return loss.detach(), [p.grad.clone() for p in own.parameters() if p.grad is not None]


@pytest.fixture(params=["unet", "transformer"])
def own(request: pytest.FixtureRequest) -> nn.Module:
    return network(request.param)


def test_recomputed_blocks_have_the_same_gradients_bit_for_bit(own: nn.Module) -> None:
    loss, gradients = results(own, PLAIN)
    again, recomputed = results(own, Execution(recompute=True))
    assert torch.equal(loss, again)
    assert all(torch.equal(a, b) for a, b in zip(gradients, recomputed, strict=True))


def test_what_is_inside_a_block_is_computed_again_instead_of_being_kept(own: nn.Module) -> None:
    calls: Counter[nn.Module] = Counter()
    blocks = [m for m in own.modules() if isinstance(m, BLOCKS)]
    products = [next(m for m in b.modules() if isinstance(m, PRODUCTS)) for b in blocks]
    for module in products:
        module.register_forward_hook(lambda m, *_: calls.update([m]))
    results(own, PLAIN)
    assert set(calls.values()) == {1}
    results(own, Execution(recompute=True))
    assert [calls[module] for module in products] == [1 + 2] * len(blocks)


def test_bfloat16_is_inside_the_blocks_and_nowhere_else(own: nn.Module) -> None:
    kinds: dict[str, set[torch.dtype]] = {"inside": set(), "blocks": set(), "outside": set()}
    within = {m for b in own.modules() if isinstance(b, BLOCKS) for m in b.modules()}

    def watch(place: str) -> object:
        return lambda m, i, y: kinds[place].add(y.dtype)

    for module in own.modules():
        if isinstance(module, BLOCKS):
            module.register_forward_hook(watch("blocks"))
        elif isinstance(module, PRODUCTS):
            module.register_forward_hook(watch("inside" if module in within else "outside"))
    loss, gradients = results(own, PLAIN)
    assert kinds["inside"] == {torch.float32}
    kinds["inside"].clear()
    mixed, rounded = results(own, Execution("bfloat16"))
    assert kinds["inside"] == {torch.bfloat16}
    assert kinds["blocks"] == kinds["outside"] == {torch.float32}
    assert {p.dtype for p in own.parameters()} == {g.dtype for g in rounded} == {torch.float32}
    assert mixed != loss and float(mixed) == pytest.approx(float(loss), rel=0.02)
    flat, other = (torch.cat([g.flatten() for g in all_]) for all_ in (gradients, rounded))
    assert torch.cosine_similarity(flat, other, dim=0) > 0.999


def test_a_compiled_block_has_the_same_gradients(
    own: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = partial(torch.compile, backend="aot_eager", fullgraph=True)  # needs no C++ compiler
    monkeypatch.setattr(torch, "compile", graphs)
    block = next(m for m in own.modules() if isinstance(m, BLOCKS))
    loss, gradients = results(own, PLAIN)
    compiled, others = results(own, Execution(compiled=True), block)
    torch.testing.assert_close(loss, compiled)
    torch.testing.assert_close(gradients, others, rtol=1e-4, atol=1e-6)


def test_afterwards_a_network_is_what_it_was(own: nn.Module) -> None:
    with pytest.raises(RuntimeError), Execution("bfloat16", recompute=True).of(own):
        raise RuntimeError
    assert not any("forward" in vars(m) for m in own.modules())
