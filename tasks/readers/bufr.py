"""WMO BUFR: SYNOP, SHIP, BUOY, TEMP, PILOT, AMDAR, satellite winds, radio occultation.

References:
    | WMO-No. 306, volume I.2, FM 94 BUFR
"""

import io
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.observations.conversions import GRAVITY
from models.observations.reports import Reports
from tasks.bufr.blocks import Block, Column
from tasks.bufr.decode import Decoded, Left, decode
from tasks.bufr.embedded import EmbeddedTables
from tasks.bufr.frames import Damage, Frame, frames
from tasks.bufr.sections import DX, Message, parse
from tasks.bufr.tables import Tables, wmo_tables
from tasks.readers.account import Account, Batch, batch_of
from tasks.readers.bufr_blocks import first, identifiers, level_blocks, number, times
from tasks.readers.bufr_marks import GOOD_TO_BAD, marks_of_codes, place_marks
from tasks.readers.files import File
from tasks.readers.marks import worse
from tasks.readers.occultation import occultation_reports
from tasks.readers.prepbufr import PREPBUFR_CENTRE, Mnemonics, prepbufr_reports
from tasks.readers.templates import (
    NOTED,
    OCCULTATION,
    OCCULTATION_CODES,
    SEA,
    SOUNDING,
    WANTED,
    Kind,
    described,
    kind_of,
)
from tasks.readers.unread import leave_elements

__all__ = ["read_bufr"]

BATCH_BYTES, BATCH_MESSAGES = 1 << 22, 8192
Array = NDArray[np.float64]


def read_bufr(file: File) -> Iterator[Batch]:
    """Yield the batches of a BUFR file, WMO or NCEP with embedded tables."""
    source, embedded = f"bufr:{file.name}", EmbeddedTables()
    with file.open() as stream:
        account, messages, size, inside = Account(), list[Message](), 0, 0
        for found in frames(io.BufferedReader(stream)):
            account.messages += 1
            inside += len(found.data) if isinstance(found, Frame) else 0
            message = found if isinstance(found, Damage) else parse(found)
            if isinstance(message, Damage):
                account.damage(message.offset, message.reason)
                continue
            if message.category == DX:
                yield from _batch(messages, embedded.tables, source, account)
                account, messages, size = Account(), [], 0
                _define(embedded, message, account)
                continue
            messages.append(message)
            size += len(message.data)
            if size >= BATCH_BYTES or len(messages) >= BATCH_MESSAGES:
                yield from _batch(messages, embedded.tables, source, account)
                account, messages, size = Account(), [], 0
        account.leave("byte", "outside of messages", stream.count - inside)
        if stream.fault:
            account.damage(-1, stream.fault)
        yield from _batch(messages, embedded.tables, source, account)


def _define(embedded: EmbeddedTables, message: Message, account: Account) -> None:
    try:
        embedded.add(message)
        account.leave("message", "table definitions (read)")
    except ValueError as error:
        account.damage(message.offset, f"table message: {error}")


def _batch(
    messages: list[Message], own: Tables | None, source: str, account: Account
) -> Iterator[Batch]:
    def tables(message: Message) -> Tables:
        if own is not None and message.centre == PREPBUFR_CENTRE:
            return own
        return wmo_tables(message.centre, *message.versions)

    mnemonics = Mnemonics(own) if own is not None else None
    wanted = WANTED | mnemonics.wanted if mnemonics is not None else WANTED
    for result in decode(messages, wanted, tables):
        if isinstance(result, Damage):
            account.damage(result.offset, result.reason)
        elif isinstance(result, Left):
            account.leave("message", f"{result.reason} ({described(result.message.category)})")
        else:
            yield from _tables(result, mnemonics, source, account)
            account = Account()
    yield from _only_counts(account, source)


def _only_counts(account: Account, source: str) -> Iterator[Batch]:
    if account != Account():
        yield batch_of(Reports.none(), source, account)


def _tables(
    decoded: Decoded, mnemonics: Mnemonics | None, source: str, account: Account
) -> Iterator[Batch]:
    first_message = decoded.messages[0]
    if not decoded.plan.whole and not decoded.judged.all():
        reason = "behind the data (operators 2 22 to 2 32): not read"
        count = len(np.unique(decoded.message[~decoded.judged]))
        account.leave("quality information", reason, count)
    if mnemonics is not None and mnemonics.is_prepbufr(decoded.block):
        leave_elements(decoded, decoded.block.rows, account)
        reports, what = prepbufr_reports(decoded, mnemonics, account)
        yield batch_of(reports, source, account, what)
        return
    for category in sorted({message.category for message in decoded.messages}):
        block = decoded.block
        own = np.array([message.category == category for message in decoded.messages])
        if not own.all():
            block = block.take(np.flatnonzero(own[decoded.message]))
        occultation = any(True for _ in level_blocks(block, _IMPACT, _BENDING))
        kind = kind_of(category, occultation)
        if kind is None:
            template = f"template {first_message.template}"
            account.leave("report", f"{described(category)}, {template}", block.rows)
            continue
        leave_elements(decoded, block.rows, account)
        for reports, what in list(reports_of(block, kind, account)):  # counts first
            yield batch_of(reports, source, account, what)
            account = Account()
    yield from _only_counts(account, source)


_IMPACT, _BENDING = frozenset(OCCULTATION_CODES[:1]), frozenset(OCCULTATION_CODES[1:2])
_COORDINATES = frozenset({7004, 7009, 7007, 7002, 7010, 10070, 10004})
_OBSERVED = frozenset({12001, 12101, 11001, 11002, 11003, 10003, 10009, 12003, 12103})


class Place(NamedTuple):
    """Where and when the subsets are, and of which type and name."""

    time: NDArray[np.datetime64]
    latitude: Array
    longitude: Array
    elevation: Array
    type: NDArray[np.object_]
    station: NDArray[np.object_]
    marks: NDArray[np.int64]


def place_of(block: Block, kind: Kind) -> Place:
    """Return where and when the subsets of a block are."""
    elevation = number(block, 7030, 7001)
    if kind is SEA:
        elevation = np.where(np.isnan(elevation), 0.0, elevation)
    return Place(
        times(block),
        number(block, 5001, 5002),
        number(block, 6001, 6002),
        elevation,
        _types(block, kind),
        identifiers(block),
        place_marks(block),
    )


def _types(block: Block, kind: Kind) -> NDArray[np.object_]:
    names = np.full(block.rows, kind.type, object)
    if kind is SEA:
        names[np.isfinite(number(block, 1005, 1087))] = "buoy"
    return names


def reports_of(block: Block, kind: Kind, account: Account) -> Iterator[tuple[Reports, str]]:
    """Yield the reports of a block: one a subset, or one a level."""
    if kind is OCCULTATION:
        yield from occultation_reports(block, place_of(block, kind), account)
        return
    place = place_of(block, kind)
    levels = level_blocks(block, _COORDINATES, _OBSERVED) if kind.levels else []
    used = {code for codes in kind.quantities.values() for code in codes}
    _note(block, NOTED.keys() - used, account)
    for level, above in levels:
        yield _level_reports(level, above, place, kind), "level"
    if not levels:
        values = _quantities(block, kind, deep=True)
        _note_more(block, kind, values, account)
        surface = np.full(block.rows, kind.surface)
        quality = _quality(block, kind, values, place.marks, deep=True)
        yield Reports(*place[:6], surface, values, quality), "report"


def _level_reports(level: Block, above: NDArray[np.int64], place: Place, kind: Kind) -> Reports:
    seconds, north, east = (np.nan_to_num(number(level, c)) for c in (4086, 5015, 6015))
    time = place.time[above] + (seconds * 1e9).astype("timedelta64[ns]")
    latitude, longitude = place.latitude[above] + north, place.longitude[above] + east
    longitude = np.where(longitude > 180.0, longitude - 360.0, longitude)
    values = _quantities(level, kind, deep=False)
    type_ = place.type[above]
    if kind is SOUNDING and "temperature" not in values:
        type_ = np.full(level.rows, "pilot", object)
    elevation, station = place.elevation[above], place.station[above]
    surface = np.zeros(level.rows, bool)
    quality = _quality(level, kind, values, place.marks[above], deep=False)
    return Reports(time, latitude, longitude, elevation, type_, station, surface, values, quality)


def _quantities(block: Block, kind: Kind, deep: bool) -> dict[str, Array]:
    found = {name: first(block, codes, deep) for name, codes in kind.quantities.items()}
    values = {name: array for name, array in found.items() if array is not None}
    height = values.pop("geopotential_height", None)
    if height is not None:
        own = values.get("geopotential", np.full(block.rows, np.nan))
        values["geopotential"] = np.where(np.isnan(own), height * GRAVITY, own)
    for name in ("relative_humidity",):
        if name in values:
            values[name] = values[name] / 100.0
    return values


def _quality(
    block: Block, kind: Kind, values: dict[str, Array], place: NDArray[np.int64], deep: bool
) -> dict[str, NDArray[np.int64]]:
    """Return the marks of the values, those of their place and level among them."""
    marks = marks_of_codes(block, kind.quantities, deep)
    if not marks and not place.any():
        return {}
    if "geopotential_height" in marks:
        other = marks.get("geopotential", np.zeros(block.rows, np.int64))
        marks["geopotential"] = worse(other, marks["geopotential_height"], GOOD_TO_BAD)
    for name in ("pressure", "height", "pressure_altitude"):
        if name in marks:
            place = worse(place, marks[name], GOOD_TO_BAD[1:])
    nothing = np.zeros(block.rows, np.int64)
    return {name: worse(marks.get(name, nothing), place, GOOD_TO_BAD[1:]) for name in values}


def _note_more(block: Block, kind: Kind, values: dict[str, Array], account: Account) -> None:
    """Count the values of the same quantities at other heights and over periods."""
    for name, codes in kind.quantities.items():
        more = _finite(block, frozenset(codes)) - int(np.isfinite(values.get(name, [])).sum())
        reason = f"{name}: another value of the same report (other height, period or method)"
        account.leave("other value", reason, more)


def _finite(block: Block, codes: frozenset[int]) -> int:
    total = 0
    for item in block.items:
        if isinstance(item, Block):
            total += _finite(item, codes)
        elif item.code in codes and item.values.dtype.kind == "f":
            total += int(np.isfinite(item.values).sum())
    return total


def _note(block: Block, codes: AbstractSet[int], account: Account) -> None:
    """Count the values for which the table has no variable."""
    for item in block.items:
        if isinstance(item, Block):
            _note(item, codes, account)
        elif item.code in codes and isinstance(item, Column) and item.values.dtype.kind == "f":
            account.leave(
                "other value",
                f"{NOTED[item.code]}: no variable of the table",
                int(np.isfinite(item.values).sum()),
            )
