"""The dispatcher's rules, each as a peer sees it."""

from __future__ import annotations

import json
import logging
from typing import Any, cast

import msgspec
import pytest

from edged.errors import NotReady
from edged.mcp.catalog import Blob, Tier, ToolResult
from edged.mcp.config import McpConfig
from edged.mcp.legacy import REVISIONS
from edged.mcp.server import Server
from tests.rig.desk import MODERN, Desk
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.late import late_catalog

LARGE = "AAAA" * 2000
OFFERS = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "logging": {},
}
SERVER_INFO = {"io.modelcontextprotocol/serverInfo": {"name": "echo", "version": "1", "title": "Echo"}}


@pytest.fixture
def desk() -> Desk:
    return Desk(Server(catalog(), INFO, None, METHODS))


@pytest.fixture
def slow() -> Desk:
    """Whose tool `late` ends when the test says so."""
    return Desk(Server(late_catalog(), INFO, McpConfig(in_flight_max=5, subscriptions_max=2)))


def call(desk: Desk, name: str, arguments: dict[str, Any] | None = None, request_id: int | str = 1) -> Any:
    return desk.ask_modern("tools/call", {"name": name, "arguments": arguments or {}}, request_id)


def begin(desk: Desk, request_id: int | str, meta: dict[str, Any] | None = None) -> list[Any]:
    params = {"name": "late", "arguments": {}, "_meta": {**MODERN, **(meta or {})}}
    return desk.tell(
        json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params})
    )


class TestTheStatelessEra:
    def test_discovery_says_what_is_spoken_and_for_how_long_that_holds(self, desk: Desk) -> None:
        result = desk.ask_modern("server/discover")["result"]
        assert result == {
            "resultType": "complete",
            "_meta": SERVER_INFO,
            "supportedVersions": ["2026-07-28"],
            "capabilities": {**OFFERS, "completions": {}, "extensions": {"test/measure": {}}},
            "instructions": "Say it.",
            "ttlMs": 3_600_000,
            "cacheScope": "private",
        }

    def test_a_call_needs_nothing_before_it(self, desk: Desk) -> None:
        result = call(desk, "echo", {"text": "hi"})["result"]
        assert result == {
            "resultType": "complete",
            "_meta": SERVER_INFO,
            "content": [{"type": "text", "text": "hi"}],
            "structuredContent": {"text": "hi"},
            "isError": False,
        }

    def test_an_envelope_without_a_version_is_named_as_what_is_missing(self, desk: Desk) -> None:
        answer = desk.ask("tools/list", {"_meta": {}})
        assert answer["error"]["code"] == -32602
        assert "io.modelcontextprotocol/protocolVersion" in answer["error"]["message"]

    def test_an_envelope_without_capabilities_is_refused(self, desk: Desk) -> None:
        meta = {key: value for key, value in MODERN.items() if "Capabilities" not in key}
        answer = desk.ask("tools/list", {"_meta": meta})
        assert answer["error"]["code"] == -32602
        assert "io.modelcontextprotocol/clientCapabilities" in answer["error"]["message"]

    @pytest.mark.parametrize("version", ["2025-11-25", "2099-01-01", ""])
    def test_another_version_is_answered_with_those_supported(self, desk: Desk, version: str) -> None:
        meta = {**MODERN, "io.modelcontextprotocol/protocolVersion": version}
        error = desk.ask("tools/list", {"_meta": meta})["error"]
        assert error["code"] == -32022
        assert error["data"] == {"supported": ["2026-07-28"], "requested": version}

    @pytest.mark.parametrize(
        "meta",
        [
            5,
            {**MODERN, "io.modelcontextprotocol/protocolVersion": 5},
            {**MODERN, "io.modelcontextprotocol/clientCapabilities": []},
            {**MODERN, "io.modelcontextprotocol/clientInfo": {"name": "x"}},
            {**MODERN, "io.modelcontextprotocol/logLevel": "loud"},
            {**MODERN, "progressToken": 1.5},
        ],
    )
    def test_an_envelope_of_wrong_types_is_refused_with_its_path(self, desk: Desk, meta: object) -> None:
        error = desk.ask("tools/list", {"_meta": meta})["error"]
        assert error["code"] == -32602
        assert error["message"].startswith("$._meta")

    @pytest.mark.parametrize(
        "method",
        [
            "initialize",
            "ping",
            "nonsense",
            "logging/setLevel",
            "resources/subscribe",
            "tasks/get",
            "tasks/list",
        ],
    )
    def test_what_this_era_does_not_have_is_an_unknown_method(self, desk: Desk, method: str) -> None:
        assert desk.ask_modern(method)["error"]["code"] == -32601


class TestTheHandshakeEra:
    @pytest.mark.parametrize("version", REVISIONS)
    def test_a_known_revision_is_agreed_on(self, desk: Desk, version: str) -> None:
        result = desk.shake_hands(version)
        assert result["protocolVersion"] == version
        completions: dict[str, Any] = {"completions": {}} if version >= "2025-03-26" else {}
        assert result["capabilities"] == {**OFFERS, **completions, "experimental": {"test/measure": {}}}
        assert ("title" in result["serverInfo"]) is (version >= "2025-06-18")

    @pytest.mark.parametrize("version", ["2026-07-28", "1999-01-01", ""])
    def test_any_other_is_answered_with_the_newest_that_has_a_handshake(
        self, desk: Desk, version: str
    ) -> None:
        assert desk.shake_hands(version)["protocolVersion"] == "2025-11-25"

    def test_initialize_may_follow_discovery_on_one_connection(self, desk: Desk) -> None:
        desk.ask_modern("server/discover")
        desk.shake_hands("2025-11-25")
        assert "resultType" not in desk.ask("tools/list")["result"]
        assert "resultType" in desk.ask_modern("tools/list")["result"]

    def test_ping_is_answered_even_before_the_handshake(self, desk: Desk) -> None:
        assert desk.ask("ping")["result"] == {}

    def test_initialize_without_a_version_is_refused(self, desk: Desk) -> None:
        assert desk.ask("initialize", {})["error"]["code"] == -32602

    @pytest.mark.parametrize("version", REVISIONS)
    def test_tools_are_described_with_what_the_revision_knows(self, desk: Desk, version: str) -> None:
        desk.shake_hands(version)
        tool = desk.ask("tools/list")["result"]["tools"][0]
        assert ("annotations" in tool) is (version >= "2025-03-26")
        assert ("title" in tool) is (version >= "2025-06-18")
        assert ("outputSchema" in tool) is (version >= "2025-06-18")

    @pytest.mark.parametrize("version", REVISIONS)
    def test_structured_content_becomes_text_for_those_who_do_not_know_it(
        self, desk: Desk, version: str
    ) -> None:
        desk.shake_hands(version)
        result = desk.ask("tools/call", {"name": "weigh", "arguments": {"data": "AAAA"}})["result"]
        if version >= "2025-06-18":
            assert result["structuredContent"]["length"] == 3
            assert len(result["content"]) == 1
        else:
            assert "structuredContent" not in result
            assert json.loads(result["content"][1]["text"])["length"] == 3


class TestBatches:
    def test_all_answers_come_in_one_array_once_the_last_is_there(self, slow: Desk) -> None:
        slow.shake_hands("2025-03-26")
        late = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "late"}}
        pings = [{"jsonrpc": "2.0", "id": n, "method": "ping"} for n in (2, 3)]
        note = {"jsonrpc": "2.0", "method": "notifications/whatever"}
        assert slow.tell(json.dumps([pings[0], late, note, pings[1], 5])) == []
        (call,) = slow.working
        (answers,) = slow.settle(call, NotReady("soon", 1))
        assert [answer.get("id") for answer in answers] == [2, 3, None, 1]

    def test_a_cancelled_element_does_not_hold_the_others_back(self, slow: Desk) -> None:
        slow.shake_hands("2025-03-26")
        late = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "late"}}
        assert slow.tell(json.dumps([late, {"jsonrpc": "2.0", "id": 2, "method": "ping"}])) == []
        (answers,) = slow.notify("notifications/cancelled", {"requestId": 1})
        assert [answer["id"] for answer in answers] == [2]

    def test_only_notifications_are_answered_by_nothing(self, desk: Desk) -> None:
        desk.shake_hands("2025-03-26")
        assert desk.tell('[{"jsonrpc":"2.0","method":"notifications/x"}]') == []

    @pytest.mark.parametrize("version", [None, "2024-11-05", "2025-06-18", "2025-11-25"])
    def test_other_revisions_refuse_an_array_with_one_error(self, desk: Desk, version: str | None) -> None:
        if version:
            desk.shake_hands(version)
        (answer,) = desk.tell('[{"jsonrpc":"2.0","id":1,"method":"ping"}]')
        assert answer["error"]["code"] == -32600
        assert "id" not in answer

    @pytest.mark.parametrize(
        "text", ["[]", "[" + ",".join(['{"jsonrpc":"2.0","id":1,"method":"ping"}'] * 65) + "]"]
    )
    def test_an_empty_or_endless_batch_is_one_error(self, desk: Desk, text: str) -> None:
        desk.shake_hands("2025-03-26")
        (answer,) = desk.tell(text)
        assert answer["error"]["code"] == -32600

    def test_what_a_thread_answers_of_a_batch_is_sent_with_the_rest(self) -> None:
        slow = Desk(Server(late_catalog(), INFO))
        slow.shake_hands("2025-03-26")
        call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "late"}}
        assert slow.tell(json.dumps([{**call, "id": 1}, {**call, "id": 2}])) == []
        first, second = slow.working
        first.answer(ToolResult(structured={}, text="early"))()
        assert slow.settle(second, NotReady("x", 1)) == []
        (answers,) = slow.settle(first, None)
        assert {answer["id"]: answer["result"]["content"][0]["text"] for answer in answers} == {
            1: "early",
            2: "x",
        }

    def test_neither_a_handshake_nor_the_stateless_era_fits_in_a_batch(self, desk: Desk) -> None:
        desk.shake_hands("2025-03-26")
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25"},
        }
        modern = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": MODERN}}
        ((first, second),) = desk.tell(json.dumps([hello, modern]))
        assert first["error"]["code"] == second["error"]["code"] == -32600


class TestToolCalls:
    def test_wrong_arguments_are_a_result_that_names_the_path(self, desk: Desk) -> None:
        result = call(desk, "echo", {"text": "x", "times": 101})["result"]
        assert result["isError"] is True
        assert result["content"][0]["text"] == "$.times: expected int <= 100"
        assert result["structuredContent"]["error"] == "BadArgument"

    def test_a_refusal_is_a_result_that_says_when_to_come_back(self, desk: Desk) -> None:
        result = call(desk, "refuse")["result"]
        assert result["isError"] is True
        assert result["structuredContent"] == {
            "error": "Overloaded",
            "message": "the queue is full",
            "retryable": True,
            "retry_after_s": 0.5,
        }

    def test_an_accident_is_logged_once_and_told_to_nobody(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = call(desk, "fail")
        assert answer["error"] == {"code": -32603, "message": "internal error"}
        assert [record.exc_info is not None for record in caplog.records] == [True]

    def test_a_result_that_cannot_be_encoded_is_an_accident_too(self, slow: Desk) -> None:
        begin(slow, 1)
        (running,) = slow.working
        (answer,) = slow.settle(running, object())
        assert answer["error"]["code"] == -32603

    def test_an_unknown_tool_is_an_error(self, desk: Desk) -> None:
        error = call(desk, "nonsense")["error"]
        assert error["code"] == -32602
        assert "unknown tool 'nonsense'" in error["message"]

    def test_a_tool_above_the_peers_tier_is_neither_listed_nor_known(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        desk = Desk(Server(catalog(), INFO), Tier.READ)
        names = [tool["name"] for tool in desk.ask_modern("tools/list")["result"]["tools"]]
        assert "paint" not in names
        assert "echo" in names
        assert call(desk, "remove", {"text": "echo"})["error"] == {
            "code": -32602,
            "message": "unknown tool 'remove'",
        }
        assert "call above tier principal=uid:1000 tool=remove" in caplog.text

    def test_a_picture_is_image_content(self, desk: Desk) -> None:
        content = call(desk, "paint")["result"]["content"]
        assert content[1]["type"] == "image"
        assert content[1]["mimeType"] == "image/png"
        assert content[1]["data"].startswith("iVBOR")

    @pytest.mark.parametrize("params", [{}, {"name": 5}, {"arguments": {}}])
    def test_a_call_without_a_name_is_refused(self, desk: Desk, params: dict[str, Any]) -> None:
        assert desk.ask_modern("tools/call", params)["error"]["code"] == -32602

    def test_a_fault_of_our_own_is_logged_and_answered_and_the_conversation_goes_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        offered = catalog()
        tool = offered.tools.get("echo")
        assert tool is not None
        offered.put(msgspec.structs.replace(tool, arguments=cast("type[msgspec.Struct]", complex | Blob)))
        desk = Desk(Server(offered, INFO))
        assert call(desk, "echo", {"text": LARGE})["error"] == {"code": -32603, "message": "internal error"}
        assert len(caplog.records) == 1
        assert "result" in call(desk, "weigh", {"data": LARGE})


class TestWorkInFlight:
    def test_progress_increases_until_the_answer_and_only_where_it_was_asked_for(self, slow: Desk) -> None:
        assert begin(slow, 1, {"progressToken": "p"}) == []
        (running,) = slow.working
        running.progress(1, 3, "one")
        running.progress(1, 3, "again")
        running.progress(0.5)
        running.progress(2)
        assert [message["params"] for message in slow.sent] == [
            {"progressToken": "p", "progress": 1.0, "total": 3.0, "message": "one"},
            {"progressToken": "p", "progress": 2.0},
        ]
        slow.settle(running, NotReady("x", 1))
        running.progress(3)
        assert len(slow.sent) == 3
        begin(slow, 2)
        (silent,) = slow.working
        silent.progress(1)
        assert len(slow.sent) == 3

    def test_nothing_is_sent_for_a_cancelled_request(self, slow: Desk) -> None:
        begin(slow, 1, {"progressToken": 1})
        (running,) = slow.working
        assert slow.notify("notifications/cancelled", {"requestId": 1, "reason": "bored"}) == []
        assert slow.cancelled == [running]
        running.progress(1)
        assert slow.settle(running, NotReady("x", 1)) == []

    @pytest.mark.parametrize("params", [{"requestId": 9}, {"requestId": "1"}, {}, {"requestId": None}])
    def test_cancelling_what_is_not_there_is_ignored(self, slow: Desk, params: dict[str, Any]) -> None:
        begin(slow, 1)
        assert slow.notify("notifications/cancelled", params) == []
        assert slow.cancelled == []

    def test_an_id_in_flight_cannot_be_used_again(self, slow: Desk) -> None:
        begin(slow, 1)
        (answer,) = begin(slow, 1)
        assert answer["error"]["code"] == -32600
        assert answer["id"] == 1
        assert begin(slow, "1") == []

    def test_an_id_is_free_again_once_answered_or_cancelled(self, slow: Desk) -> None:
        begin(slow, 1)
        slow.notify("notifications/cancelled", {"requestId": 1})
        assert begin(slow, 1) == []
        _cancelled, running = slow.working
        slow.settle(running, NotReady("x", 1))
        assert begin(slow, 1) == []

    def test_more_calls_than_allowed_are_refused_until_work_ends_cancelled_or_not(self, slow: Desk) -> None:
        for request_id in range(5):
            begin(slow, request_id)
            slow.notify("notifications/cancelled", {"requestId": request_id})
        (answer,) = begin(slow, "one more")
        assert answer["result"]["structuredContent"]["error"] == "Overloaded"
        slow.settle(next(iter(slow.working)), NotReady("x", 1))
        assert begin(slow, "now") == []

    def test_bytes_in_flight_are_bounded(self) -> None:
        desk = Desk(
            Server(late_catalog(), INFO, McpConfig(line_max_bytes=1_048_576, in_flight_max_bytes=1_048_576))
        )
        padding = {"traceparent": "x" * 600_000}
        assert begin(desk, 1, padding) == []
        (answer,) = begin(desk, 2, padding)
        assert answer["result"]["structuredContent"]["error"] == "Overloaded"

    def test_a_peer_that_hangs_up_has_its_work_cancelled_and_hears_nothing_more(self, slow: Desk) -> None:
        begin(slow, 1)
        begin(slow, 2)
        slow.hang_up()
        assert len(slow.cancelled) == 2
        for running in tuple(slow.working):
            assert slow.settle(running, NotReady("x", 1)) == []

    def test_a_call_carries_who_asks_and_the_trace(self, slow: Desk) -> None:
        begin(slow, 1, {"traceparent": "00-abc-def-01"})
        (running,) = slow.working
        assert running.principal.name == "uid:1000"
        assert running.trace == "00-abc-def-01"
        assert running.peer is slow


class TestSubscriptions:
    def listen(self, desk: Desk, request_id: int | str, **wanted: bool) -> list[Any]:
        params = {"notifications": wanted, "_meta": MODERN}
        return desk.tell(
            json.dumps(
                {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": params}
            )
        )

    def test_a_subscription_is_acknowledged_with_what_is_granted_and_then_told(self, desk: Desk) -> None:
        (granted,) = self.listen(desk, "s", toolsListChanged=True, nonsense=True)
        assert granted == {
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {
                "notifications": {"toolsListChanged": True},
                "_meta": {"io.modelcontextprotocol/subscriptionId": "s"},
            },
        }
        changed, answer = desk.tell(
            json.dumps(
                {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "tools/call",
                    "params": {"name": "remove", "arguments": {"text": "paint"}, "_meta": MODERN},
                }
            )
        )
        assert changed["method"] == "notifications/tools/list_changed"
        assert changed["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "s"}
        assert answer["id"] == 1

    def test_nothing_is_told_that_was_not_asked_for(self, desk: Desk) -> None:
        self.listen(desk, "s", toolsListChanged=False)
        call(desk, "remove", {"text": "paint"})

    def test_a_cancelled_subscription_is_silent(self, desk: Desk) -> None:
        self.listen(desk, "s", toolsListChanged=True)
        assert desk.notify("notifications/cancelled", {"requestId": "s"}) == []
        call(desk, "remove", {"text": "paint"})

    def test_subscriptions_are_bounded(self, slow: Desk) -> None:
        for request_id in ("a", "b"):
            self.listen(slow, request_id, toolsListChanged=True)
        (answer,) = self.listen(slow, "c", toolsListChanged=True)
        assert answer["error"]["code"] == -31000

    def test_at_the_end_each_subscription_gets_its_result(self, desk: Desk) -> None:
        self.listen(desk, 7, toolsListChanged=True)
        desk._server.end_subscriptions(desk.conversation)
        assert desk.sent[-1]["id"] == 7
        assert desk.sent[-1]["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 7
        assert desk.sent[-1]["result"]["resultType"] == "complete"

    def test_a_handshake_peer_is_told_without_asking_once_it_is_initialized(self, desk: Desk) -> None:
        desk._server.catalog.tools.remove("wait")
        assert desk.sent == []
        desk.shake_hands("2024-11-05")
        desk._server.catalog.tools.remove("paint")
        assert desk.sent[-1]["method"] == "notifications/tools/list_changed"

    def test_a_peer_hears_nothing_of_tools_it_may_not_see(self) -> None:
        desk = Desk(Server(catalog(), INFO), Tier.READ)
        desk.shake_hands("2025-11-25")
        before = len(desk.sent)
        desk._server.catalog.tools.remove("remove")
        assert len(desk.sent) == before
        desk._server.catalog.tools.remove("echo")
        assert len(desk.sent) == before + 1


class TestOwnMethods:
    def test_a_method_of_our_own_answers_its_struct_in_both_eras(self, desk: Desk) -> None:
        assert desk.ask_modern("test/measure")["result"] == {
            "bytes": -1,
            "resultType": "complete",
            "_meta": SERVER_INFO,
        }
        desk.shake_hands("2025-06-18")
        assert desk.ask("test/measure")["result"] == {"bytes": -1}

    def test_its_wrong_parameters_are_an_error(self, desk: Desk) -> None:
        error = desk.ask_modern("test/measure", {"x": 1})["error"]
        assert error == {"code": -32602, "message": "$.x: unknown argument"}


def test_notifications_are_never_answered(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for method in ("notifications/initialized", "notifications/cancelled", "tools/call", "nonsense"):
        assert desk.notify(method, {"name": "echo"}) == []
