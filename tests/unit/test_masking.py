from __future__ import annotations

import re
from typing import Annotated

import msgspec

from edged.config import Config
from edged.inference.manifest import Sha256
from edged.masking import MASK, SECRET, masked, secret_paths

Password = Annotated[str, SECRET]
HUSH, SHOWN = "hush", "shown"


class Broker(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "localhost"
    password: Password = ""
    fallback: Password | None = None


class Key(msgspec.Struct, frozen=True, tag_field="kind", tag="key"):
    pem: Annotated[str | None, SECRET] = None


class File(msgspec.Struct, frozen=True, tag_field="kind", tag="file"):
    path: str


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    broker: Broker = Broker()
    brokers: list[Broker] = []
    tokens: dict[str, Password] = {}
    pins: Annotated[list[int], SECRET] = []
    pair: tuple[str, Password] = ("", "")
    identity: Key | File = File("/etc/key")
    renamed: Password = msgspec.field(default="", name="on-disk")


def test_a_secret_is_masked_wherever_it_lies() -> None:
    whole = Whole(
        broker=Broker(password=HUSH, fallback=HUSH),
        brokers=[Broker(), Broker(password=HUSH)],
        tokens={"fleet": "hush"},
        pins=[1, 2],
        pair=("agent", "hush"),
        identity=Key("hush"),
        renamed="hush",
    )
    shown = masked(whole)
    assert "hush" not in str(shown.value)
    assert shown.paths == [
        "broker.password",
        "broker.fallback",
        "brokers[1].password",
        "tokens.fleet",
        "pins",
        "pair[0]",
        "pair[1]",
        "identity.pem",
        "on-disk",
    ]
    assert shown.value["broker"] == {"host": "localhost", "password": MASK, "fallback": MASK}
    assert shown.value["identity"] == {"kind": "key", "pem": MASK}
    assert shown.value["pair"] == [MASK, MASK]


def test_a_secret_that_is_not_set_is_seen_to_be_not_set() -> None:
    shown = masked(Whole())
    assert shown.paths == []
    assert shown.value == msgspec.json.decode(msgspec.json.encode(Whole()))


def test_a_setting_is_a_secret_by_its_type_and_not_by_its_name() -> None:
    class Odd(msgspec.Struct):
        password: str = SHOWN
        colour: Password = "hidden"

    assert masked(Odd()).value == {"password": "shown", "colour": MASK}


def test_the_schema_says_that_a_secret_is_only_written() -> None:
    schema = msgspec.json.schema(Broker)["$defs"]["Broker"]["properties"]
    assert schema["password"]["writeOnly"] is True
    assert "writeOnly" not in schema["host"]


def test_every_secret_of_a_config_can_be_listed_before_it_has_a_value() -> None:
    assert secret_paths(Whole) == [
        "broker.password",
        "broker.fallback",
        "brokers.password",
        "brokers.fallback",
        "tokens",
        "pins",
        "pair",
        "identity.pem",
        "on-disk",
    ]


def test_no_text_setting_of_the_daemon_is_named_like_a_secret_without_being_one() -> None:
    marked = set(secret_paths(Config))
    suspicious = re.compile(r"passw|secret|token|credential|(^|_)(pin|psk|key)$")
    named = {path for path in _text_paths(Config) if suspicious.search(path.rpartition(".")[2])}
    files = {"mqtt.key", "mqtt.password_file"}  # where it lies, not what it is
    assert named - files <= marked


def test_bounds_of_a_type_do_not_hide_it() -> None:
    class Bounded(msgspec.Struct):
        digest: Sha256 = "a" * 64

    assert masked(Bounded()).value == {"digest": "a" * 64}


def _text_paths(kind: type[msgspec.Struct], prefix: str = "") -> list[str]:
    found: list[str] = []
    for field in msgspec.structs.fields(kind):
        default = field.default
        if isinstance(default, msgspec.Struct):
            found += _text_paths(type(default), f"{prefix}{field.encode_name}.")
        elif "str" in str(field.type):
            found.append(prefix + field.encode_name)
    return found
