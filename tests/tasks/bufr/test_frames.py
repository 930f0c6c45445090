import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bufr import frames as module
from tasks.bufr.frames import Damage, Frame, frames

BODY = bytes(60)


def framed(body: bytes = BODY) -> bytes:
    return b"BUFR" + (12 + len(body)).to_bytes(3, "big") + b"\x04" + body + b"7777"


def found(data: bytes) -> list[Frame | Damage]:
    return list(frames(io.BytesIO(data)))


def test_messages_are_found_between_other_bytes() -> None:
    data = b"\x01\r\r\n123 IUSK\r\n" + framed() + b"\r\n\x03" + framed() + b"end"
    assert [(f.offset, len(f.data)) for f in found(data) if isinstance(f, Frame)] == [
        (14, 72),
        (89, 72),
    ]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda m: m[:-4] + b"7776", "no 7777 at the end of the message"),
        (lambda m: m[:4] + b"\x00\x00\x05" + m[7:], "message length is too small"),
        (lambda m: m[:4] + b"\xff\xff\xff" + m[7:], "message ends after the file"),
    ],
)
def test_a_damaged_message_hides_no_other(damage: Callable[[bytes], bytes], reason: str) -> None:
    data = framed() + damage(framed()) + framed()
    result = found(data)
    assert [type(one) for one in result] == [Frame, Damage, Frame]
    assert result[1] == Damage(72, reason)
    assert result[2].offset == 144


def test_a_cut_file_keeps_its_whole_messages() -> None:
    result = found(framed() + framed()[:-1])
    assert [type(one) for one in result] == [Frame, Damage]
    assert found(framed() + b"BUF")[1:] == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.just(framed()), st.binary(max_size=40), st.just(b"BUFR")), max_size=8),
    st.sampled_from([1, 3, 70, 4096]),
)
def test_chunks_do_not_matter(parts: list[bytes], chunk: int) -> None:
    data = b"".join(parts)
    whole = found(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        assert found(data) == whole
