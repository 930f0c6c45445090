import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.bufr.blocks import Block, Column
from tasks.bufr.decode import Decoded, Left, decode
from tasks.bufr.frames import Damage, Frame
from tasks.bufr.plan import Unsupported, make_plan
from tasks.bufr.sections import Message, parse
from tasks.bufr.tables import Element, Tables, wmo_tables

sys.path.insert(0, str(Path(__file__).parent))
from bufr_messages import TEMPERATURE, Field, message, packed, surface

Result = list[Decoded | Damage | Left]


def parsed(data: bytes) -> Message:
    found = parse(Frame(0, data))
    assert isinstance(found, Message)
    return found


def decoded(data: bytes, *wanted: int) -> Result:
    return list(decode([parsed(data)], frozenset(wanted)))


def block(data: bytes, *wanted: int) -> Block:
    (result,) = decoded(data, *wanted)
    assert isinstance(result, Decoded), result
    return result.block


def values(one: Block, code: int) -> list[float]:
    return next(one.columns(code)).values.tolist()


@pytest.mark.parametrize("edition", [3, 4])
def test_an_element_is_bits_plus_reference_over_scale(edition: int) -> None:
    data = message(TEMPERATURE, packed(surface(285.15, -33.25)), edition=edition)
    found = block(data, 12101, 5001, 4001)
    assert values(found, 12101) == [285.15]
    assert values(found, 5001) == [-33.25]
    assert values(found, 4001) == [2020.0]


def test_all_bits_set_is_missing() -> None:
    assert np.isnan(values(block(message([12101], packed([(0xFFFF, 16)])), 12101), 12101)).all()


def test_subsets_follow_each_other_bit_by_bit() -> None:
    fields = [f for k in (280.0, 290.0, 300.0) for f in surface(k)]
    found = block(message(TEMPERATURE, packed(fields), subsets=3), 12101)
    assert values(found, 12101) == [280.0, 290.0, 300.0]


def test_compressed_subsets_are_least_value_and_increments() -> None:
    # 12101: least 28000, increments of 10 bits: 0, 1000, missing; 11002: the same in all
    fields: list[Field] = [
        (28_000, 16),
        (10, 6),
        (0, 10),
        (1000, 10),
        (1023, 10),
        (50, 12),
        (0, 6),
    ]
    found = block(message([12101, 11002], packed(fields), 3, compressed=True), 12101, 11002)
    temperature = values(found, 12101)
    assert temperature[:2] == [280.0, 290.0] and np.isnan(temperature[2])
    assert values(found, 11002) == [5.0, 5.0, 5.0]


def test_delayed_replication_gives_rows_below() -> None:
    body = [(2, 8), (10_000, 14), (28_000, 16), (9_000, 14), (27_000, 16)]
    fields = [*body, (0, 8), (1, 8), (5_000, 14), (25_000, 16)]
    data = message([102000, 31001, 7004, 12101], packed(fields), subsets=3)
    (level,) = block(data, 7004, 12101).blocks()
    assert values(level, 7004) == [100_000.0, 90_000.0, 50_000.0]
    assert values(level, 12101) == [280.0, 270.0, 250.0]
    assert level.parent.tolist() == [0, 0, 2]


def test_nested_replication_keeps_its_order() -> None:
    # two steps: one with 2 angles, one with 1
    fields: list[Field] = [(2, 8), (2, 8), (10, 16), (20, 16), (1, 8), (30, 16)]
    data = message([103000, 31001, 101000, 31001, 12101], packed(fields))
    (steps,) = block(data, 12101).blocks()
    (angles,) = steps.blocks()
    assert steps.rows == 2 and angles.parent.tolist() == [0, 0, 1]
    assert values(angles, 12101) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("descriptors", "fields", "expected"),
    [
        ([201130, 12101, 201000], [(30_000, 18)], 300.0),
        ([202129, 12101, 202000], [(3_000, 16)], 3.0),
        ([207001, 12101, 207000], [(300_000, 20)], 300.0),
        ([204008, 31021, 12101, 204000], [(1, 6), (7, 8), (30_000, 16)], 300.0),
        ([206012, 49_001, 12101], [(99, 12), (30_000, 16)], 300.0),
        ([205002, 12101], [(0x4142, 16), (30_000, 16)], 300.0),
        ([12101, 222000, 101001, 31031, 1031], [(30_000, 16)], 300.0),
    ],
)
def test_operators(descriptors: list[int], fields: list[Field], expected: float) -> None:
    found = block(message(descriptors, packed([*fields, (0, 40)])), 12101)
    assert values(found, 12101) == [pytest.approx(expected)]


def test_texts_are_bytes() -> None:
    fields = [(int.from_bytes(b"LOSDA    ", "big"), 72)]
    (column,) = block(message([1011], packed(fields)), 1011).columns(1011)
    assert column.values.tolist() == [b"LOSDA    "]


def test_an_unknown_descriptor_is_named() -> None:
    (left,) = decoded(message([48_255], packed([(0, 8)])), 12101)
    assert isinstance(left, Left) and left.reason == "element 0 48 255 is in no table"
    (left,) = decoded(message([363_255], packed([(0, 8)])), 12101)
    assert isinstance(left, Left) and left.reason == "sequence 3 63 255 is in no table"


def test_data_that_end_early_or_late_are_damaged() -> None:
    for size, reason in ((1, "ends before its values"), (40, "goes on behind its values")):
        (damage,) = decoded(message([12101, 11001, 11002], bytes(size)), 12101)
        assert isinstance(damage, Damage) and reason in damage.reason


def test_a_bad_message_does_not_spoil_its_neighbours() -> None:
    good = message(TEMPERATURE, packed(surface(280.0)))
    short = message(TEMPERATURE, packed(surface(280.0))[:-3])
    results = list(decode([parsed(good), parsed(short), parsed(good)], frozenset({12101})))
    kept = next(r for r in results if isinstance(r, Decoded))
    assert values(kept.block, 12101) == [280.0, 280.0] and kept.message.tolist() == [0, 2]
    assert sum(isinstance(r, Damage) for r in results) == 1


def test_huge_replications_cost_nothing() -> None:
    for body in ([101000, 31002, 12101], [104000, 31002, 101000, 31002, 12101, 11001]):
        (damage,) = decoded(message(body, b"\xff" * 4), 12101)
        assert isinstance(damage, Damage)
    (left,) = decoded(message([102255, 101255, 12101] * 9, b"\0" * 9), 12101)
    assert isinstance(left, Damage)


def test_sequences_that_hold_themselves_end() -> None:
    tables = Tables({1: Element(0, 0, 8, "NUMERIC", "x")}, {300_001: (300_001, 300_001, 1)})
    with pytest.raises(Unsupported, match="more than 50000 descriptors"):
        make_plan([300_001], tables, frozenset({1}), True)


def test_former_and_local_elements_hold_for_their_versions() -> None:
    assert wmo_tables(0, 13).elements[14_028].width == 16
    assert wmo_tables(0, 44).elements[14_028].width == 20
    assert wmo_tables(98, 13, 1).elements[20_192].width == 14
    assert 20_192 not in wmo_tables(7, 13, 1).elements


def test_columns_keep_the_order_of_the_template() -> None:
    found = block(
        message([12101, 11002, 12101], packed([(1, 16), (2, 12), (3, 16)])), 12101, 11002
    )
    codes = [item.code for item in found.items if isinstance(item, Column)]
    assert codes == [12101, 11002, 12101]


@pytest.mark.parametrize("counts", [(1, 0), (0, 1), (2, 1), (0, 0)])
def test_compressed_replications_may_be_empty_in_others(counts: tuple[int, int]) -> None:
    fields: list[Field] = []
    for least, width in surface(0.0)[:-1]:
        fields += [(least, width), (0, 6)]
    fields += [(2, 8), (0, 6)]
    for level, count in enumerate(counts):
        fields += [(5000 + level, 14), (0, 6), (count, 8), (0, 6)]
        for turn in range(count):
            fields += [(28000 + 10 * level + turn, 16), (2, 6), (0, 2), (1, 2)]
    descriptors = [*TEMPERATURE[:3], 104000, 31001, 7004, 101000, 31001, 12101]
    found = block(message(descriptors, packed(fields), 2, True), 7004, 12101)
    (levels,) = found.blocks()
    (below,) = levels.blocks()
    (column,) = below.columns(12101)
    expected = [
        (28000 + 10 * level + turn + subset) / 100
        for subset in range(2)
        for level, count in enumerate(counts)
        for turn in range(count)
    ]
    assert column.values.tolist() == expected
    assert below.parent.tolist() == [
        2 * subset + level
        for subset in range(2)
        for level, count in enumerate(counts)
        for _ in range(count)
    ]
