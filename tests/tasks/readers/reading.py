"""Read one file with one reader: the whole table and its account."""

import pandas as pd

from models.observations.table import validate_table
from tasks.readers.account import Account
from tasks.readers.files import File
from tasks.readers.formats import read_file


def read(path: object, form: str | None = None) -> tuple[pd.DataFrame, Account]:
    """Return the validated table of a file and its account, whose law is checked."""
    account, tables = Account(), []
    for batch in read_file(File(str(path)), form):
        account.add(batch.account)
        tables.append(batch.table)
    table = validate_table(pd.concat(tables, ignore_index=True))
    lost = sum(count for (what, _), count in account.left.items() if what == "value")
    assert account.values == len(table) + lost
    assert sum(account.kept.values()) == len(table)
    return table, account


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Return the number of rows of each variable."""
    return {str(name): int(count) for name, count in table["variable"].value_counts().items()}


def value(table: pd.DataFrame, variable: str, place: int = 0) -> pd.Series:
    """Return the row of a variable, the first by default."""
    return table[table["variable"] == variable].iloc[place]
