from __future__ import annotations

import pytest

from edged.checking import parse
from edged.links.mqtt.address import Address
from edged.links.mqtt.config import MqttConfig


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "encrypted", "local"),
    [
        ("mqtt://127.0.0.1", "mqtt", "127.0.0.1", 1883, "", False, True),
        ("mqtts://broker.lan", "mqtts", "broker.lan", 8883, "", True, False),
        ("mqtts://broker.lan:18883/dev-42", "mqtts", "broker.lan", 18883, "/dev-42", True, False),
        ("mqtt://[::1]:1", "mqtt", "::1", 1, "", False, True),
        ("ws://localhost:8080", "ws", "localhost", 8080, "/mqtt", False, True),
        ("wss://broker.lan/a/b?c=d", "wss", "broker.lan", 443, "/a/b?c=d", True, False),
        ("unix:///run/mosquitto.sock", "unix", "/run/mosquitto.sock", 0, "", False, True),
        ("mqtt://10.0.0.1", "mqtt", "10.0.0.1", 1883, "", False, False),
    ],
)
def test_a_url_says_where_a_broker_is(
    url: str,
    scheme: str,
    host: str,
    port: int,
    path: str,
    encrypted: bool,  # noqa: FBT001 - a parameter
    local: bool,  # noqa: FBT001 - likewise
) -> None:
    address = Address.parse(url)
    assert (address.scheme, address.host, address.port, address.path) == (scheme, host, port, path)
    assert (address.encrypted, address.local) == (encrypted, local)


def test_what_is_shown_of_a_url_has_no_query_that_may_be_a_password() -> None:
    assert Address.parse("wss://broker.lan/mqtt?token=hush").url == "wss://broker.lan/mqtt"


@pytest.mark.parametrize(
    "url", ["http://broker", "mqtt://", "mqtt://broker:99999", "mqtt://broker:x", "broker"]
)
def test_a_url_that_says_nothing_of_use_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Address.parse(url)


def test_a_password_has_no_place_in_a_url_and_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="settings of their own") as caught:
        Address.parse("mqtts://user:secret@broker")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ('brokers = ["mqtt://broker.lan"]', "not encrypted"),
        ('brokers = ["ws://10.0.0.1/mqtt"]', "not encrypted"),
        ('key = "/k.pem"', "no cert"),
        ('id = "presence"', "mistaken"),
        ('id = "capability"', "mistaken"),
        ('id = "edged"', "mistaken"),
        ('id = "a/b"', "id"),
        ('name = "edged/+"', "name"),
        ('client_id = "{host}"', "client_id"),
        ('brokers = ["mqtts://u:p@broker"]', "brokers"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(settings: str, complaint: str) -> None:
    config, problems = parse(settings, MqttConfig)
    assert config is None
    assert complaint in " ".join(map(str, problems))


@pytest.mark.parametrize(
    "settings",
    ["", 'brokers = ["mqtt://127.0.0.1:1883"]', 'brokers = ["mqtts://b.lan", "wss://b.lan/mqtt"]',
     'brokers = ["mqtt://b.lan"]\nplaintext = true', 'client_id = "{id}"\nid = "dev-42"', 'prefix = "site/"'],
)  # fmt: skip
def test_settings_that_make_sense_are_taken(settings: str) -> None:
    config, problems = parse(settings, MqttConfig)
    assert problems == []
    assert config is not None
    assert config.enabled == ("brokers" in settings)
