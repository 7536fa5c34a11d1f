from __future__ import annotations

import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.mcp.seal import Broken, Seal

KEY = bytes(range(32))
ALPHABET = string.ascii_letters + string.digits + string.punctuation


@given(st.binary(), st.binary())
def test_what_is_sealed_opens_in_its_context(data: bytes, context: bytes) -> None:
    seal = Seal(KEY)
    assert seal.open(seal.seal(data, context), context) == data


@given(st.floats(0, 1, exclude_max=True), st.integers(1, len(ALPHABET) - 1))
def test_what_was_changed_anywhere_does_not_open(where: float, by: int) -> None:
    seal = Seal(KEY)
    text = seal.seal(b"answers", b"here")
    at = int(where * len(text))
    other = ALPHABET[(ALPHABET.index(text[at]) + by) % len(ALPHABET)]
    changed = text[:at] + other + text[at + 1 :]
    with pytest.raises(Broken):
        seal.open(changed, b"here")


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "A" * 200, "!" * 40])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(Broken, match="not given out"):
        Seal(KEY).open(text, b"here")


def test_it_opens_neither_elsewhere_nor_under_another_key_nor_too_late() -> None:
    now = 0.0
    seal = Seal(KEY, ttl_s=10, now=lambda: now)
    text = seal.seal(b"answers", b"here")
    with pytest.raises(Broken, match="not given out"):
        seal.open(text, b"there")
    with pytest.raises(Broken, match="not given out"):
        Seal(bytes(32)).open(text, b"here")
    now = 10.5
    with pytest.raises(Broken, match="expired"):
        seal.open(text, b"here")


def test_a_key_that_was_handed_in_opens_what_an_earlier_process_sealed() -> None:
    assert Seal(KEY, now=lambda: 1).open(Seal(KEY, now=lambda: 0).seal(b"x", b""), b"") == b"x"


def test_without_a_key_each_has_its_own() -> None:
    with pytest.raises(Broken):
        Seal().open(Seal().seal(b"x", b""), b"")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 32"):
        Seal(b"short")


def test_a_server_that_asks_nothing_does_not_load_the_cipher() -> None:
    code = (
        "import sys; from edged.mcp.server import Server; from edged.mcp.catalog import Catalog;"
        "from edged.mcp.results import Info; Server(Catalog(), Info(name='x', version='1'));"
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
