"""The account of the whole chain: read = used + rejected, whatever is in the table."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.observations.quality.blocklist import Block
from models.observations.quality.control import ControlSettings, screen_departures, screen_reports
from models.observations.quality.reasons import Reason, Verdicts, account
from models.observations.quality.thinning import ThinningSettings
from models.observations.table import validate_table
from tests.quality_tables import MOMENT, NOON, dense, rows

VARIABLES = ("t", "q", "u", "v", "z", "t2m", "q2m", "u10", "v10", "sp", "msl", "nonsense")


def test_verdicts_keep_the_first_reason() -> None:
    verdicts = Verdicts(3)
    verdicts.reject(np.array([True, False, False]), Reason.FLAG)
    verdicts.reject(np.array([True, True, False]), Reason.DUPLICATE)
    verdicts.reject_each(np.array(["other", "", "some text"], object))
    table = verdicts.on(rows(3))
    assert table["reason"].tolist() == [Reason.FLAG, Reason.DUPLICATE, "some text"]
    again = Verdicts.of(table).on(table)
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match="used or have a reason"):
        Verdicts.of(table.assign(used=True))


wild = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, 9999.0, 99999.0, 273.15, 1e5, 5e4, -90.0, 360.0, 1e-3]),
)


@st.composite
def tables(draw: Callable[..., object]) -> pd.DataFrame:
    count = int(draw(st.integers(0, 12)))  # type: ignore[call-overload]
    column: Callable[..., list[object]] = lambda of: draw(
        st.lists(of, min_size=count, max_size=count)
    )  # type: ignore[assignment,return-value]
    shifts = column(st.one_of(st.none(), st.integers(-300, 300)))
    times = [pd.NaT if s is None else NOON + pd.Timedelta(minutes=s) for s in shifts]
    table = {
        "time": pd.Series(times, dtype="datetime64[ns]"),
        **{name: np.array(column(wild), np.float64) for name in ("lat", "lon", "elev", "pres")},
        "variable": pd.Series(column(st.sampled_from(VARIABLES)), dtype="str"),
        "observation": np.array(column(wild), np.float64),
        "error": np.array(column(wild), np.float64),
        "type": pd.Series(column(st.sampled_from(["temp", "aircraft", "synop"])), dtype="str"),
        "station": pd.Series(column(st.sampled_from(["", "a", "b"])), dtype="str"),
        "source": pd.Series(
            column(st.sampled_from(["madis:x", "bufr:y", "", "odb:z"])), dtype="str"
        ),
        "quality": np.array(column(st.integers(0, 20)), np.int64),
        "level": np.array(column(st.sampled_from([np.nan, 0.51, 500.0])), np.float64),
    }
    return validate_table(pd.DataFrame(table))


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(["none", "thin", "superob"]), st.data())
def test_every_row_is_used_or_has_one_reason(
    table: pd.DataFrame, kind: str, data: st.DataObject
) -> None:
    options = ControlSettings(
        suspects=data.draw(st.booleans()),
        blocklist=(Block(station="b"),),
        thinning=ThinningSettings(kind=kind, spacing=5000.0),  # type: ignore[arg-type]
    )
    first = screen_reports(table, options, MOMENT)
    count = len(table)
    departure = np.array(data.draw(st.lists(wild, min_size=count, max_size=count)), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        last = screen_departures(
            first.assign(o_minus_b=departure), options, MOMENT, np.ones(count)
        )
    for found in (first, last):
        assert len(found) == len(table)
        assert ((found["reason"] == "") == found["used"]).all()
        assert account(found)["count"].sum() == len(table)
        kept = (
            found["observation"]
            if kind != "superob"
            else found.get("reported", found["observation"])
        )
        pd.testing.assert_series_equal(kept, table["observation"], check_names=False)
        assert set(found["reason"]) <= {"", *Reason}
    assert not (last["used"] & ~first["used"]).any()
    used = last[last["used"]]
    assert np.isfinite(used[["lat", "lon", "observation", "error"]]).all(axis=None)
    assert (used["error"] > 0).all() and (used["station"] != "b").all()


def test_a_hundred_thousand_rows_take_less_than_two_seconds() -> None:
    count, random = 100_000, np.random.default_rng(0)
    table = pd.concat([dense(count // 4, seed=i) for i in range(4)], ignore_index=True)
    table["variable"] = random.choice(["t", "u", "v", "q"], count)
    table["variable"] = table["variable"].astype("str")
    table["observation"] = np.where(
        table["variable"] == "q", 1e-5, 240.0 * (table["variable"] == "t")
    )
    began = time.process_time()
    first = screen_reports(table, ControlSettings(), MOMENT)
    departure = random.standard_normal(count)
    found = screen_departures(
        first.assign(o_minus_b=departure), ControlSettings(), MOMENT, np.ones(count)
    )
    assert time.process_time() - began < 4.0  # 0.6 s alone on the machine
    assert account(found)["count"].sum() == count
