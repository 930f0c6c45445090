"""The formats by name, and by the first bytes of a file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from models.observations.reports import Reports
from tasks.readers.account import Account, Batch, Reader, Unreadable, batch_of
from tasks.readers.files import HEAD, File

__all__ = ["FORMATS", "format_of", "read_file", "reader_of"]


@dataclass(frozen=True)
class Format:
    """Where the reader of a format is; the module is imported when a file needs it."""

    module: str
    function: str
    text: str


FORMATS: Mapping[str, Format] = {
    "bufr": Format("bufr", "read_bufr", "WMO BUFR, and NCEP PREPBUFR with its embedded tables"),
    "madis": Format("madis", "read_madis", "MADIS netCDF"),
    "ioda": Format("ioda", "read_ioda", "IODA netCDF-4 / HDF5"),
    "metar": Format("metar", "read_metar", "METAR as CSV"),
    "isd": Format("isd", "read_isd", "ISD fixed width"),
    "igra": Format("igra", "read_igra", "IGRA 2 text"),
    "ndbc": Format("ndbc", "read_ndbc", "NDBC text"),
    "odb": Format("odb", "read_odb", "ODB-2"),
    "parquet": Format("parquet", "read_parquet", "Parquet of earth2studio or NNJA-AI"),
}

SIGNS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("parquet", re.compile(rb"PAR1")),
    ("odb", re.compile(rb"\xff\xffODA")),
    ("ioda", re.compile(rb"\x89HDF\r\n\x1a\n")),
    ("madis", re.compile(rb"CDF[\x01\x02\x05]")),
    ("igra", re.compile(rb"#[A-Z]{2}\w{9} \d{4} \d\d \d\d ")),
    ("ndbc", re.compile(rb"(#STN|#?YY(YY)?) .*\b(WDIR|WSPD|WD)\b")),
    ("metar", re.compile(rb"\s*Unix_time,")),
    ("isd", re.compile(rb"\d{4}[0-9A-Z]{6}\d{5}\d{12}.[+-]\d{5}[+-]\d{6}")),
)
BUFR = re.compile(rb"BUFR.{3}[\x02-\x04]", re.DOTALL)


def format_of(head: bytes) -> str | None:
    """Return the format that the first bytes of a file are of; None if of none."""
    found = next((name for name, sign in SIGNS if sign.match(head)), None)
    bufr = head.startswith(b"BUFR") or BUFR.search(head)
    return found or ("bufr" if bufr else None)


def reader_of(name: str) -> Reader:
    """Return the reader of a format.

    Raises:
        ValueError: There is no such format.
    """
    if name not in FORMATS:
        raise ValueError(f"format {name!r}; allowed: {', '.join(FORMATS)}")
    form = FORMATS[name]
    reader: Reader = getattr(import_module(f"tasks.readers.{form.module}"), form.function)
    return reader


def read_file(file: File, name: str | None = None) -> Iterator[Batch]:
    """Yield the batches of a file; a file that breaks off ends with its reason counted.

    Args:
        file: What to read.
        name: Its format; seen by the first bytes if None.
    """
    try:
        head = file.head(HEAD)
        own = name or format_of(head)
        if own is None:
            raise Unreadable("format is not known" if head else "file is empty")
        yield from reader_of(own)(file)
    except Unreadable as error:
        yield _broken(str(error))
    except (OSError, EOFError) as error:
        yield _broken(f"{type(error).__name__}: {error}")


def _broken(reason: str) -> Batch:
    account = Account()
    account.leave("file", " ".join(reason.split())[:200])
    return batch_of(Reports.none(), "", account)
