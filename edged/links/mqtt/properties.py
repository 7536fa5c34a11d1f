"""The properties of a PUBLISH as bytes (MQTT 5, 2.2.2 and 3.3.2.3). Pure.

A tenth of what paho's own Properties take, and the packet's size is known before it is made.
"""

from __future__ import annotations

from typing import Final

from edged.errors import Rejected
from edged.links.mqtt.values import Properties

_TEXT_MAX_BYTES: Final = 65535  # MQTT 5, 1.5.4
_EXPIRY_MAX_S: Final = 0xFFFFFFFF

_PAYLOAD_FORMAT, _EXPIRY, _CONTENT_TYPE = b"\x01", b"\x02", b"\x03"
_RESPONSE_TOPIC, _CORRELATION, _USER = b"\x08", b"\x09", b"\x26"


def packed(properties: Properties) -> bytes:
    """Their length and the properties; raises Rejected for what MQTT cannot carry."""
    parts = [_USER + text(key) + text(value) for key, value in properties.user]
    if properties.text:
        parts.append(_PAYLOAD_FORMAT + b"\x01")
    if properties.expiry_s is not None:
        parts.append(_EXPIRY + min(max(properties.expiry_s, 0), _EXPIRY_MAX_S).to_bytes(4, "big"))
    if properties.content_type is not None:
        parts.append(_CONTENT_TYPE + text(properties.content_type))
    if properties.response_topic is not None:
        parts.append(_RESPONSE_TOPIC + text(properties.response_topic))
    if properties.correlation is not None:
        parts.append(_CORRELATION + _sized(properties.correlation))
    body = b"".join(parts)
    return varint(len(body)) + body


def text(value: str) -> bytes:
    """A UTF-8 string; raises Rejected for one that is none, too long, or has a NUL in it."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError as exc:
        raise Rejected(f"not Unicode: {value!r}") from exc
    if b"\x00" in encoded:
        raise Rejected(f"a NUL in {value[:80]!r}")
    return _sized(encoded)


def varint(value: int) -> bytes:
    """A Variable Byte Integer (MQTT 5, 1.5.5)."""
    encoded = bytearray()
    while value > 127:
        encoded.append(0x80 | value & 127)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def packet_bytes(topic: str, properties: bytes, payload_bytes: int, qos: int) -> int:
    """The size of a whole PUBLISH (MQTT 5, 3.3); raises Rejected for a topic that nothing can be published to."""
    if not topic or "+" in topic or "#" in topic:
        raise Rejected(f"no topic to publish to: {topic!r}")
    body = len(text(topic)) + 2 * (qos > 0) + len(properties) + payload_bytes
    return 1 + len(varint(body)) + body


def _sized(data: bytes) -> bytes:
    if len(data) > _TEXT_MAX_BYTES:
        raise Rejected(f"{len(data)} bytes in a property, where {_TEXT_MAX_BYTES} are the most")
    return len(data).to_bytes(2, "big") + data
