"""Per cent confidences behind the data are those that ecCodes finds, and go to their own values."""

import io
import sys
from collections import Counter
from pathlib import Path

import eccodes
import numpy as np
import pytest

from tasks.bufr.blocks import Block
from tasks.bufr.decode import Decoded, decode
from tasks.bufr.frames import Frame, frames
from tasks.bufr.sections import Message, parse
from tasks.readers.templates import WANTED

sys.path.insert(0, str(Path(__file__).parent))
from bufr_messages import TEMPERATURE, Field, message, packed, surface

DATA = Path(__file__).parents[2] / "data" / "bufr"
MISSING = (-1e100, 2147483647)
Counts = Counter[tuple[int, int]]


def decoded(data: bytes) -> list[Decoded]:
    messages = [parse(one) for one in frames(io.BytesIO(data)) if isinstance(one, Frame)]
    sound = [one for one in messages if isinstance(one, Message)]
    return [one for one in decode(sound, WANTED) if isinstance(one, Decoded)]


def ours(block: Block, found: Counts) -> Counts:
    for item in block.items:
        if isinstance(item, Block):
            ours(item, found)
        elif item.values.dtype.kind == "f" and item.confidence is not None:
            known = np.isfinite(item.confidence) & np.isfinite(item.values)
            found.update((item.code, int(percent)) for percent in item.confidence[known])
    return found


def those_of_eccodes(path: Path) -> Counts:
    found: Counts = Counter()
    with path.open("rb") as file:
        while (handle := eccodes.codes_bufr_new_from_file(file)) is not None:
            eccodes.codes_set(handle, "unpack", 1)
            keys, walk = [], eccodes.codes_bufr_keys_iterator_new(handle)
            while eccodes.codes_bufr_keys_iterator_next(walk):
                keys.append(eccodes.codes_bufr_keys_iterator_get_name(walk))
            for key in (key for key in keys if key.endswith("->percentConfidence")):
                own = key.split("->")[0]
                code = int(eccodes.codes_get(handle, f"{own}->code"))
                value, percent = eccodes.codes_get(handle, own), eccodes.codes_get(handle, key)
                if code in WANTED and not isinstance(value, str) and value not in MISSING:
                    found[code, int(percent)] += 1
            eccodes.codes_release(handle)
    return found


@pytest.mark.parametrize("name", ["synop", "temp", "temp_small", "aircraft", "aircraft_small"])
def test_confidences_are_those_of_eccodes(name: str) -> None:
    found: Counts = Counter()
    for one in decoded((DATA / f"{name}.bufr").read_bytes()):
        assert one.judged.all()
        ours(one.block, found)
    found = Counter({key: n for key, n in found.items() if key[0] // 1000 != 31})
    assert found == those_of_eccodes(DATA / f"{name}.bufr")
    assert len(found) > 3


# a level: pressure and temperature; how many levels there are is an element too
LEVELS = [*TEMPERATURE[:3], 102000, 31001, 7004, 12101]
BEHIND = [222000, 236000, 101000, 31002, 31031, 1031, 101000, 31002, 33007]


def sounding(bits: str, percent: list[int], levels: int = 2) -> list[Field]:
    own = surface(0.0)[:-1]
    own += [
        (levels, 8),
        *(
            (value, 14 if n % 2 == 0 else 16)
            for n, value in enumerate([8500, 28000, 5000, 25000][: 2 * levels])
        ),
    ]
    own += [(len(bits), 16), *((int(bit), 1) for bit in bits), (98, 16)]
    return [*own, (len(percent), 16), *((value, 7) for value in percent)]


def of_levels(one: Decoded, code: int) -> list[float]:
    (level,) = (below for below in one.block.blocks() if below.has(code))
    (column,) = level.columns(code)
    assert column.confidence is not None
    return column.confidence.tolist()


def test_a_bit_map_is_of_the_last_elements() -> None:
    data = message([*LEVELS, *BEHIND], packed(sounding("0110", [10, 90])))
    (one,) = decoded(data)
    assert one.judged.all()
    assert of_levels(one, 7004) == pytest.approx([10, np.nan], nan_ok=True)
    assert of_levels(one, 12101) == pytest.approx([np.nan, 90], nan_ok=True)


def test_replication_factors_are_elements_of_the_bit_map() -> None:
    data = message([*LEVELS, *BEHIND], packed(sounding("00000", [1, 2, 3, 4, 5])))
    (one,) = decoded(data)
    assert of_levels(one, 7004) == [2, 4] and of_levels(one, 12101) == [3, 5]


@pytest.mark.parametrize(
    ("bits", "percent"),
    [("0000", [10, 90]), ("1111", [10]), ("0" * 40, list(range(40)))],
)
def test_a_bit_map_that_does_not_fit_says_nothing(bits: str, percent: list[int]) -> None:
    (one,) = decoded(message([*LEVELS, *BEHIND], packed(sounding(bits, percent))))
    assert not one.judged.any()
    assert np.isnan(of_levels(one, 7004)).all() or len(bits) == 4


def test_what_is_cut_behind_the_data_costs_no_value() -> None:
    whole = packed(sounding("0000", [10, 20, 30, 40]))
    (one,) = decoded(message([*LEVELS, *BEHIND], whole[:-3]))
    assert not one.judged.any() and one.block.rows == 1
    (level,) = (below for below in one.block.blocks() if below.has(12101))
    (column,) = level.columns(12101)
    assert column.values.tolist() == [280.0, 250.0]
    assert np.isnan(of_levels(one, 12101)).all()


def test_compressed_subsets_have_their_own_confidences() -> None:
    same: list[Field] = []
    for least, width in surface(0.0)[:-1]:
        same += [(least, width), (0, 6)]
    temperature = [(28000, 16), (4, 6), (0, 4), (5, 4)]
    bits: list[Field] = [(1, 16), (0, 6), (0, 1), (0, 6)]
    percent: list[Field] = [(1, 16), (0, 6), (10, 7), (7, 6), (0, 7), (60, 7)]
    data = packed([*same, *temperature, *bits, (98, 16), (0, 6), *percent])
    (one,) = decoded(message([*TEMPERATURE, *BEHIND], data, 2, True))
    (column,) = one.block.columns(12101)
    assert column.values.tolist() == [280.0, 280.05]
    assert one.judged.all() and column.confidence is not None
    assert column.confidence.tolist() == [10, 70]
