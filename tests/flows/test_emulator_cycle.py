"""The embedded world with a learned forecast model: it cycles, and is a forecast model."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from configs import load
from models.state import embedded_spec
from tasks.components import Components

LEAD = "verification.forecast_lead=P1D"
EMULATOR = ("forecast_model.kind=emulator", "checkpoints.emulator=embedded-emulator")


@pytest.mark.cycle
def test_a_cycle_with_the_published_emulator_beats_its_background(
    losda: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    settings = [f"--set={each}" for each in (*EMULATOR, "name=emulator", "spin_up=0", LEAD)]
    where = ("--method", "3dvar", "--cycles", 2, "--out", tmp_path / "e", "--no-report", "--json")
    code, output, errors = losda("run", "embedded", *where, *settings)
    assert code == 0, errors
    document = json.loads(output)
    assert len(document["cycles"]) == 2
    for cycle in document["cycles"]:
        assert cycle["analysis"] < cycle["background"] < cycle["free"] * 1.01


def test_the_emulator_forecasts_for_a_month_without_leaving_the_climate() -> None:
    components, spec = Components(load("embedded", EMULATOR)), embedded_spec()
    statistics = components.statistics(spec)
    model = components.forecast_model(statistics, spec)
    start, lead = pd.Timestamp("2005-01-01"), pd.Timedelta(days=30)
    state = statistics.climatology([start])
    noise = torch.randn(1, *spec.shape, generator=torch.Generator().manual_seed(0))
    state = state + 0.1 * statistics.std[:, None, None] * noise
    with torch.no_grad():
        found = statistics.normalize(model.step(state, start, lead), [start + lead])
    size = float((found**2 * spec.grid.cell_area_weights()[:, None]).mean())
    assert 0.3 < size < 3.0
