from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import KeysCorrupt
from edged.keys import sealed
from edged.keys.sealed import Algorithm
from edged.keys.secret import Secret

KEY = Secret(b"k" * 32)
SALT = b"s" * 16
BOTH: tuple[Algorithm, ...] = ("aes-256-gcm", "chacha20-poly1305")


def made(
    content: bytes, place: bytes = b"spool\0a", algorithm: Algorithm = "aes-256-gcm", chunk_log2: int = 4
) -> bytes:
    head = sealed.new_header(algorithm, 3, SALT, chunk_log2)
    return b"".join(sealed.seal_chunks(head, KEY, place, [content]))


def opened(data: bytes, place: bytes = b"spool\0a", key: Secret = KEY) -> bytes:
    head = sealed.header(data)
    return b"".join(sealed.open_chunks(head, key, place, [data[sealed.HEADER.size :]]))


@pytest.mark.parametrize("algorithm", BOTH)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 100])
def test_what_was_sealed_opens_whatever_its_length(size: int, algorithm: Algorithm) -> None:
    content = bytes(range(size))
    data = made(content, algorithm=algorithm)
    assert opened(data) == content
    assert content == b"" or size < 3 or content not in data


@given(
    st.binary(max_size=200),
    st.lists(st.integers(0, 250), max_size=5),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_in_whatever_pieces_it_comes(content: bytes, cuts: list[int], cuts_again: list[int]) -> None:
    head = sealed.new_header("chacha20-poly1305", 1, SALT, 5)
    data = b"".join(sealed.seal_chunks(head, KEY, b"p", pieces(content, cuts)))
    assert data == b"".join(sealed.seal_chunks(head, KEY, b"p", [content]))
    body = data[sealed.HEADER.size :]
    assert b"".join(sealed.open_chunks(head, KEY, b"p", pieces(body, cuts_again))) == content


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in zip(edges, [*edges[1:], len(data)], strict=True)]


def test_every_flipped_byte_is_noticed() -> None:
    data = made(b"some content that takes three chunks.")
    for at in range(len(data)):
        with pytest.raises(KeysCorrupt):
            opened(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_every_cut_is_noticed() -> None:
    data = made(b"x" * 48)
    for length in range(len(data)):
        with pytest.raises(KeysCorrupt):
            opened(data[:length])


def test_chunks_that_were_swapped_repeated_or_added_are_noticed() -> None:
    data = made(b"0123456789abcdef" * 3)
    front, size = sealed.HEADER.size, 16 + sealed.TAG_BYTES
    first, second, rest = (
        data[front : front + size],
        data[front + size : front + 2 * size],
        data[front + 2 * size :],
    )
    for body in (
        second + first + rest,
        first + first + rest,
        first + second + second + rest,
        data[front:] + rest,
    ):
        with pytest.raises(KeysCorrupt):
            opened(data[:front] + body)


def test_it_opens_for_its_own_place_purpose_and_key_alone() -> None:
    data = made(b"content", place=b"spool\0a")
    for place in (b"spool\0b", b"models\0a", b"spool", b""):
        with pytest.raises(KeysCorrupt):
            opened(data, place)
    with pytest.raises(KeysCorrupt):
        opened(data, key=Secret(b"other key" + bytes(23)))


def test_equal_content_does_not_look_equal_under_another_salt() -> None:
    one = sealed.new_header("aes-256-gcm", 1, b"1" * 16)
    other = sealed.new_header("aes-256-gcm", 1, b"2" * 16)
    bodies = [b"".join(sealed.seal_chunks(head, KEY, b"p", [b"same"]))[26:] for head in (one, other)]
    assert bodies[0] != bodies[1]


@pytest.mark.parametrize(
    "data", [b"", b"eds1", b"eds2" + bytes(60), b"eds1\x09" + bytes(60), b"eds1\x01\xff" + bytes(60)]
)
def test_what_was_not_sealed_here_is_refused_by_its_header(data: bytes) -> None:
    with pytest.raises(KeysCorrupt):
        sealed.header(data)


PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"  # BCM2711: no crypto extensions
PI_5 = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics\n"
X86 = "flags\t\t: fpu vme aes xsave avx\n"


@pytest.mark.parametrize(
    ("cpuinfo", "due"),
    [(PI_4, "chacha20-poly1305"), (PI_5, "aes-256-gcm"), (X86, "aes-256-gcm"), ("", "chacha20-poly1305")],
    ids=["Pi 4", "Pi 5", "x86", "unknown"],
)
def test_the_cipher_is_the_one_this_cpu_computes(cpuinfo: str, due: str) -> None:
    assert sealed.best_algorithm(cpuinfo) == due
