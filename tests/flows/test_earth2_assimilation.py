from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from models.device import CPU, MethodOnDevice
from tasks import archive, components, earth2_assimilation, notebook
from tasks.earth2_assimilation import LOSDA
from tasks.earth2_tables import own_table
from tests.pretend_device import DEVICE, second_device

if TYPE_CHECKING:
    from conftest import Tiny

TIMES = pd.date_range("2001-01-03", periods=3, freq="6h")
NAMES = ["t850", "msl", "t500"]  # another order than the state's


@pytest.fixture(scope="module")
def model(tiny: "Tiny") -> LOSDA:
    return LOSDA(tiny.config)


def array(finished: Path, name: str, time: pd.Timestamp) -> xr.DataArray:
    """Return a state as earth2studio has it: north first, one array, names with levels."""
    ds = archive.open_archive(str(finished), name).sel(time=[time]).load()
    parts = [ds["msl"] if n == "msl" else ds["t"].sel(level=float(n[1:])) for n in NAMES]
    values = np.stack([part.values for part in parts], 1)[:, None, :, ::-1]
    coords = {
        "time": [time.to_datetime64()],
        "lead_time": [np.timedelta64(0, "h")],
        "variable": NAMES,
        "lat": ds["latitude"].values[::-1],
        "lon": ds["longitude"].values,
    }
    return xr.DataArray(values, coords, tuple(coords))


def observations(finished: Path, time: pd.Timestamp) -> pd.DataFrame:
    """Return the observations of a cycle in earth2studio's columns, and their error."""
    folder = finished / "attempts" / f"{time:%Y%m%dT%H}" / "observations"
    table = archive.read_table(str(next(folder.glob("*/*.parquet"))))
    level = table["level"].map(lambda v: "" if np.isnan(v) else f"{v:g}")
    table = table.assign(
        variable=table["variable"] + level, quality=table["quality"].astype("UInt16")
    )
    table.loc[0, "station"] = None
    table.attrs = {"request_time": np.array([time.to_datetime64()])}
    return table.drop(columns=["level", "used", "reason"])


def test_the_protocol_is_earth2studio_s(model: LOSDA) -> None:
    base = pytest.importorskip("earth2studio.models.da.base")
    assert isinstance(model, base.AssimilationModel)


@pytest.mark.parametrize("time", TIMES)
def test_a_call_is_the_cycle_s_analysis_bit_for_bit(
    model: LOSDA, finished: Path, time: pd.Timestamp
) -> None:
    x = array(finished, "background", time)
    (analysis,) = model(x, observations(finished, time))
    xr.testing.assert_identical(analysis, array(finished, "analysis", time))
    assert not np.array_equal(analysis, x)
    without = x.isel(lead_time=0, drop=True)
    (flat,) = model(without, observations(finished, time))
    assert flat.dims == without.dims and np.array_equal(flat, analysis[:, 0])


def test_the_generator_cycles_as_the_experiment_did(model: LOSDA, finished: Path) -> None:
    cycles = model.create_generator(array(finished, "background", TIMES[0]))
    (background,) = next(cycles)
    xr.testing.assert_identical(background, array(finished, "background", TIMES[0]))
    for number, time in enumerate(TIMES):
        table = observations(finished, time)
        (analysis,) = cycles.send((table,) if number % 2 else table)
        xr.testing.assert_identical(analysis, array(finished, "analysis", time))
    (forecast,) = cycles.send(None)
    assert np.array_equal(forecast, analysis), "persistence, and nothing observed"
    cycles.close()


def test_coordinates_say_what_is_needed(model: LOSDA, finished: Path) -> None:
    x = array(finished, "background", TIMES[0])
    (state,), (frame,) = model.init_coords(), model.input_coords()
    assert list(state) == ["time", "lead_time", "variable", "lat", "lon"]
    assert list(state["variable"]) == ["t500", "t850", "msl"]
    assert set(frame["variable"]) == {"t500", "t850", "msl", "t"}
    given: Any = {name: x[name].values for name in x.dims}
    (out,) = model.output_coords((given, frame), request_time=np.array([TIMES[1].to_datetime64()]))
    assert list(out["variable"]) == NAMES and out["time"][0] == TIMES[1].to_datetime64()
    with pytest.raises(ValueError, match="lacks 1 of the state's 3 fields, the first 't@500'"):
        model.output_coords((given | {"variable": np.array(NAMES[:2])},))


def test_members_are_an_ensemble(model: LOSDA, finished: Path) -> None:
    x = array(finished, "background", TIMES[0])
    both = xr.concat([x, x + 1.0], pd.Index([0, 1], name="ensemble"))
    (analysis,) = model(both, observations(finished, TIMES[0]))
    assert analysis.dims == both.dims and analysis.shape == both.shape
    assert not np.array_equal(analysis[0], analysis[1])


def test_without_a_column_errors_are_parts_of_the_deviation(model: LOSDA, finished: Path) -> None:
    table = observations(finished, TIMES[0]).drop(columns="error")
    std = model.assimilation.statistics.std
    own = own_table(table, model.spec, std, 0.2)
    for name, level, field in (("t", 500.0, 0), ("t", 850.0, 1), ("msl", np.nan, 2)):
        rows = (own["variable"] == name) & ((own["level"] == level) | np.isnan(level))
        assert rows.any() and np.allclose(own["error"][rows], 0.2 * float(std[field]))
    pressure = table.assign(variable="t", pres=84_000.0)
    assert np.allclose(own_table(pressure, model.spec, std, 1.0)["error"], float(std[1]))


def test_what_does_not_fit_is_one_line(model: LOSDA, finished: Path) -> None:
    x, table = array(finished, "background", TIMES[0]), observations(finished, TIMES[0])
    cases = [
        (x.isel(variable=[0, 1]), table, "forecast model lacks 1|model lacks 1"),
        (x.isel(lat=slice(1, None)), table, "latitude of the state"),
        (x.transpose(..., "lat", "variable", "lon"), table, "background: dimensions time, "),
        (xr.concat([x, x], "time"), table, "background: 2 times; allowed: 1"),
        (x - 273.0, table, "background: variable .* not plausible"),
        (x, table.drop(columns="lat"), "observations: column 'lat' is missing"),
    ]
    for state, frame, words in cases:
        with pytest.raises(ValueError, match=words) as error:
            model(state, frame)
        assert "\n" not in str(error.value)


def test_it_computes_on_the_device_that_it_is_told(
    model: LOSDA, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, table = array(finished, "background", TIMES[0]), observations(finished, TIMES[0])
    (here,) = model(x, table)
    assert model.to(torch.device("cpu")) is model
    with pytest.raises(ValueError, match=r"^device: 'cuda'; allowed here: auto, cpu$"):
        model.to("cuda")
    with pytest.raises(ValueError, match=r"^device: 'mps'; allowed: cpu, cuda, cuda:N$"):
        model.to("mps")
    for module in (components, earth2_assimilation):
        monkeypatch.setattr(module, "device_of", lambda name: DEVICE if name == "cuda" else CPU)
    # the stand-in device is one of this thread
    monkeypatch.setattr(notebook, "as_in_a_cycle", lambda work: work())
    moved = LOSDA(model.assimilation.experiment.config)
    with second_device():
        assert moved.to("cuda") is moved
        assert isinstance(moved.assimilation.method, MethodOnDevice)
        (there,) = moved(x, table)
    np.testing.assert_allclose(there.values, here.values, rtol=1e-6)
