import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observations import conversions as convert
from models.observations.error_table import ErrorTable
from models.observations.errors import ErrorRule, ErrorSettings, assign_errors

HECTOPASCAL = 100.0
# by hand from prepobs_errtable.global: type 120 temperature, 220 wind, 130 temperature
SONDE_T = {1100: 1.2, 1000: 1.2, 950: 1.1, 900: 0.9, 850: 0.8, 500: 0.8, 200: 1.2, 10: 1.5, 2: 1.5}
SONDE_WIND = {1000: 1.4, 500: 2.1, 250: 3.2}
AIREP_T = {1000: 2.5, 950: 2.3, 900: 2.1, 850: 1.9, 800: 1.7, 300: 1.7}


def rows(count: int, **columns: object) -> pd.DataFrame:
    table = {
        "time": np.full(count, "2020-01-01", "datetime64[ns]"),
        "lat": np.arange(count) * 1.0,
        "lon": np.zeros(count),
        "elev": np.full(count, np.nan),
        "pres": np.full(count, 5e4),
        "variable": pd.Series("t", range(count), dtype="str"),
        "observation": np.full(count, 250.0),
        "error": np.full(count, np.nan),
        "type": pd.Series("temp", range(count), dtype="str"),
        "station": pd.Series([str(i) for i in range(count)], dtype="str"),
        "source": pd.Series("bufr:x", range(count), dtype="str"),
        "quality": np.zeros(count, np.int64),
        "level": np.full(count, np.nan),
    }
    return pd.DataFrame(table | columns)


def errors(observed: pd.DataFrame, **settings: object) -> np.ndarray:
    return assign_errors(observed, ErrorSettings(**settings))["error"].to_numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "variable", "expected"),
    [
        (("temp",), "t", SONDE_T),
        (("ncep 120",), "t", SONDE_T),
        (("temp",), "u", SONDE_WIND),
        (("ncep 130", "aircraft"), "t", AIREP_T),
    ],
)
def test_table_has_the_figures_of_ncep(
    names: tuple[str, ...], variable: str, expected: dict[int, float]
) -> None:
    pressure = np.array(list(expected), np.float64) * HECTOPASCAL
    found = ErrorTable.packaged().look_up(names, variable, pressure)
    assert found is not None
    assert found[0] == pytest.approx(list(expected.values())) and not found[1]


def test_units_are_si() -> None:
    table = ErrorTable.packaged()
    ship = table.look_up(("ship",), "sp", np.array([1e5]))
    humidity = table.look_up(("temp",), "q", np.array([5e4]))
    assert ship is not None and ship[0][0] == pytest.approx(160.0)
    assert humidity is not None and humidity[0][0] == pytest.approx(0.2) and humidity[1]


@given(st.floats(0.0, 1.0))
def test_error_is_linear_in_log_pressure_between_levels(share: float) -> None:
    pressure = np.exp((1 - share) * np.log(95_000.0) + share * np.log(90_000.0))
    found = ErrorTable.packaged().look_up(("temp",), "t", np.array([pressure]))
    assert found is not None and found[0][0] == pytest.approx(1.1 - 0.2 * share, abs=1e-9)


def test_what_the_table_does_not_use_has_no_error() -> None:
    table = ErrorTable.packaged()
    found = table.look_up(("synop",), "sp", np.array([60_000.0, 59_000.0, 55_000.0, 50_000.0]))
    assert found is not None
    assert found[0][0] == 100.0 and np.isnan(found[0][1:]).all()
    assert table.look_up(("satwind",), "t", np.array([5e4])) is None


def test_humidity_is_scaled_with_saturation_at_its_own_report() -> None:
    table = rows(3, variable=pd.Series(["t", "q", "q"], dtype="str"))
    table["lat"], table["station"] = [0.0, 0.0, 9.0], ["a", "a", "b"]
    table["observation"] = [270.0, 1e-3, 1e-3]
    found = errors(table)
    temperature = np.array([270.0, convert.standard_temperature(np.array([5574.4]))[0]])
    full = convert.specific_humidity(convert.saturation_vapour_pressure(temperature), 5e4)
    assert found[0] == pytest.approx(0.8)
    assert found[1:] == pytest.approx(0.2 * full, rel=1e-4)


def test_the_own_error_comes_before_the_table_and_a_rule_before_both() -> None:
    table = rows(4, error=np.array([0.5, np.nan, -1.0, 0.5]))
    assert errors(table) == pytest.approx([0.5, 0.8, 0.8, 0.5])
    assert errors(table, own=False) == pytest.approx([0.8] * 4)
    rules = (ErrorRule(type="te*", error=3.0), ErrorRule(station="[23]", factor=2.0))
    assert errors(table, rules=rules) == pytest.approx([3.0, 3.0, 6.0, 6.0])
    elsewhere = (ErrorRule(source="madis:*", error=3.0),)
    assert errors(table, rules=elsewhere) == pytest.approx([0.5, 0.8, 0.8, 0.5])


def test_the_floor_is_the_least_error() -> None:
    table = rows(2, error=np.array([0.5, 4.0]))
    floor = (ErrorRule(variable="t", floor=2.0), ErrorRule(type="temp", floor=1.0))
    assert errors(table, rules=floor) == pytest.approx([2.0, 4.0])
    assert errors(table, rules=(ErrorRule(variable="u", floor=2.0),)) == pytest.approx([0.5, 4.0])
    unknown = rows(1, type=pd.Series(["nothing"], dtype="str"))
    assert np.isnan(errors(unknown, rules=floor)).all()


def test_report_code_of_ncep_comes_before_the_type() -> None:
    table = rows(2, report_code=[130, 0], pres=np.full(2, 1e5))
    assert errors(table) == pytest.approx([2.5, 1.2])


def test_own_table_over_the_packaged_one() -> None:
    text = "type,variable,pressure,error,source\ntemp,t,50000,0.3,me\n"
    table = ErrorTable.from_csv(text).over(ErrorTable.packaged())
    found = errors(rows(2, variable=pd.Series(["t", "u"], dtype="str")), table=table)
    assert found == pytest.approx([0.3, 2.1])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", "error table without the column 'type'; needed: type, variable, pressure"),
        ("type,variable,pressure,error\nx,t,-1,2\n", "pressure -1 of x, t; allowed: above 0"),
        ("type,variable,pressure,error\nx,t,1,0\n", "error 0 of x, t; allowed: above 0"),
        ("type,variable,pressure,error\nx,t,1,low\n", "error 'low'; allowed: a number"),
        ("type,variable,pressure,error\nx,t,1,1\nx,t,1,2\n", "comes twice"),
        ("", "error table is no CSV file"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        ErrorTable.from_csv(text)
    assert len(str(caught.value).splitlines()) == 1
