"""One Parquet file of many batches: written as they come, named when it is whole."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.observations.table import COLUMNS
from tasks import store

__all__ = ["TableFile", "table_file"]

EXTRA = {
    "height": "height above the sea of values that have no pressure of their own [m]",
    "impact_parameter": "impact parameter of bending angles [m]",
    "report_code": "report type of NCEP, 0 if none",
}
TEXTS = ("variable", "type", "station", "source")
INTEGERS = ("quality", "report_code")


def _field(name: str, what: str) -> pa.Field:
    if name == "time":
        kind = pa.timestamp("ns")
    elif name in TEXTS:
        kind = pa.large_string()
    else:
        kind = pa.int64() if name in INTEGERS else pa.float64()
    return pa.field(name, kind, metadata={"description": what})


SCHEMA = pa.schema([_field(name, what) for name, what in (COLUMNS | EXTRA).items()])


class TableFile:
    """An open Parquet file that takes batches."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        """Take an open writer."""
        self._writer, self.dropped = writer, set[str]()

    def add(self, table: pd.DataFrame) -> None:
        """Append a batch; columns that only its source has are named in `dropped`."""
        self.dropped |= {str(name) for name in table.columns} - set(SCHEMA.names)
        if not len(table):
            return
        columns = {
            name: table.get(name, pd.Series(0 if name in INTEGERS else np.nan, table.index))
            for name in SCHEMA.names
        }
        frame = pd.DataFrame(columns)
        self._writer.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False))


@contextmanager
def table_file(address: str) -> Iterator[TableFile]:
    """Open a Parquet file at an address; it appears there when all is written."""
    remote = store.is_remote(address)
    folder = None if remote else Path(address).absolute().parent
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".losda-", dir=folder) as hidden:
        path = Path(hidden) / "table.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            yield TableFile(writer)
        if remote:
            fsspec.filesystem("s3", **store.s3_options()).put_file(str(path), address)
        else:
            os.replace(path, address)
