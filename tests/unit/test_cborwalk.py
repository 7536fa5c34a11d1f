"""What is let through is what a decoder takes without surprises; everything else is refused by name."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.cborwalk import check, decode
from edged.errors import BadCbor

KEYS = st.text(max_size=8) | st.integers(-(1 << 64), (1 << 64) - 1)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=20)
    | st.text(max_size=20)
)
PLAIN = st.recursive(
    LEAVES,
    lambda items: (
        st.lists(items, max_size=20)
        | st.dictionaries(KEYS, items, max_size=6)
        | st.lists(st.floats(allow_nan=False), min_size=8, max_size=40)
        | st.lists(st.integers(0, 300), min_size=8, max_size=40)
    ),
    max_leaves=30,
)


@given(PLAIN)
def test_plain_values_pass_and_come_out_as_they_went_in(value: object) -> None:
    assert decode(cbor2.dumps(value)) == value


@given(st.binary(max_size=64))
def test_bytes_at_random_are_refused_or_decoded_and_never_anything_else(data: bytes) -> None:
    try:
        check(data)
    except BadCbor:
        return
    cbor2.loads(data)


@given(PLAIN, st.data())
def test_a_part_of_an_item_is_refused(value: object, data: st.DataObject) -> None:
    whole = cbor2.dumps(value)
    with pytest.raises(BadCbor):
        check(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(PLAIN, st.binary(min_size=1, max_size=4))
def test_bytes_after_the_item_are_refused(value: object, more: bytes) -> None:
    with pytest.raises(BadCbor, match="more after the end|ends too early"):
        check(cbor2.dumps(value) + more)


@given(PLAIN, st.data())
def test_a_changed_byte_never_gets_past_the_walk_into_a_decoder_that_fails(
    value: object, data: st.DataObject
) -> None:
    changed = bytearray(cbor2.dumps(value))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        check(bytes(changed))
    except BadCbor:
        return
    cbor2.loads(bytes(changed))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "ends too early"),
        ("5f41614162ff", "indefinite"),
        ("7f61616162ff", "indefinite"),
        ("9f01ff", "indefinite"),
        ("bf6161016162 02ff", "indefinite"),
        ("c11a514b67b0", "a tag"),
        ("d9d9f700", "a tag"),
        ("c249010000000000000000", "a tag"),
        ("1c", "reserved"),
        ("f7", "simple value"),
        ("f0", "simple value"),
        ("f814", "simple value"),
        ("f8ff", "simple value"),
        ("88f814f814f814f814f814f814f814f814", "simple value"),
        ("a2616101616102", "second time"),
        ("a201001801 00", "second time"),
        ("a2200038 0000", "second time"),
        ("a2616100780161 00", "second time"),
        ("a1410000", "neither text nor an integer"),
        ("a1f90000 00", "neither text nor an integer"),
        ("a1f400", "neither text nor an integer"),
        ("a18000", "neither text nor an integer"),
        ("62ff61", "not UTF-8"),
        ("62eda0", "not UTF-8"),
        ("9b7fffffffffffffff", "ends too early"),
        ("5b7fffffffffffffff", "ends too early"),
        ("bbffffffffffffffff", "ends too early"),
        ("0000", "more after the end"),
    ],
)
def test_each_trick_is_refused_by_name(data: str, reason: str) -> None:
    with pytest.raises(BadCbor, match=reason):
        check(bytes.fromhex(data))


def test_depth_is_counted_in_containers() -> None:
    check(b"\x81" * 32 + b"\x00")
    check(b"\xa1\x00" * 32 + b"\x00")
    with pytest.raises(BadCbor, match="deeper than 32"):
        check(b"\x81" * 33 + b"\x00")
    check(b"\x81\x00", depth_max=1)
    with pytest.raises(BadCbor, match="deeper than 0"):
        check(b"\x80", depth_max=0)


def test_sixteen_numbers_in_a_row_count_as_one_item() -> None:
    empties = b"\x99\x03\xe8" + b"\x80" * 1000
    check(empties, items_max=1001)
    with pytest.raises(BadCbor, match="more than 1000 items"):
        check(empties, items_max=1000)
    check(cbor2.dumps([0.5, -1, 300, 1 << 40] * 4096), items_max=17)
    check(cbor2.dumps([1] * 16), items_max=2)
    check(cbor2.dumps({"a": [1.5] * 32, "b": [1.5] * 16}), items_max=8)


def test_a_run_ends_with_its_own_array() -> None:
    inner = cbor2.dumps([0.5] * 16)
    check(b"\x82" + inner + cbor2.dumps(0.5))
    with pytest.raises(BadCbor, match="more after the end"):
        check(inner + cbor2.dumps(0.5))
