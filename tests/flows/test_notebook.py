import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from tasks import archive, notebook
from tasks.notebook import Assimilation

if TYPE_CHECKING:
    from conftest import Tiny

TIMES = pd.date_range("2001-01-03", periods=3, freq="6h")


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Tell whether all values are equal, bit for bit."""
    return set(a.data_vars) == set(b.data_vars) and all(
        a[name].values.tobytes() == b[name].values.tobytes() for name in a.data_vars
    )


def observations_of(root: Path, time: pd.Timestamp) -> pd.DataFrame:
    address = next((root / "attempts" / f"{time:%Y%m%dT%H}" / "observations").glob("*/*.parquet"))
    return archive.read_table(str(address)).drop(columns=["used", "reason"])


@pytest.fixture(scope="module")
def assimilate(tiny: "Tiny") -> Assimilation:
    return Assimilation(tiny.config)


@pytest.mark.parametrize("time", TIMES)
def test_the_plain_call_is_the_cycle_s_analysis_bit_for_bit(
    assimilate: Assimilation, finished: Path, time: pd.Timestamp
) -> None:
    background = archive.open_archive(str(finished), "background").sel(time=[time]).load()
    expected = archive.open_archive(str(finished), "analysis").sel(time=[time]).load()
    threads = torch.get_num_threads()
    result = assimilate.run(background, observations_of(finished, time))
    assert same(result.analysis, expected)
    assert not same(result.analysis, background)
    feedback = archive.read_table(str(finished / "feedback" / f"{time:%Y%m%dT%H}.parquet"))
    pd.testing.assert_frame_equal(result.feedback, feedback, check_exact=True)
    assert torch.get_num_threads() == threads
    assert result.analysis["t"].attrs == expected["t"].attrs


def test_columns_that_say_where_a_value_comes_from_may_be_left_out(
    assimilate: Assimilation, finished: Path
) -> None:
    background = archive.open_archive(str(finished), "background").isel(time=0).load()
    table = observations_of(finished, TIMES[0])
    few = table[["time", "lat", "lon", "level", "variable", "observation", "error"]]
    assert same(assimilate(background, few), assimilate(background, table))


def test_members_are_analyzed_together(assimilate: Assimilation, finished: Path) -> None:
    background = archive.open_archive(str(finished), "background").sel(time=[TIMES[0]]).load()
    ensemble = xr.concat([background, background + 1.0], "member").assign(
        {
            name: lambda ds, name=name: ds[name].assign_attrs(background[name].attrs)
            for name in background.data_vars
        }
    )
    analysis = assimilate(ensemble, observations_of(finished, TIMES[0]))
    assert analysis["t"].dims[:2] == ("time", "member") and analysis.sizes["member"] == 2
    assert not np.array_equal(analysis["t"][:, 0], analysis["t"][:, 1])


WRONG = {
    "unit": (
        lambda ds, table: (ds.assign(t=ds["t"].assign_attrs(units="degC")), table),
        ["background", "'t'", "degC", "K"],
    ),
    "level": (lambda ds, table: (ds.sel(level=[500.0]), table), ["'t'", "850", "500"]),
    "grid": (
        lambda ds, table: (ds.isel(latitude=slice(None, None, -1)), table),
        ["background", "latitude", "expected"],
    ),
    "value": (
        lambda ds, table: (
            ds.assign(t=ds["t"] - 273).assign(t=lambda new: new["t"].assign_attrs(units="K")),
            table,
        ),
        ["t@500", "not plausible"],
    ),
    "time": (lambda ds, table: (ds.drop_vars("time"), table), ["'time'", "UTC"]),
    "column": (lambda ds, table: (ds, table.drop(columns="error")), ["'error'", "missing"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_line(
    assimilate: Assimilation, finished: Path, name: str
) -> None:
    background = archive.open_archive(str(finished), "background").isel(time=0).load()
    change, words = WRONG[name]
    arguments = change(background, observations_of(finished, TIMES[0]))
    with pytest.raises(ValueError) as error:
        assimilate(*arguments)
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def test_several_times_need_the_time_of_the_analysis(
    assimilate: Assimilation, finished: Path
) -> None:
    background = archive.open_archive(str(finished), "background").isel(time=[0, 1]).load()
    table = observations_of(finished, TIMES[1])
    with pytest.raises(ValueError, match=r"cycle_time: needed with 2 times; .* 2001-01-03T00"):
        assimilate(background, table)
    with pytest.raises(ValueError, match=r"cycle_time: 2001-01-04T00:00:00; the background has"):
        assimilate(background, table, "2001-01-04")
    analysis = assimilate(background, table, TIMES[1])
    assert pd.Timestamp(analysis["time"].values[0]) == TIMES[1]


def test_the_three_lines_of_the_readme_make_an_analysis() -> None:
    embedded = Assimilation("embedded")
    time, spec = pd.Timestamp("2005-01-06"), embedded.spec
    states = embedded.statistics.denormalize(torch.zeros(1, *spec.shape), [time])
    background = spec.to_dataset(states, [time])
    observations = pd.DataFrame(
        {"time": [time] * 2, "lat": [47.0, 47.0], "lon": [8.0, 11.0], "level": [0.835, np.nan],
         "variable": ["t", "sp"], "observation": [270.0, 9.4e4], "error": [1.0, 100.0]}
    )  # fmt: skip
    lines = textwrap.dedent((notebook.__doc__ or "").split("\n\n")[1])
    assert len(lines.splitlines()) == 3
    found: dict[str, Any] = {"background": background, "observations": observations}
    exec(lines, found)  # noqa: S102
    analysis = found["analysis"]
    there = {"level": 0.835, "latitude": 47.0, "longitude": 8.0}
    before, after = (
        ds["t"].isel(time=0).sel(there, method="nearest").item() for ds in (background, analysis)
    )
    assert abs(after - 270.0) < abs(before - 270.0) and before != after
