"""Every topic is found again as what it was made for, and no other is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.links.mqtt.mcp.topics import RESERVED, Kind, Place, Topics
from tests.rig.mqtt_hub import matches

LEVELS = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/+#"),
    min_size=1,
    max_size=12,
)
IDS = LEVELS.filter(lambda t: t not in RESERVED)
NAMES = st.lists(LEVELS, min_size=1, max_size=3).map("/".join)
PREFIXES = st.sampled_from(["$", "", "site/", "$share-not/"])


@given(IDS, NAMES, PREFIXES, LEVELS)
def test_what_is_built_is_understood(server: str, name: str, prefix: str, client: str) -> None:
    topics = Topics(server, name, prefix)
    assert topics.place(topics.rpc(client)) == Place(Kind.RPC, client)
    assert topics.place(topics.every_client_presence[:-1] + client) == Place(Kind.CLIENT_PRESENCE, client)
    assert topics.place(topics.presence) == Place(Kind.PRESENCE)
    assert topics.place(topics.control) == Place(Kind.CONTROL)
    assert matches(topics.every_rpc, topics.rpc(client))


@given(IDS, NAMES, st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_other_topic_is_no_place(server: str, name: str, topic: str) -> None:
    topics = Topics(server, name)
    known = (topics.every_rpc, topics.every_client_presence, topics.control, topics.presence)
    place = topics.place(topic)
    assert place is None or any(matches(known_filter, topic) for known_filter in known)


@given(IDS, IDS, NAMES, LEVELS)
def test_the_topics_of_another_server_are_not_ours(ours: str, other: str, name: str, client: str) -> None:
    rpc, presence = Topics(ours, name).foreign(other, client)
    assert (Topics(ours, name).place(rpc) is None) == (ours != other)
    assert (Topics(ours, name).place(presence) is None) == (ours != other)


@pytest.mark.parametrize("server", ["presence", "capability", "", "a/b", "a+", "#", "a\nb", "a\0", "x" * 129])
def test_ids_that_no_topic_can_hold_are_refused(server: str) -> None:
    with pytest.raises(ValueError, match="server id"):
        Topics(server, "edged/vision")


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a/", "a/+", "#"])
def test_names_with_levels_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="server name"):
        Topics("cam", name)


@pytest.mark.parametrize("prefix", ["+", "a/#/"])
def test_a_prefix_is_no_filter(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Topics("cam", "edged/vision", prefix)


@pytest.mark.parametrize("client", ["", "a/b", "a\nb", "x" * 129])
def test_a_client_whose_id_is_none_has_no_place(client: str) -> None:
    topics = Topics("cam", "edged/vision")
    assert topics.place(f"$mcp-rpc/{client}/cam/edged/vision") is None
    assert topics.place(f"$mcp-client/presence/{client}") is None


def test_the_specifications_own_topics() -> None:
    topics = Topics("srv-1", "demo/echo")
    assert topics.control == "$mcp-server/srv-1/demo/echo"
    assert topics.presence == "$mcp-server/presence/srv-1/demo/echo"
    assert topics.capability == "$mcp-server/capability/srv-1/demo/echo"
    assert topics.rpc("cli-1") == "$mcp-rpc/cli-1/srv-1/demo/echo"
    assert topics.every_client_presence == "$mcp-client/presence/+"
