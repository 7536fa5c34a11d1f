"""Statements of a TPM, and bytes that are none."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.keys import statement
from edged.keys.statement import Content, Malformed, Quote


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def made(kind: int, about: bytes, nonce: bytes = b"nonce", magic: int = statement.MAGIC) -> bytes:
    head = struct.pack(">IH", magic, kind) + sized(b"signer") + sized(nonce)
    return head + struct.pack(">QIIBQ", 1234, 5, 6, 1, 7) + about


def quoted(bits: bytes, algorithm: int = 0x000B, count: int = 1) -> bytes:
    return struct.pack(">IHB", count, algorithm, len(bits)) + bits + sized(bytes(32))


def test_a_quote_names_its_registers_ascending() -> None:
    found = statement.parse(made(statement.QUOTE, quoted(b"\x81\x00\x01")))
    assert found.about == Quote((0, 7, 16), bytes(32))
    assert (found.nonce, found.clock_ms, found.resets, found.restarts) == (b"nonce", 1234, 5, 6)
    assert (found.safe, found.firmware) == (True, 7)


def test_a_certified_index_gives_its_name_and_content() -> None:
    found = statement.parse(made(statement.NV, sized(b"name") + struct.pack(">H", 3) + sized(b"content")))
    assert found.about == Content(b"name", 3, b"content")


def test_other_kinds_are_told_and_not_read() -> None:
    found = statement.parse(made(0x8017, b"whatever"))
    assert (found.kind, found.about) == (0x8017, None)


@pytest.mark.parametrize(
    "about",
    [
        quoted(b"\x01", algorithm=0x0004),
        quoted(b"\x01", count=2),
        quoted(b"\x01") + b"\0",
        quoted(b"\x01")[:-1],
        b"",
    ],
)
def test_a_quote_that_is_not_one_selection_of_sha256_is_refused(about: bytes) -> None:
    with pytest.raises(Malformed):
        statement.parse(made(statement.QUOTE, about))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        statement.parse(data)


@given(st.integers(min_value=0, max_value=100), st.sampled_from([statement.QUOTE, statement.NV]))
def test_what_is_cut_short_is_refused(left: int, kind: int) -> None:
    about = (
        quoted(b"\x81\x00\x01") if kind == statement.QUOTE else sized(b"name") + b"\0\0" + sized(b"content")
    )
    whole = made(kind, about)
    if left < len(whole):
        with pytest.raises(Malformed):
            statement.parse(whole[:left])
