"""Tables at rest: Parquet with the units of the columns in the schema.

The same table gives the same bytes. Times are datetime64[ns] without zone (UTC); a column's unit is
in its field metadata under `units` and comes back in `DataFrame.attrs["units"]`.
"""

import io
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import store

__all__ = ["read_table", "read_tables", "write_table"]

UNITS = "units"


def write_table(address: str, table: pd.DataFrame, units: Mapping[str, str] | None = None) -> None:
    """Write a table as one Parquet file, atomically.

    Args:
        address: Where to.
        table: Columns; the index is not written.
        units: Unit of each column that has one; default `table.attrs["units"]`.

    Raises:
        ValueError: A unit is given for a column that is not there.
    """
    units = dict(table.attrs.get(UNITS, {}) if units is None else units)
    unknown = sorted(set(units) - set(table.columns))
    if unknown:
        raise ValueError(f"{address}: units of {unknown}; allowed are columns {[*table.columns]}")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    fields = [
        field.with_metadata({UNITS: units[field.name]}) if field.name in units else field
        for field in arrow.schema
    ]
    schema = pa.schema(fields, metadata={UNITS: "CF"})
    buffer = io.BytesIO()
    pq.write_table(arrow.cast(schema), buffer, compression="zstd")
    store.write_bytes(address, buffer.getvalue(), durable=False)


def read_table(address: str) -> pd.DataFrame:
    """Return a table, with the units of its columns in `attrs["units"]`.

    Raises:
        ValueError: The file is not Parquet.
    """
    data = store.read_bytes(address)
    try:
        arrow = pq.read_table(io.BytesIO(data))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{address} is not Parquet: {str(error).splitlines()[0]}") from error
    table: pd.DataFrame = arrow.to_pandas()
    key = UNITS.encode()
    known = ((field.name, field.metadata or {}) for field in arrow.schema)
    table.attrs[UNITS] = {name: meta[key].decode() for name, meta in known if key in meta}
    return table


def read_tables(folder: str) -> pd.DataFrame:
    """Return all tables of a folder as one, in the order of their names.

    Raises:
        ValueError: The folder has none.
    """
    found = [name for name in store.names(folder) if name.endswith(".parquet")]
    if not found:
        raise ValueError(f"{folder}: no table there; allowed: a folder with *.parquet")
    tables = [read_table(store.join(folder, name)) for name in found]
    joined = pd.concat(tables, ignore_index=True)
    joined.attrs = tables[0].attrs
    return joined
