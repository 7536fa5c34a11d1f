"""One encoding a value, held against cbor2's canonical one."""

from __future__ import annotations

import math
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import cbor
from edged.errors import BadCbor

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.binary(max_size=300)
    | st.text(max_size=40)
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=30), inner, max_size=30),
    max_leaves=40,
)


@given(VALUES)
def test_a_value_is_written_as_cbor2_writes_it_canonically_and_read_back(value: Any) -> None:
    written = cbor.encode(value)
    assert written == cbor2.dumps(value, canonical=True)
    assert cbor.decode(written) == value


def test_nan_is_read_back() -> None:
    assert math.isnan(cbor.decode(cbor.encode(math.nan)))


@given(st.binary(max_size=40))
def test_what_is_read_is_what_would_have_been_written(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except BadCbor:
        return
    assert cbor.encode(value) == data


@given(VALUES, st.data())
def test_a_value_cut_short_is_refused(value: Any, data: st.DataObject) -> None:
    written = cbor.encode(value)
    with pytest.raises(BadCbor):
        cbor.decode(written[: data.draw(st.integers(0, len(written) - 1))])


@pytest.mark.parametrize(
    "trick",
    [
        "1817",  # 23 in two bytes
        "190017",
        "1b0000000000000017",
        "9f01ff",  # indefinite
        "5f4101ff",
        "c11a00000000",  # a tag
        "d81c80",  # a shared reference
        "a2616101616102",  # a key twice
        "a2616201616102",  # keys out of order
        "a10101",  # a key that is not text
        "61ff",  # not UTF-8
        "f7",  # undefined
        "f818",
        "fa3fc00000",  # 1.5 fits in half a float
        "0000",  # bytes after it
        "9bffffffffffffffff",
        "1c",
        "",
    ],
)
def test_tricks_are_refused(trick: str) -> None:
    with pytest.raises(BadCbor):
        cbor.decode(bytes.fromhex(trick))


def test_depth_has_a_bound() -> None:
    assert cbor.decode(b"\x81" * 32 + b"\x00")
    with pytest.raises(BadCbor, match="deeper than 32"):
        cbor.decode(b"\x81" * 33 + b"\x00")


def test_what_has_no_encoding_is_refused() -> None:
    with pytest.raises(TypeError, match="no CBOR for set"):
        cbor.encode({1})
    with pytest.raises(OverflowError):
        cbor.encode(1 << 64)
