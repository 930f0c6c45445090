"""Samples of an emulator's training: which states they hold, and how those are disturbed."""

import pytest
import torch
from torch import Tensor

from models.training.emulator import EmulatorObjective, EmulatorSettings
from models.training.emulator_samples import Samples, evenly
from tests.small_emulator import DAY, START, emulator_of, series, state_spec


def test_disturbed_states_lie_between_the_truth_and_its_forecast() -> None:
    x, times = series(12)
    emulator = emulator_of()
    samples = Samples(emulator, x, times, state_spec())
    period = (times[0], times[-1])
    objective = EmulatorObjective(
        samples, EmulatorSettings(period, period, noise=0.5, lagged=5 / 8, batch=8)
    )
    generator = torch.Generator().manual_seed(0)
    truth, _, _, before, basis, noise, part = objective.draw(generator)
    assert part.shape[0] == len(before) == 5
    calm = objective.disturbed(truth, 0 * noise, before, basis, part)
    forecast = emulator(before, basis)
    torch.testing.assert_close(calm[:5], truth[:5] + part * (forecast - truth[:5]))
    assert ((part > 0) & (part < 1)).all() and part.std() > 0.1
    assert torch.equal(calm[5:], truth[5:])
    shifted = objective.disturbed(truth, 0.5 + 0 * noise, before[:0], basis[:0], part[:0])
    torch.testing.assert_close(shifted, truth + 0.5)


def test_states_before_and_after_belong_to_the_sample() -> None:
    x, times = series(12)
    samples = Samples(emulator_of(), x, times, state_spec())
    settings = EmulatorSettings((times[0], times[-1]), (times[0], times[-1]), batch=4, lagged=1)
    truth, basis, target, before, basis_before, _, _ = EmulatorObjective(samples, settings).draw(
        torch.Generator().manual_seed(3)
    )
    where = [next(k for k in range(12) if torch.equal(samples.a[k], a)) for a in truth]
    index = torch.tensor(where)
    assert torch.equal(target, samples.a[index + 1]) and torch.equal(before, samples.a[index - 1])
    assert torch.equal(basis, samples.basis[index])
    assert torch.equal(basis_before, samples.basis[index - 1])


def test_no_sample_crosses_a_gap_or_the_end_of_its_period() -> None:
    x, times = series(20)
    del times[7]
    x = torch.cat([x[:7], x[8:]])
    samples = Samples(emulator_of(), x, times, state_spec())
    period = (START + 2 * DAY, START + 12 * DAY)
    assert [times[i] for i in samples.starts(period, 1)] == [
        START + k * DAY for k in (2, 3, 4, 5, 8, 9, 10, 11)
    ]
    assert [times[i] for i in samples.starts(period, 3)] == [START + k * DAY for k in (2, 3, 8, 9)]
    with pytest.raises(ValueError, match="must hold 8 states in a row, 24 h apart"):
        samples.starts(period, 7)


class Lazy:
    """States that are read where they are selected."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __getitem__(self, index: Tensor, /) -> Tensor:
        return self.x[index]


def test_states_that_are_not_in_memory_give_the_same_samples() -> None:
    x, times = series(12)
    both = [Samples(emulator_of(), s, times, state_spec()) for s in (x, Lazy(x))]
    starts = torch.tensor([3, 0, 7])
    torch.testing.assert_close(*(s.a[starts] for s in both))
    torch.testing.assert_close(*(s.loss(starts) for s in both))


def test_at_most_so_many_samples_are_taken_from_all_of_the_period() -> None:
    starts = evenly(torch.arange(1000), 64)
    assert 32 < len(starts) <= 64 and starts[0] == 0 and starts[-1] > 980
    assert torch.equal(evenly(torch.arange(50), 64), torch.arange(50))
