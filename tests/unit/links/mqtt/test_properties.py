"""Our packing of properties against paho's own reading of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from edged.errors import Rejected
from edged.links.mqtt.properties import packed, packet_bytes
from edged.links.mqtt.values import Properties

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs", "Cc", "Cn"]), max_size=40)
PROPERTIES = st.builds(
    Properties,
    content_type=st.none() | TEXT,
    text=st.booleans(),
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    response_topic=st.none() | TEXT,
    correlation=st.none() | st.binary(max_size=200),
    user=st.lists(st.tuples(TEXT, TEXT), max_size=5).map(tuple),
)


@given(PROPERTIES)
def test_what_we_pack_is_read_as_what_it_was(properties: Properties) -> None:
    read = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho
    data = packed(properties)
    _, length = read.unpack(data)  # type: ignore[no-untyped-call] # paho
    found = vars(read)
    assert length == len(data)
    assert found.get("ContentType") == properties.content_type
    assert found.get("PayloadFormatIndicator", 0) == properties.text
    assert found.get("MessageExpiryInterval") == properties.expiry_s
    assert found.get("ResponseTopic") == properties.response_topic
    assert found.get("CorrelationData") == properties.correlation
    assert tuple(found.get("UserProperty", ())) == properties.user


@pytest.mark.parametrize(
    "properties",
    [
        Properties(content_type="a\x00b"),
        Properties(user=(("k", "v" * 65536),)),
        Properties(correlation=bytes(65536)),
        Properties(response_topic="\ud800"),
    ],
)
def test_what_mqtt_cannot_carry_is_refused(properties: Properties) -> None:
    with pytest.raises(Rejected):
        packed(properties)


@pytest.mark.parametrize(
    ("payload", "qos", "size"),
    [(0, 0, 8), (0, 1, 10), (119, 1, 129), (120, 1, 131), (16375, 1, 16386), (16376, 1, 16388)],
)
def test_the_size_of_a_packet_is_known_before_it_is_made(payload: int, qos: int, size: int) -> None:
    assert packet_bytes("a/b", packed(Properties()), payload, qos) == size
