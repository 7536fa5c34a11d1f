"""What of arguments is recorded."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from edged import cbor
from edged.audit.redact import redacted
from edged.masking import SECRET
from edged.mcp.catalog import Blob


class Colour(enum.Enum):
    RED = "red"


class Login(msgspec.Struct):
    user: str
    password: Annotated[str, SECRET] = ""


class Given(msgspec.Struct, rename="camel"):
    name: str
    image_data: Blob | None = None
    login: Login | None = None
    logins: list[Login] = []
    colour: Colour = Colour.RED
    share: float = 0.5


def test_names_and_numbers_stand_as_they_are_and_what_was_not_given_is_left_out() -> None:
    assert redacted(Given("face")) == {"name": "face", "logins": [], "colour": "red", "share": 0.5}


def test_a_picture_is_its_size_and_hash() -> None:
    shown = redacted(Given("face", Blob(b"pixels" * 100)))
    assert set(shown["imageData"]) == {"bytes", "sha256"}
    assert shown["imageData"]["bytes"] == 600
    assert len(shown["imageData"]["sha256"]) == 32


def test_a_long_text_is_its_size_and_hash() -> None:
    shown = redacted({"manifest": "ü" * 97})
    assert shown["manifest"]["bytes"] == 194


def test_a_declared_secret_is_never_shown_wherever_it_is() -> None:
    login = Login("ada", "lovelace")
    shown = redacted(Given("x", login=login, logins=[login, Login("bob")]))
    assert shown["login"] == {"user": "ada", "password": "(set)"}
    assert shown["logins"] == [{"user": "ada", "password": "(set)"}, {"user": "bob", "password": None}]


def test_what_is_long_or_deep_has_an_end() -> None:
    nested: Any = 1
    for _ in range(50):
        nested = [nested]
    shown = redacted(
        {"many": list(range(100)), "deep": nested, "wide": dict.fromkeys(map(str, range(100)), 1)}
    )
    assert shown["many"][-1] == "and 84 more"
    assert len(shown["wide"]) == 17
    assert len(repr(shown)) < 1000


def test_no_arguments_are_an_empty_object() -> None:
    assert redacted(None) == {}
    assert redacted(object()) == {"value": "object"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=120) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=20),
    max_leaves=10,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=9), JSON, max_size=5))
def test_whatever_was_given_can_be_recorded(arguments: dict[str, Any]) -> None:
    cbor.decode(cbor.encode(redacted(arguments)))
