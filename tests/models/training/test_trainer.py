import torch
from torch import nn

from models.training.trainer import Trainer, TrainingSettings


def trainer(iterations: int = 60) -> Trainer:
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    weights = torch.tensor([1.0, -2.0, 0.5])

    def loss(generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(16, 3, generator=generator)
        return ((module(x)[:, 0] - x @ weights) ** 2).mean()

    settings = TrainingSettings(iterations, learning_rate=0.1, warm_up=5, averaging=0.9)
    return Trainer(module, loss, settings)


def test_training_finds_the_minimum() -> None:
    t = trainer(300)
    t.run()
    target = torch.tensor([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(t.module.weight.detach(), target, atol=0.01, rtol=0)


def test_an_interrupted_training_ends_with_the_same_weights_bit_for_bit() -> None:
    whole, first, second = trainer(), trainer(), trainer()
    whole.run()
    for _ in range(23):
        first.step()
    second.restore({key: value.clone() for key, value in first.tensors().items()})
    second.run()
    assert torch.equal(second.module.weight, whole.module.weight)
    assert second.curve == whole.curve


def test_the_learning_rate_warms_up_and_decays() -> None:
    t = trainer()
    rates = []
    for _ in range(60):
        rates.append(t.learning_rate())
        t.step()
    assert rates[0] < rates[4] and max(rates) <= 0.1 and rates[-1] < 0.01
