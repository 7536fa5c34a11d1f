"""MCP over MQTT as its clients see it, on a broker in memory."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import cbor2
import pytest

from edged.links.mqtt.config import MqttConfig
from edged.links.mqtt.mcp_link import McpLink
from edged.links.mqtt.values import Publication
from edged.mcp.server import Server
from tests.rig.desk import MODERN, envelope
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.gated import Gates
from tests.rig.mqtt_hub import Hub, Line, shipped
from tests.rig.mqtt_room import ID, NAME, TOPICS, Client, claim, decoded, device, join


class Room:
    """A device on a broker that guards its topics."""

    def __init__(self, hub: Hub, link: McpLink, line: Line, server: Server, gates: Gates) -> None:
        self.hub, self.link, self.line, self.server, self.gates = hub, link, line, server, gates

    def client(self, name: str = "agent", **properties: Any) -> Client:
        return Client(self.hub, name, **properties)


def in_a_room(
    test: Callable[[Room], Awaitable[None]],
    *,
    config: MqttConfig | None = None,
    guarded: bool = True,
    **hub: Any,
) -> None:
    async def run() -> None:
        gates = Gates()
        offered = catalog()
        offered.put(gates.tool)
        server = Server(offered, INFO, None, METHODS)
        place = Hub(shipped(ID), **hub) if guarded else Hub(**hub)
        async with device(place, server, config=config) as (link, line):
            await test(Room(place, link, line, server, gates))

    asyncio.run(run())


def request(method: str, request_id: int | str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {**params, "_meta": MODERN}}


class TestPresence:
    def test_says_who_serves_what_and_how(self) -> None:
        async def test(room: Room) -> None:
            seen = room.hub.retained[TOPICS.presence]
            said = json.loads(seen.payload)
            assert said["method"] == "notifications/server/online"
            assert said["params"]["server_name"] == NAME
            assert said["params"]["description"] == "A camera"
            assert said["params"]["meta"]["protocolVersions"][-1] == "2026-07-28"
            assert said["params"]["meta"]["bootId"] == "boot-a"
            assert dict(seen.properties.user) == {
                "MCP-COMPONENT-TYPE": "mcp-server",
                "MCP-MQTT-CLIENT-ID": ID,
            }
            assert (seen.qos, room.link.will.retain, room.link.will.payload, room.link.will.qos) == (
                1,
                True,
                b"",
                1,
            )

        in_a_room(test)

    def test_is_withdrawn_at_the_end(self) -> None:
        async def run() -> None:
            hub = Hub()
            async with device(hub, Server(catalog(), INFO)):
                assert TOPICS.presence in hub.retained
            assert TOPICS.presence not in hub.retained

        asyncio.run(run())


class TestTheStatelessEra:
    def test_a_client_begins_with_discovery_and_calls_a_tool(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            discovered = await client.ask_modern("server/discover")
            assert discovered["result"]["supportedVersions"] == ["2026-07-28"]
            assert (await client.call("echo", {"text": "hi"}))["structuredContent"] == {"text": "hi"}

        in_a_room(test)

    @pytest.mark.parametrize("request_id", [0, -1, "", "a", '","result":', "é"])
    def test_ids_of_every_kind_are_answered_under_themselves(self, request_id: int | str) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            (answer,) = await client.tell(request("tools/list", request_id))
            assert answer["id"] == request_id
            (answer,) = await client.tell(request("no/such", request_id))
            assert (answer["id"], answer["error"]["code"]) == (request_id, -32601)

        in_a_room(test)

    @pytest.mark.parametrize("qos", [0, 1])
    def test_an_answer_has_the_qos_of_its_request(self, qos: int) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            await client.ask_modern("tools/list", qos=qos)
            assert [p.qos for p in client.line.inbox if p.topic == client.rpc] == [qos]

        in_a_room(test)

    def test_a_subscription_tells_of_changes_on_the_rpc_topic_until_it_is_cancelled(self) -> None:
        async def test(room: Room) -> None:
            client, boss = room.client(), room.client("boss")
            params = {"notifications": {"toolsListChanged": True}}
            (acknowledged,) = await client.tell(request("subscriptions/listen", 7, **params))
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            await boss.call("remove", {"text": "count"})
            (told,) = [decoded(p) for p in client.line.inbox if b"list_changed" in p.payload]
            assert told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
            await client.tell(cancel)
            before = len(client.line.inbox)
            await boss.call("remove", {"text": "fail"})
            assert len(client.line.inbox) == before

        in_a_room(test)

    def test_a_cancelled_call_is_never_answered_and_its_id_is_free(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            walk = request("tools/call", 1, name="walk", arguments={"key": 1})
            assert await client.tell(walk) == []
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
            assert await client.tell(cancel) == []
            assert room.gates.waiting == {}
            (answer,) = await client.tell(request("tools/list", 1))
            assert "tools" in answer["result"]

        in_a_room(test)


class TestTheHandshakeEra:
    @pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
    def test_a_session_opens_on_the_control_topic(self, version: str) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            assert (await client.shake_hands(version))["protocolVersion"] == version
            answer = await client.ask("tools/call", {"name": "echo", "arguments": {"text": "hi"}})
            assert answer["result"]["content"][0]["text"] == "hi"
            assert "tools" in (await client.ask("tools/list"))["result"]

        in_a_room(test)

    def test_one_that_never_says_initialized_is_served_too(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            params = {"protocolVersion": "2025-06-18"}
            await client.ask("initialize", params, topic=TOPICS.control, user=claim("agent"))
            assert "tools" in (await client.ask("tools/list"))["result"]

        in_a_room(test)

    def test_both_eras_live_side_by_side_on_one_client(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            await client.shake_hands()
            assert "resultType" in (await client.ask_modern("tools/list"))["result"]
            assert "resultType" not in (await client.ask("tools/list"))["result"]

        in_a_room(test)

    def test_changes_are_told_once_on_the_capability_topic(self) -> None:
        async def test(room: Room) -> None:
            one, two, boss = room.client("one"), room.client("two"), room.client("boss")
            await one.shake_hands()
            await two.shake_hands()
            await boss.call("remove", {"text": "echo"})
            assert [m["method"] for m in one.heard(TOPICS.capability)] == ["notifications/tools/list_changed"]

        in_a_room(test)

    def test_a_forged_initialize_touches_no_live_session(self) -> None:
        async def test(room: Room) -> None:
            victim, forger = room.client("agent"), room.client("forger")
            await victim.shake_hands("2025-11-25")
            assert await victim.tell(request("tools/call", 50, name="walk", arguments={"key": 1})) == []
            message = {
                "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2024-11-05"},
            }  # fmt: skip
            await forger.tell(message, TOPICS.control, user=claim("agent"))
            assert "structuredContent" in (await victim.ask("tools/call", {"name": "waiting"}))["result"]
            assert 1 in room.gates.waiting
            assert room.link.status.openings == 1

        in_a_room(test)

    def test_a_forged_initialize_cannot_answer_what_its_victim_waits_for(self) -> None:
        async def test(room: Room) -> None:
            victim, forger = room.client("agent"), room.client("forger")
            assert await victim.tell(request("tools/call", 5, name="walk", arguments={"key": 1})) == []
            before = len(victim.line.inbox)
            message = {
                "jsonrpc": "2.0",
                "id": 5,
                "method": "initialize",
                "params": {"protocolVersion": "2025-11-25"},
            }
            await forger.tell(message, TOPICS.control, user=claim("agent"))
            assert len(victim.line.inbox) == before

        in_a_room(test)

    def test_a_session_opened_by_a_forger_has_nothing_and_ends_by_itself(self) -> None:
        async def test(room: Room) -> None:
            forger = room.client("forger")
            message = {
                "jsonrpc": "2.0",
                "id": 0,
                "method": "initialize",
                "params": {"protocolVersion": "2025-11-25"},
            }
            for n in range(200):
                await forger.tell(message, TOPICS.control, user=claim(f"victim-{n}"))
            assert room.link.status.openings <= 64
            assert room.link.status.clients == 0

        in_a_room(test)

    def test_initialize_on_the_rpc_topic_begins_anew_at_once(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            await client.shake_hands("2025-11-25")
            answer = await client.ask("initialize", {"protocolVersion": "2025-06-18"})
            assert answer["result"]["protocolVersion"] == "2025-06-18"
            assert "tools" in (await client.ask("tools/list"))["result"]

        in_a_room(test)

    def test_a_response_topic_of_the_client_names_it_where_no_property_does(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            message = {
                "jsonrpc": "2.0",
                "id": 0,
                "method": "initialize",
                "params": {"protocolVersion": "2025-11-25"},
            }
            (answer,) = await client.tell(
                message, TOPICS.control, response_topic=client.rpc, correlation=b"c"
            )
            assert answer["id"] == 0
            assert client.line.inbox[-1].properties.correlation == b"c"

        in_a_room(test)

    def test_a_client_that_restarts_gets_no_answers_of_its_earlier_life(self) -> None:
        async def test(room: Room) -> None:
            client, boss = room.client(), room.client("boss")
            list_tools = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
            await client.shake_hands()
            (before,) = await client.tell(list_tools)
            await boss.call("remove", {"text": "echo"})
            (again,) = await client.tell(list_tools)
            assert again == before
            client.line.lose()
            await room.hub.settle()
            client = room.client()
            await client.shake_hands()
            (after,) = await client.tell(list_tools)
            assert len(after["result"]["tools"]) == len(before["result"]["tools"]) - 1

        in_a_room(test)


class TestWhoGoes:
    @pytest.mark.parametrize("where", ["presence", "rpc"])
    def test_a_client_that_says_so_is_forgotten_and_its_calls_are_cancelled(self, where: str) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            await client.tell(request("tools/call", 1, name="walk", arguments={"key": 1}))
            topic = client.rpc if where == "rpc" else "$mcp-client/presence/agent"
            await client.tell({"jsonrpc": "2.0", "method": "notifications/disconnected"}, topic)
            assert room.link.status.clients == 0
            assert room.gates.waiting == {}

        in_a_room(test)

    def test_a_will_says_so_too(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            await client.tell(request("tools/call", 1, name="walk", arguments={"key": 1}))
            client.line.lose()
            await room.hub.settle()
            assert room.link.status.clients == 0

        in_a_room(test)

    def test_when_the_connection_breaks_calls_end_and_what_was_answered_is_remembered(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            echo = request("tools/call", 1, name="echo", arguments={"text": "hi"})
            (first,) = await client.tell(echo)
            await client.tell(request("tools/call", 2, name="walk", arguments={"key": 1}))
            room.line.lose()
            await room.hub.settle()
            assert room.gates.waiting == {}
            assert room.link.status.identity == "offline"
            join(room.hub, room.link, "boot-a")
            await room.hub.settle()
            assert await client.tell(echo) == [first]
            assert room.link.status.counts["repeated"] == 1
            assert await client.tell(request("tools/call", 2, name="walk", arguments={"key": 1})) == []
            assert 1 in room.gates.waiting

        in_a_room(test)


class TestRepeats:
    def test_a_repeat_runs_nothing_and_gets_the_same_answer(self) -> None:
        async def test(room: Room) -> None:
            client = room.client("boss")
            remove = request("tools/call", "r", name="remove", arguments={"text": "echo"})
            (first,) = await client.tell(remove)
            assert await client.tell(remove) == [first]

        in_a_room(test)

    def test_a_repeat_of_what_still_runs_is_answered_once(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            walk = request("tools/call", 1, name="walk", arguments={"key": 1})
            assert await client.tell(walk) == []
            assert await client.tell(walk) == []
            before = len(client.line.inbox)
            for _ in range(2):
                room.gates.open(1)
                await room.hub.settle()
            answers = [decoded(p) for p in client.line.inbox[before:]]
            assert [a["result"]["content"][0]["text"] for a in answers if "id" in a] == ["arrived"]
            assert len(await client.tell(walk)) == 1

        in_a_room(test)

    def test_what_failed_may_be_tried_again(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            walk = request("tools/call", 1, name="walk", arguments={"key": 1, "ending": "refusal"})
            for _ in range(2):
                assert await client.tell(walk) == []
                for _ in range(2):
                    room.gates.open(1)
                    await room.hub.settle()

        in_a_room(test)

    def test_another_client_with_the_same_bytes_is_another(self) -> None:
        async def test(room: Room) -> None:
            list_tools = request("tools/list", 1)
            assert len(await room.client("one").tell(list_tools)) == 1
            assert len(await room.client("two").tell(list_tools)) == 1
            assert "repeated" not in room.link.status.counts

        in_a_room(test)


class TestWhatIsIgnored:
    def test_retained_empty_oversize_and_strange_messages_are_counted_and_not_answered(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            retained = Publication(
                topic=client.rpc, payload=json.dumps(request("tools/list", 1)).encode(), retain=True
            )
            room.link.received(retained)
            assert await client.tell(b"") == []
            assert (
                await client.tell(b'{"jsonrpc":"2.0","id":1,"method":"x","p":"' + b"x" * 5000 + b'"}') == []
            )
            assert await client.tell({"jsonrpc": "2.0", "method": "ping"}, TOPICS.control) == []
            room.link.received(Publication(topic="$mcp-rpc/a b/c/" + ID, payload=b"{}"))
            counts = room.link.status.counts
            for reason in (
                "retained",
                "empty",
                "oversize",
                "not an initialize of anybody",
                "no client's topic",
            ):
                assert counts[f"ignored: {reason}"] == 1, reason

        in_a_room(test, config=MqttConfig(message_max_bytes=4096))

    @pytest.mark.parametrize("payload", [b"{", b"\xff", b"5", b"[]", b'{"id":1.5}', b"[" * 500])
    def test_what_is_no_message_is_answered_with_what_is_wrong(self, payload: bytes) -> None:
        async def test(room: Room) -> None:
            (answer,) = await room.client().tell(payload)
            assert answer["error"]["code"] in (-32700, -32600)

        in_a_room(test)

    def test_a_response_topic_of_somebody_else_is_not_used(self) -> None:
        async def test(room: Room) -> None:
            client, other = room.client(), room.client("other")
            await client.ask_modern("tools/list", response_topic=other.rpc, correlation=b"x")
            assert [p for p in other.line.inbox if p.topic != TOPICS.presence] == []
            assert client.line.inbox[-1].properties.correlation is None

        in_a_room(test)


class TestAccess:
    def test_the_tier_follows_the_topic_and_not_what_a_property_claims(self) -> None:
        async def test(room: Room) -> None:
            boss, agent, nobody = room.client("boss"), room.client("agent"), room.client("nobody")
            tools = [
                {t["name"] for t in (await c.ask_modern("tools/list", user=claim("boss")))["result"]["tools"]}
                for c in (boss, agent, nobody)
            ]
            assert "remove" in tools[0]
            assert tools[0] - tools[1] == {"remove"}
            assert tools[1] - tools[2] == {"paint"}
            assert room.link.status.access == "guarded"

        in_a_room(test)

    def test_on_a_broker_that_guards_nothing_everybody_may_read_and_no_more(self) -> None:
        async def test(room: Room) -> None:
            answer = await room.client("boss").ask_modern("tools/list")
            assert {"remove", "paint"}.isdisjoint(t["name"] for t in answer["result"]["tools"])
            assert room.link.status.access == "open"

        in_a_room(test, guarded=False)

    def test_a_broker_that_hangs_up_at_the_question_is_not_asked_again_at_once(self) -> None:
        async def test(room: Room) -> None:
            room.line.lose(will=False)
            room.hub.retained.clear()
            line = join(room.hub, room.link, "boot-a")
            line.lose(will=False)
            before = len(room.hub.seen)
            join(room.hub, room.link, "boot-a")
            await room.hub.settle()
            assert not any("probe" in p.topic for _, p in room.hub.seen[before:])
            assert room.link.status.access == "unproven"

        in_a_room(test)


class TestBounds:
    def test_one_client_too_many_is_told_so_and_those_who_are_there_stay(self) -> None:
        async def test(room: Room) -> None:
            one, two, three = (room.client(name) for name in ("one", "two", "three"))
            for client in (one, two):
                await client.ask_modern("tools/list")
            answer = await three.ask_modern("tools/list")
            assert answer["error"]["code"] == -31000
            assert answer["error"]["data"]["retryable"] is True
            assert "tools" in (await one.ask_modern("tools/list"))["result"]
            assert "tools" in (await room.client("boss").ask_modern("tools/list"))["result"]

        in_a_room(test, config=MqttConfig(sessions_max=2))

    def test_what_a_flood_leaves_waiting_is_cut_and_others_are_served_at_once(self) -> None:
        async def test(room: Room) -> None:
            flood, honest = room.client("flood"), room.client("honest")
            await honest.ask_modern("tools/list")
            for n in range(1000):  # in one turn of the loop
                room.link.received(
                    Publication(topic=flood.rpc, payload=json.dumps(request("tools/list", n)).encode())
                )
            assert "tools" in (await honest.ask_modern("tools/list"))["result"]
            assert room.link.status.counts["ignored: too many"] == 1000 - 129
            for _ in range(300):
                await room.hub.settle()
            answers = [decoded(p) for p in flood.line.inbox if p.topic == flood.rpc]
            assert [answer["id"] for answer in answers if "result" in answer] == list(range(129))
            assert [answer["error"]["code"] for answer in answers if "error" in answer] == [-31000]

        in_a_room(test)

    def test_alone_a_client_may_be_as_fast_as_it_likes(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            for n in range(1000):
                client.line.say(client.rpc, request("tools/list", n))
            await room.hub.settle()
            assert sum(p.topic == client.rpc for p in client.line.inbox) == 1000

        in_a_room(test)

    def test_what_the_broker_does_not_take_is_counted(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            echo = request("tools/call", 1, name="echo", arguments={"text": "hi"})
            room.line.full = True
            assert await client.tell(echo) == []
            assert room.link.status.counts["lost: Overloaded"] == 1
            room.line.full = False
            (answer,) = await client.tell(echo)
            assert answer["result"]["structuredContent"] == {"text": "hi"}

        in_a_room(test)


class TestCbor:
    def test_a_request_in_cbor_is_answered_in_cbor_with_bytes_for_base64(self) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            picture = bytes(range(256)) * 100
            call = request("tools/call", 1, name="weigh", arguments={"data": picture, "note": "n"})
            (answer,) = await client.tell(cbor2.dumps(call), content_type="application/cbor")
            assert answer["result"]["structuredContent"]["length"] == len(picture)
            assert client.line.inbox[-1].properties.text is False
            call = request("tools/call", 2, name="paint", arguments={})
            (answer,) = await client.tell(cbor2.dumps(call), content_type="application/cbor")
            image = next(block for block in answer["result"]["content"] if block["type"] == "image")
            assert image["data"].startswith(b"\x89PNG")

        in_a_room(test)

    @pytest.mark.parametrize("size", [10, 5000])
    def test_bytes_where_none_belong_are_what_their_base64_would_be(self, size: int) -> None:
        async def test(room: Room) -> None:
            call = request("tools/call", 1, name="echo", arguments={"text": b"a" * size})
            (answer,) = await room.client().tell(cbor2.dumps(call), content_type="application/cbor")
            assert answer["result"]["structuredContent"]["text"].startswith("YWFh")

        in_a_room(test)

    @pytest.mark.parametrize("payload", ["", "9f01ff", "c100", "a1000000", "a2616101616102", "ff"])
    def test_tricks_in_cbor_are_refused_in_cbor(self, payload: str) -> None:
        async def test(room: Room) -> None:
            client = room.client()
            got = await client.tell(bytes.fromhex(payload), content_type="application/cbor")
            assert [answer["error"]["code"] for answer in got] == ([-32700] if payload else [])

        in_a_room(test)


class TestLargeResults:
    def big(self, room: Room) -> None:
        from edged.mcp.catalog import Image, Template, Tier, Tool, ToolResult  # noqa: PLC0415 - only these tests
        from tests.rig.echo_server import Nothing, Said  # noqa: PLC0415 - likewise

        picture = bytes(range(256)) * 1000

        def paint(_call: Any, _arguments: Any) -> ToolResult:
            return ToolResult(structured=Said(text="big"), text="big", content=(Image(picture, "image/png"),))

        def write(_call: Any, _arguments: Any) -> ToolResult:
            return ToolResult(structured=Said(text="x" * 200_000), text="long")

        common: dict[str, Any] = {
            "title": "", "description": "", "arguments": Nothing, "result": Said, "tier": Tier.READ,
        }  # fmt: skip
        room.server.catalog.put(
            Tool(name="big", handler=paint, **common),
            Tool(name="long", handler=write, **common),
            Template(
                uri_template="test://{n}", name="t", read=lambda _c, v: "x" * int(v["n"]), tier=Tier.READ
            ),
        )
        self.picture = picture

    async def read(self, client: Client, uri: str, parts: int, **properties: Any) -> bytes:
        got = b""
        for part in range(parts):
            answer = await client.ask_modern("resources/read", {"uri": f"{uri}/{part}"}, **properties)
            got += __import__("base64").b64decode(answer["result"]["contents"][0]["blob"])
        return got

    def test_a_large_picture_becomes_a_link_that_is_read_in_parts(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            client = room.client()
            result = await client.call("big")
            assert result["structuredContent"] == {"text": "big"}
            link = result["content"][1]
            assert (link["type"], link["mimeType"], link["size"]) == ("resource_link", "image/png", 256_000)
            whole = await client.ask_modern("resources/read", {"uri": link["uri"]})
            assert whole["error"]["code"] == -31001
            assert f"{link['uri']}/0 to {link['uri']}/2" in link["description"]
            assert await self.read(client, link["uri"], 3) == self.picture
            stranger = await room.client("other").ask_modern("resources/read", {"uri": f"{link['uri']}/0"})
            assert "error" in stranger

        in_a_room(test)

    def test_a_client_that_takes_more_gets_more(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            result = await room.client(user=(("EDGED-MAX-PACKET-BYTES", "1000000"),)).call("big")
            assert result["content"][1]["type"] == "image"

        in_a_room(test)

    def test_what_the_broker_declared_bounds_it_all_the_same(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            client = room.client(user=(("EDGED-MAX-PACKET-BYTES", "1000000"),))
            assert (await client.call("big"))["content"][1]["type"] == "resource_link"
            assert max(len(p.payload) for p in client.line.inbox) < 20_000

        in_a_room(test, packet_max_bytes=20_000)

    def test_a_structured_result_too_large_is_an_error_that_says_where_it_lies(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            client = room.client()
            result = await client.call("long")
            assert result["isError"] is True
            assert result["structuredContent"]["error"] == "TooLarge"
            text = await self.read(client, result["content"][1]["uri"], 3)
            assert json.loads(text)["structuredContent"] == {"text": "x" * 200_000}

        in_a_room(test)

    def test_a_resource_too_large_is_an_error_with_the_sizes(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            answer = await room.client().ask_modern("resources/read", {"uri": "test://200000"})
            assert answer["error"]["code"] == -31001
            assert "200" in answer["error"]["message"]

        in_a_room(test)

    def test_handshake_clients_of_old_get_words_for_a_link(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            client = room.client()
            await client.shake_hands("2024-11-05")
            content = (await client.ask("tools/call", {"name": "big"}))["result"]["content"]
            assert {block["type"] for block in content} == {"text"}
            assert any("edged://results/" in block["text"] for block in content)

        in_a_room(test)

    def test_in_cbor_it_is_the_same(self) -> None:
        async def test(room: Room) -> None:
            self.big(room)
            client = room.client()
            call = cbor2.dumps(request("tools/call", 1, name="big", arguments={}))
            (answer,) = await client.tell(call, content_type="application/cbor")
            assert answer["result"]["content"][1]["type"] == "resource_link"

        in_a_room(test)


class TestDeadlines:
    def test_message_expiry_is_what_a_call_may_wait_and_goes_with_its_answer(self) -> None:
        async def test(room: Room) -> None:
            from edged.mcp.catalog import Tier, Tool, ToolResult  # noqa: PLC0415 - only this test
            from tests.rig.echo_server import Nothing  # noqa: PLC0415 - likewise

            seen: list[float | None] = []

            def look(call: Any, _arguments: Any) -> ToolResult:
                seen.append(call.patience_s)
                return ToolResult(structured=None, text="seen")

            room.server.catalog.put(
                Tool(name="look", title="", description="", arguments=Nothing, handler=look, tier=Tier.READ)
            )
            client = room.client()
            await client.call("look")
            await client.call("look", expiry_s=7)
            assert seen[0] is None
            assert seen[1] is not None
            assert 6 < seen[1] <= 7
            assert client.line.inbox[-1].properties.expiry_s == 7

        in_a_room(test)


class TestTwoDevicesOfOneId:
    def test_the_second_yields_and_both_say_so(self, caplog: pytest.LogCaptureFixture) -> None:
        async def run() -> None:
            hub = Hub(shipped(ID))
            one, two = Server(catalog(), INFO), Server(catalog(), INFO)
            async with (
                device(hub, one, boot="boot-b") as (first, _),
                device(hub, two, boot="boot-a") as (second, _),
            ):
                await hub.settle()
                assert (first.status.identity, second.status.identity) == ("serving", "yielded")
                assert (first.status.rival, second.status.rival) == ("boot-a", "boot-b")
                assert first.status.conflicts == second.status.conflicts == 1
                client = Client(hub, "agent")
                assert "tools" in (await client.ask_modern("tools/list"))["result"]
                assert second.status.counts["ignored: not serving"] >= 1
            assert TOPICS.presence not in hub.retained

        with caplog.at_level(logging.ERROR):
            asyncio.run(run())
        assert "another device serves under this id" in caplog.text


def test_progress_and_questions_of_a_call_go_to_its_own_topic() -> None:
    async def test(room: Room) -> None:
        client = room.client()
        params = {"name": "count", "arguments": {"steps": 2}, "_meta": envelope(progressToken="p")}
        got = await client.tell({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        for _ in range(5):
            await room.hub.settle()
        got = [decoded(p) for p in client.line.inbox if p.topic == client.rpc]
        assert [m.get("method") for m in got] == ["notifications/progress"] * 2 + [None]

    in_a_room(test)
