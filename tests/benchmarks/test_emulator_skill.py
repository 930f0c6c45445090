"""Skill and cost of the learned forecast model of the embedded world, beside the T21 model's.

    pytest tests/benchmarks/test_emulator_skill.py --benchmark-only -s

Both start from the same states of the nature run's test segment, on which neither was made. Errors
are area-weighted mean squares divided by the climatological variance, mean over all fields, with the
99 % interval of their difference from a bootstrap of blocks of dates. Seconds are those of the
processor, of one thread, the models in turn.
"""

import statistics
import time
from collections.abc import Iterator, Sequence

import pandas as pd
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from configs import load
from models.forecast import ForecastModel
from models.normalization import Statistics
from models.state import embedded_spec
from models.verification.bootstrap import block_means, interval
from tasks.components import Components

HOUR = pd.Timedelta(hours=1)
LEADS = (6, 12, 18, 24)
DATES, APART, BLOCK, BATCH = 160, pd.Timedelta(hours=18), 20, 8
ROUNDS, MEMBERS = 15, (1, 16)
MODELS = {"T21": "embedded", "emulator": "embedded-emulator"}


def blocks(
    x: Tensor, times: Sequence[pd.Timestamp]
) -> Iterator[tuple[Tensor, list[pd.Timestamp]]]:
    """Yield states and their times, a few at once."""
    for first in range(0, len(x), BATCH):
        part = slice(first, first + BATCH)
        yield x[part], list(times[part])


def errors(
    model: ForecastModel,
    dates: Sequence[pd.Timestamp],
    truth: dict[pd.Timestamp, Tensor],
    scales: Statistics,
) -> Tensor:
    """Return the error of each date and lead [climate units]."""
    area = embedded_spec().grid.cell_area_weights()[:, None]
    times, x, found = list(dates), torch.stack([truth[at] for at in dates]), []
    for _ in LEADS:
        x = torch.cat([model.step(part, at, 6 * HOUR) for part, at in blocks(x, times)])
        times = [at + 6 * HOUR for at in times]
        difference = x - torch.stack([truth[at] for at in times])
        found.append(((difference / scales.std[:, None, None]) ** 2 * area).mean((1, 2, 3)))
    return torch.stack(found, 1)


@pytest.mark.benchmark(group="learned forecast model")
def test_skill_and_seconds(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    parts = {name: Components(load(preset)) for name, preset in MODELS.items()}
    spec = embedded_spec()
    models = {name: c.forecast_model(c.statistics(spec), spec) for name, c in parts.items()}
    scales = parts["T21"].statistics(spec)
    reference = parts["T21"].reference("experiments/none")
    start = pd.Timestamp(load("embedded").start)
    dates = [start + k * APART for k in range(DATES)]
    wanted = {at + lead * HOUR for at in dates for lead in (0, *LEADS)}
    truth = {at: reference.state(at) for at in sorted(wanted)}
    scores = {kind: errors(model, dates, truth, scales) for kind, model in models.items()}
    for number, lead in enumerate(LEADS):
        own, other = (scores[kind][:, number].double().numpy() for kind in ("emulator", "T21"))
        low, high = interval(block_means((own - other)[None], BLOCK)[0], 0.99)
        row = f"{own.mean():.4f} {other.mean():.4f} difference {low:+.4f} to {high:+.4f}"
        benchmark.extra_info[f"{lead} h, emulator and T21"] = row
        print(f"{lead:2d} h: emulator and T21 {row}")
    x = {members: truth[dates[0]].expand(members, -1, -1, -1) for members in MEMBERS}
    seconds: dict[tuple[str, int], list[float]] = {(k, m): [] for k in models for m in MEMBERS}

    def all_in_turn() -> None:
        for (kind, members), found in seconds.items():
            began = time.process_time()
            models[kind].step(x[members], dates[0], 6 * HOUR)
            found.append((time.process_time() - began) / members)

    benchmark.pedantic(all_in_turn, rounds=ROUNDS, warmup_rounds=2)
    for members in MEMBERS:
        own, other = (statistics.median(seconds[kind, members]) for kind in ("emulator", "T21"))
        row = f"{own:.4f} s and {other:.4f} s a member, ratio {own / other:.2f}"
        benchmark.extra_info[f"6 h of {members} members, emulator and T21"] = row
        print(f"6 h of {members:2d}: emulator and T21 {row}")
        assert own < other
