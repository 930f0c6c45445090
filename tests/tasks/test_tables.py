from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tasks import store
from tasks.tables import read_table, read_tables, write_table

UNITS = {"value": "K", "level": "1"}


def make_table() -> pd.DataFrame:
    time = pd.Series(pd.to_datetime(["2001-01-01", "2001-01-02"])).astype("datetime64[ns]")
    return pd.DataFrame(
        {
            "cycle_time": time,
            "lead_time": pd.to_timedelta([0, 6], unit="h").astype("timedelta64[ns]"),
            "variable": ["t", "sp"],
            "level": [0.5, float("nan")],
            "used": [True, False],
            "value": pd.Series([1.5, 2.5], dtype="float32"),
        }
    )


def test_a_table_comes_back_with_its_types_and_units(root: str) -> None:
    address = store.join(root, "scores", "a.parquet")
    write_table(address, make_table(), UNITS)
    found = read_table(address)
    pd.testing.assert_frame_equal(found, make_table())
    assert found.attrs["units"] == UNITS
    assert str(found["cycle_time"].dtype) == "datetime64[ns]"
    assert str(found["lead_time"].dtype) == "timedelta64[ns]"


def test_units_are_in_the_schema(tmp_path: Path) -> None:
    write_table(str(tmp_path / "a.parquet"), make_table(), UNITS)
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.field("value").metadata[b"units"] == b"K"


def test_the_same_table_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(str(tmp_path / name), make_table(), UNITS)
    write_table(str(tmp_path / "c"), read_table(str(tmp_path / "a")))
    contents = {(tmp_path / name).read_bytes() for name in ("a", "b", "c")}
    assert len(contents) == 1


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    write_table(str(tmp_path / "a"), make_table().iloc[:0])
    found = read_table(str(tmp_path / "a"))
    assert found.empty
    assert found.dtypes.equals(make_table().dtypes)


def test_a_folder_of_tables_is_one_table(root: str) -> None:
    for name in ("b", "a"):
        table = make_table().assign(variable=name)
        write_table(store.join(root, "scores", f"{name}.parquet"), table, UNITS)
    found = read_tables(store.join(root, "scores"))
    assert found["variable"].tolist() == ["a", "a", "b", "b"]
    assert found.index.tolist() == [0, 1, 2, 3]
    assert found.attrs["units"] == UNITS


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"units of \['nothing'\]; allowed are columns"):
        write_table(str(tmp_path / "a"), make_table(), {"nothing": "K"})
    with pytest.raises(ValueError, match="no table there"):
        read_tables(str(tmp_path))
    store.write_bytes(tmp_path / "b", b"text")
    with pytest.raises(ValueError, match="b is not Parquet"):
        read_table(str(tmp_path / "b"))
