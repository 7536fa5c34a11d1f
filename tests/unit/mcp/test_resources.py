from __future__ import annotations

import base64
from typing import Any

import pytest
from mcp_types import methods
from msgspec.structs import replace

from edged.mcp.catalog import Tier
from edged.mcp.config import McpConfig
from edged.mcp.legacy import REVISIONS
from edged.mcp.server import Server
from tests.rig.desk import Desk
from tests.rig.offered import FULL_INFO, full_catalog

ALL = [*REVISIONS, "2026-07-28"]


@pytest.fixture
def desk() -> Desk:
    return Desk(Server(full_catalog(), FULL_INFO))


def ask(desk: Desk, version: str, method: str, params: dict[str, Any] | None = None) -> Any:
    if version == "2026-07-28":
        return desk.ask_modern(method, params)
    if desk.conversation.revision is None:
        desk.shake_hands(version)
    return desk.ask(method, params)


class TestReading:
    def test_text_comes_with_its_type_and_for_how_long_it_holds(self, desk: Desk) -> None:
        result = desk.ask_modern("resources/read", {"uri": "test://text"})["result"]
        assert result["contents"] == [
            {"uri": "test://text", "mimeType": "text/plain", "text": "for uid:1000"}
        ]
        assert (result["ttlMs"], result["cacheScope"], result["resultType"]) == (70, "private", "complete")

    def test_bytes_come_as_base64_and_may_be_everybodys(self, desk: Desk) -> None:
        result = desk.ask_modern("resources/read", {"uri": "test://bytes"})["result"]
        assert base64.b64decode(result["contents"][0]["blob"]) == b"\x00\x01"
        assert (result["ttlMs"], result["cacheScope"]) == (0, "public")

    def test_parts_keep_their_own_uris(self, desk: Desk) -> None:
        contents = desk.ask_modern("resources/read", {"uri": "test://parts"})["result"]["contents"]
        assert contents == [
            {"uri": "test://parts/1", "mimeType": "text/x", "text": "one"},
            {"uri": "test://parts/2", "blob": "/w=="},
        ]

    def test_a_template_is_read_with_the_values_in_the_uri(self, desk: Desk) -> None:
        result = desk.ask_modern("resources/read", {"uri": "test://colours/dark%20green"})["result"]
        assert result["contents"][0]["text"] == "DARK GREEN"
        assert result["contents"][0]["uri"] == "test://colours/dark%20green"

    @pytest.mark.parametrize("version", ALL)
    @pytest.mark.parametrize("uri", ["test://nonsense", "test://missing", "test://colours/mauve", ""])
    def test_what_is_not_there_is_an_error_that_names_it(self, desk: Desk, version: str, uri: str) -> None:
        error = ask(desk, version, "resources/read", {"uri": uri})["error"]
        assert error["code"] == (-32602 if version == "2026-07-28" else -32002)
        assert error["data"] == {"uri": uri}

    def test_what_is_above_the_peers_tier_is_not_there(self) -> None:
        desk = Desk(Server(full_catalog(), FULL_INFO), Tier.ACT)
        for uri in ("test://secret", "test://secrets/red"):
            assert desk.ask_modern("resources/read", {"uri": uri})["error"]["message"] == "no such resource"
        listed = desk.ask_modern("resources/list")["result"]["resources"]
        assert "test://secret" not in [entry["uri"] for entry in listed]

    def test_a_refusal_says_when_to_come_back_by_a_code_outside_the_reserved_range(self, desk: Desk) -> None:
        error = desk.ask_modern("resources/read", {"uri": "test://busy"})["error"]
        assert error["code"] == -31000
        assert error["data"]["retry_after_s"] == 1

    def test_a_slow_one_is_answered_when_it_is_done(self, desk: Desk) -> None:
        assert desk.begin("resources/read", {"uri": "test://late", "_meta": {}}) != []
        desk.shake_hands("2025-11-25")
        assert desk.begin("resources/read", {"uri": "test://late"}) == []
        (call,) = desk.working
        (answer,) = desk.settle(call, "at last")
        assert answer["result"]["contents"][0]["text"] == "at last"

    @pytest.mark.parametrize("params", [{}, {"uri": 5}])
    def test_no_uri_is_a_wrong_request(self, desk: Desk, params: dict[str, Any]) -> None:
        assert desk.ask_modern("resources/read", params)["error"]["code"] == -32602


class TestEveryRevision:
    @pytest.mark.parametrize("version", ALL)
    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("tools/list", {}),
            ("resources/list", {}),
            ("resources/templates/list", {}),
            ("prompts/list", {}),
            ("tools/call", {"name": "everything"}),
            ("resources/read", {"uri": "test://text"}),
            ("resources/read", {"uri": "test://bytes"}),
            ("resources/read", {"uri": "test://parts"}),
            ("prompts/get", {"name": "tell", "arguments": {"colour": "red"}}),
            (
                "completion/complete",
                {"ref": {"type": "ref/prompt", "name": "tell"}, "argument": {"name": "colour", "value": "r"}},
            ),
        ],
    )
    def test_results_are_what_its_official_schema_asks_for(
        self, desk: Desk, version: str, method: str, params: dict[str, Any]
    ) -> None:
        methods.validate_server_result(method, version, ask(desk, version, method, params)["result"])

    @pytest.mark.parametrize("version", ALL)
    def test_entries_say_what_it_knows_and_nothing_more(self, desk: Desk, version: str) -> None:
        for method, key in (
            ("tools/list", "tools"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        ):
            entries = ask(desk, version, method)["result"][key]
            entry = next(entry for entry in entries if "description" in entry)
            known = {"title", "_meta"} if version >= "2025-06-18" else set()
            known |= {"icons"} if version >= "2025-11-25" else set()
            assert entry.keys() & {"title", "_meta", "icons"} == known
            if key.startswith("resource"):
                assert ("lastModified" in entry["annotations"]) is (version >= "2025-06-18")

    @pytest.mark.parametrize("version", ALL)
    def test_content_it_does_not_know_is_carried_by_content_it_does(self, desk: Desk, version: str) -> None:
        content = ask(desk, version, "tools/call", {"name": "everything"})["result"]["content"]
        kinds = [block["type"] for block in content]
        audio = "audio" if version >= "2025-03-26" else "resource"
        link = "resource_link" if version >= "2025-06-18" else "text"
        structured = [] if version >= "2025-06-18" else ["text"]
        assert kinds == ["text", *structured, "text", "image", audio, "resource", "resource", link]
        if version < "2025-03-26":
            assert base64.b64decode(content[-4]["resource"]["blob"]) == b"RIFF"
        if version < "2025-06-18":
            assert "test://linked" in content[-1]["text"]
            assert "_meta" not in content[-3]["resource"]

    @pytest.mark.parametrize("version", REVISIONS)
    def test_the_server_names_itself_as_far_as_it_is_known(self, desk: Desk, version: str) -> None:
        info = desk.shake_hands(version)["serverInfo"]
        expected = {"name", "version"} | ({"title"} if version >= "2025-06-18" else set())
        expected |= {"icons", "description", "websiteUrl"} if version >= "2025-11-25" else set()
        assert info.keys() == expected

    def test_a_schema_that_was_handed_in_is_listed_as_it_is(self, desk: Desk) -> None:
        listed = desk.ask_modern("tools/list")["result"]["tools"]
        (entry,) = [tool for tool in listed if tool["name"] == "only_task"]
        assert entry["inputSchema"] == {"type": "object", "$anchor": "x"}


class TestPages:
    @pytest.mark.parametrize(
        ("method", "key"),
        [
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        ],
    )
    def test_every_list_comes_in_pages_of_one_order_and_one_scope(self, method: str, key: str) -> None:
        desk = Desk(Server(full_catalog(), FULL_INFO, McpConfig(page_max=1)))
        whole = Desk(Server(full_catalog(), FULL_INFO)).ask_modern(method)["result"][key]
        seen: list[Any] = []
        params: dict[str, Any] = {}
        while True:
            page = desk.ask_modern(method, params)["result"]
            seen += page[key]
            assert page["cacheScope"] == "private"
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"]}
        assert seen == whole

    def test_a_cursor_of_one_list_is_none_of_another(self) -> None:
        desk = Desk(Server(full_catalog(), FULL_INFO, McpConfig(page_max=1)))
        cursor = desk.ask_modern("resources/list")["result"]["nextCursor"]
        assert desk.ask_modern("prompts/list", {"cursor": cursor})["error"]["code"] == -32602

    def test_a_list_is_encoded_anew_when_one_of_its_kind_changes(self, desk: Desk) -> None:
        before = desk.ask_modern("resources/list")["result"]["resources"]
        catalog = desk._server.catalog
        text = catalog.resources.get("test://text")
        assert text is not None
        catalog.put(replace(text, description="another"))
        assert desk.ask_modern("resources/list")["result"]["resources"] != before


class TestHandshakePeersWatch:
    def test_it_hears_of_changes_to_what_it_subscribed_to_until_it_no_longer_is(self, desk: Desk) -> None:
        desk.shake_hands("2025-06-18")
        assert desk.ask("resources/subscribe", {"uri": "test://text"})["result"] == {}
        catalog = desk._server.catalog
        catalog.updated("test://text")
        catalog.updated("test://bytes")
        assert desk.sent[-1] == {
            "jsonrpc": "2.0",
            "method": "notifications/resources/updated",
            "params": {"uri": "test://text"},
        }
        assert desk.ask("resources/unsubscribe", {"uri": "test://text"})["result"] == {}
        before = len(desk.sent)
        catalog.updated("test://text")
        assert len(desk.sent) == before

    def test_what_is_not_there_cannot_be_watched(self) -> None:
        desk = Desk(Server(full_catalog(), FULL_INFO), Tier.ACT)
        desk.shake_hands("2025-06-18")
        for uri in ("test://nonsense", "test://secret"):
            assert desk.ask("resources/subscribe", {"uri": uri})["error"]["code"] == -32002
        assert desk.ask("resources/unsubscribe", {"uri": "test://nonsense"})["result"] == {}

    def test_what_it_watches_is_bounded(self) -> None:
        desk = Desk(Server(full_catalog(), FULL_INFO, McpConfig(watched_max=2)))
        desk.shake_hands("2025-06-18")
        uris = ["test://text", "test://bytes", "test://text", "test://parts"]
        answers = [desk.ask("resources/subscribe", {"uri": uri}) for uri in uris]
        assert ["result" in answer for answer in answers] == [True, True, True, False]
        assert answers[-1]["error"]["code"] == -31000

    def test_it_hears_of_every_list_that_changes(self, desk: Desk) -> None:
        desk.shake_hands("2024-11-05")
        catalog = desk._server.catalog
        catalog.prompts.remove("greet")
        catalog.templates.remove("test://colours/{name}")
        assert [message["method"] for message in desk.sent[-2:]] == [
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
        ]
