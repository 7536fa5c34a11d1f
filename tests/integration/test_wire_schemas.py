"""The judge of every message: what it lets pass in all revisions, and what it stops."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from edged.mcp.legacy import REVISIONS
from edged.mcp.modern import SUPPORTED
from edged.mcp.server import Server
from tests.rig.desk import MODERN, Desk
from tests.rig.echo_server import INFO, METHODS, catalog
from tests.rig.schemas import DIGESTS, official
from tests.rig.schemas_recorder import Transcript

SERVER = {"name": "s", "version": "1"}
STAMP = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}}
TOOL = {"name": "t", "inputSchema": {"type": "object"}}


def test_there_is_a_sound_schema_of_every_revision_we_speak() -> None:
    assert set(official()) == set(DIGESTS) == {*REVISIONS, *SUPPORTED}
    for schema in official().values():
        jsonschema.validators.validator_for(schema).check_schema(schema)


@pytest.mark.parametrize("version", REVISIONS)
def test_a_whole_handshake_conversation_is_by_the_schema(version: str) -> None:
    before = len(Transcript.problems)
    desk = Desk(Server(catalog(), INFO, None, METHODS))
    desk.shake_hands(version)
    for method, params in (
        ("ping", {}),
        ("tools/list", {}),
        ("tools/call", {"name": "weigh", "arguments": {"data": "AAAA"}}),
        ("tools/call", {"name": "paint"}),
        ("tools/call", {"name": "refuse"}),
        ("tools/call", {"name": "fail"}),
        ("tools/call", {"name": "nonsense"}),
        ("test/measure", {}),
        ("nonsense", {}),
    ):
        desk.ask(method, params)
    desk._server.catalog.tools.remove("paint")
    assert desk.sent[-1]["method"] == "notifications/tools/list_changed"
    assert Transcript.problems[before:] == []


def conversation(version: str) -> Transcript:
    transcript = Transcript()
    if version in REVISIONS:
        transcript.told(request("initialize", {}, "hello"))
        said(
            transcript,
            {
                "id": "hello",
                "result": {"protocolVersion": version, "capabilities": {}, "serverInfo": SERVER},
            },
        )
    return transcript


def request(method: str, params: dict[str, Any], request_id: str = "1") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()


def said(transcript: Transcript, message: dict[str, Any]) -> None:
    transcript.said(json.dumps({"jsonrpc": "2.0", **message}).encode())


@pytest.mark.parametrize(
    ("version", "method", "result"),
    [
        pytest.param("2024-11-05", "tools/list", {"tools": [{**TOOL, "annotations": {}}]}, id="hints"),
        pytest.param("2025-03-26", "tools/list", {"tools": [{**TOOL, "title": "T"}]}, id="a title"),
        pytest.param("2025-06-18", "tools/list", {"tools": [{**TOOL, "icons": []}]}, id="icons"),
        pytest.param("2025-11-25", "tools/list", {"tools": [], "ttlMs": 5}, id="a time to live"),
        pytest.param("2025-11-25", "tools/list", {"tools": [{"name": "t"}]}, id="no input schema"),
        pytest.param("2025-03-26", "tools/call", {"content": [], "structuredContent": {}}, id="structure"),
        pytest.param(
            "2024-11-05",
            "tools/call",
            {"content": [{"type": "audio", "data": "", "mimeType": "a/b"}]},
            id="sound",
        ),
        pytest.param("2026-07-28", "tools/list", {"tools": [], **STAMP}, id="no time to live"),
        pytest.param("2026-07-28", "tools/call", {"content": []}, id="no result type"),
        pytest.param("2026-07-28", "subscriptions/listen", {**STAMP}, id="no subscription"),
    ],
)
def test_a_result_that_is_not_of_its_revision_is_stopped(
    version: str, method: str, result: dict[str, Any]
) -> None:
    transcript = conversation(version)
    transcript.told(request(method, {"_meta": MODERN} if version in SUPPORTED else {}))
    assert not Transcript.problems
    said(transcript, {"id": "1", "result": result})
    stopped, Transcript.problems[:] = list(Transcript.problems), []
    assert len(stopped) == 1
    assert stopped[0].startswith(version)


@pytest.mark.parametrize(
    "message",
    [
        {"id": "1", "error": {"code": 5.5, "message": "x"}},
        {"id": "1", "error": {"code": -32022, "message": "x", "data": {"supported": []}}},
        {"id": "hello", "result": {}},
        {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": {}}},
        {"method": "notifications/progress", "params": {"progress": 1}},
        {"method": "notifications/nonsense"},
    ],
)
def test_a_message_no_revision_allows_is_stopped(message: dict[str, Any]) -> None:
    transcript = conversation("2025-11-25")
    assert not Transcript.problems
    said(transcript, message)
    stopped, Transcript.problems[:] = list(Transcript.problems), []
    assert len(stopped) == 1
