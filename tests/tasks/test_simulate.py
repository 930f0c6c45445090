"""Values of the reference at the places of reports: their errors are those of the table."""

import numpy as np
import pandas as pd
import pytest
import torch

from configs import load
from configs.observing import Files
from models.observations import conversions as convert
from models.observations.batch import to_observations
from models.observations.comparable import unobservable
from models.observations.table import validate_table
from models.state import embedded_spec
from tasks.observing import Observing
from tasks.simulate import simulate

SPEC = embedded_spec()
CYCLE = pd.Timestamp("2005-01-06T06")


def observing(**simulation: float) -> Observing:
    files = Files(kind="files", address=("none",), simulation=simulation)  # type: ignore[arg-type]
    return Observing(files, SPEC, load("embedded"))


def state() -> torch.Tensor:
    x = torch.zeros(SPEC.shape)
    sigma = torch.tensor(SPEC.variable("t").levels)[:, None, None]
    x[SPEC.slices["t"]] = (290.0 * sigma**0.19).clamp(min=205.0)
    t, p = x[SPEC.slices["t"]].double().numpy(), 1e5 * sigma.double().numpy()
    q = convert.relative_to_specific_humidity(np.full_like(t, 0.4), t, np.broadcast_to(p, t.shape))
    x[SPEC.slices["q"]] = torch.from_numpy(q).float()
    x[SPEC.slices["sp"]] = 1e5
    return x


def reports(count: int = 3000) -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = {
        "time": pd.Timestamp("1999-05-05T23:10")
        + pd.to_timedelta(random.uniform(0, 30, count), "h"),
        "lat": random.uniform(-60, 60, count),
        "lon": random.uniform(0, 360, count),
        "elev": np.nan,
        "pres": random.uniform(2e4, 8e4, count),
        "variable": random.choice(["t", "q", "u"], count),
        "observation": -1.0,
        "error": np.nan,
        "type": "temp",
        "station": [f"{i}" for i in range(count)],
        "source": "madis:x",
        "quality": 4,
        "level": np.nan,
    }
    return validate_table(pd.DataFrame(table))


def drawn(**simulation: float) -> pd.DataFrame:
    options, table = observing(**simulation), reports()
    table = table[unobservable(table, SPEC) == ""]  # not below mountains
    return simulate(table, options, options.moment(CYCLE), {CYCLE: state()}, CYCLE, 0)


def normalized(table: pd.DataFrame) -> np.ndarray:
    observations = to_observations(table, SPEC)
    expected = observations.operator(state()[None].double())[0].numpy()
    return (table["observation"].to_numpy() - expected) / table["error"].to_numpy()


def test_errors_are_those_of_the_table() -> None:
    table = drawn()
    for name in ("t", "u"):
        error = normalized(table[table["variable"] == name])
        assert error.mean() == pytest.approx(0.0, abs=0.1)
        assert error.std() == pytest.approx(1.0, abs=0.06)
    assert not table["planted"].any() and (table["quality"] == 0).all()


def test_humidity_has_no_bias_and_stays_between_none_and_saturation() -> None:
    table = drawn()
    humid = table[table["variable"] == "q"]
    error = normalized(humid)
    assert error.mean() == pytest.approx(0.0, abs=0.1) and 0.2 < error.std() <= 1.0
    assert (humid["observation"] >= 0).all()


def test_gross_errors_are_marked() -> None:
    table = drawn(gross=0.1)
    assert table["planted"].mean() == pytest.approx(0.1, abs=0.02)
    sound, planted = (normalized(table[table["planted"] == flag]) for flag in (False, True))
    assert np.abs(planted).min() > 2.0 and np.abs(planted).max() < 25.0
    assert np.abs(sound).max() < 5.0


def test_times_are_moved_by_whole_steps_into_the_window() -> None:
    after = drawn()["time"]
    before = reports()["time"][after.index]
    assert ((after - before) % pd.Timedelta(hours=6) == pd.Timedelta(0)).all()  # type: ignore[operator]
    assert (after > CYCLE - pd.Timedelta(hours=3)).all()
    assert (after <= CYCLE + pd.Timedelta(hours=3)).all()


def test_the_same_cycle_gives_the_same_values() -> None:
    pd.testing.assert_frame_equal(drawn(gross=0.1), drawn(gross=0.1))
