from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from mcp_types import methods

from edged.mcp.catalog import Annotations, Catalog, Tier, Tool
from edged.mcp.config import McpConfig
from edged.mcp.legacy import REVISIONS
from edged.mcp.server import Server
from tests.rig.desk import Desk
from tests.rig.echo_server import INFO, METHODS, Nothing, catalog

ALL = [*REVISIONS, "2026-07-28"]


def ask(desk: Desk, version: str, method: str, params: dict[str, Any] | None = None) -> Any:
    if version == "2026-07-28":
        return desk.ask_modern(method, params)
    desk.shake_hands(version)
    return desk.ask(method, params)


def tool(name: str, tier: Tier = Tier.READ) -> Tool:
    return Tool(
        name=name,
        title=name,
        description="",
        arguments=Nothing,
        handler=lambda _c, _a: pytest.fail("not to be called"),
        tier=tier,
    )


def many(count: int) -> Catalog:
    offered = Catalog()
    for number in reversed(range(count)):
        offered.put(tool(f"t{number:03}"))
    return offered


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {}),
        ("tools/call", {"name": "paint", "arguments": {}}),
        ("tools/call", {"name": "echo", "arguments": {}}),
    ],
)
def test_results_are_what_the_official_schema_of_that_revision_asks_for(
    version: str, method: str, params: dict[str, Any]
) -> None:
    result = ask(Desk(Server(catalog(), INFO, None, METHODS)), version, method, params)["result"]
    methods.validate_server_result(method, version, result)


def test_discovery_and_handshake_are_what_the_official_schemas_ask_for() -> None:
    desk = Desk(Server(catalog(), INFO, None, METHODS))
    methods.validate_server_result(
        "server/discover", "2026-07-28", desk.ask_modern("server/discover")["result"]
    )
    for version in REVISIONS:
        methods.validate_server_result("initialize", version, desk.shake_hands(version))


@pytest.mark.parametrize("version", ALL)
def test_every_listed_schema_is_a_valid_one_with_an_object_at_its_root(version: str) -> None:
    for listed in ask(Desk(Server(catalog(), INFO)), version, "tools/list")["result"]["tools"]:
        for schema in (listed["inputSchema"], listed.get("outputSchema", {"type": "object"})):
            assert schema["type"] == "object"
            jsonschema.Draft202012Validator.check_schema(schema)


def test_what_a_tool_answers_matches_the_schema_it_lists() -> None:
    desk = Desk(Server(catalog(), INFO))
    schemas = {t["name"]: t.get("outputSchema") for t in desk.ask_modern("tools/list")["result"]["tools"]}
    for name, arguments in (("echo", {"text": "x"}), ("weigh", {"data": "AAAA"}), ("paint", {})):
        answer = desk.ask_modern("tools/call", {"name": name, "arguments": arguments})["result"]
        jsonschema.validate(answer["structuredContent"], schemas[name])


def test_pages_follow_each_other_by_name_and_end() -> None:
    desk = Desk(Server(many(25), INFO, McpConfig(page_max=10)))
    names: list[str] = []
    params: dict[str, Any] = {}
    for _ in range(3):
        page = desk.ask_modern("tools/list", params)["result"]
        names += [entry["name"] for entry in page["tools"]]
        params = {"cursor": page.get("nextCursor")}
    assert params == {"cursor": None}
    assert names == [f"t{number:03}" for number in range(25)]


def test_a_cursor_stays_good_while_tools_come_and_go_even_the_last_one_shown() -> None:
    offered = many(20)
    desk = Desk(Server(offered, INFO, McpConfig(page_max=10)))
    cursor = desk.ask_modern("tools/list")["result"]["nextCursor"]
    offered.tools.remove("t003")
    offered.tools.remove("t009")
    offered.put(tool("t0095"))
    page = desk.ask_modern("tools/list", {"cursor": cursor})["result"]
    assert page["tools"][0]["name"] == "t0095"


@pytest.mark.parametrize(
    "cursor", ["", "dG9vbHM", "cmVzb3VyY2VzOnQwMDM=", "t003", "dG9vbHM6_w==", "é", 5, None]
)
def test_a_cursor_this_server_did_not_give_is_refused(cursor: object) -> None:
    desk = Desk(Server(many(20), INFO, McpConfig(page_max=10)))
    assert desk.ask_modern("tools/list", {"cursor": cursor})["error"]["code"] == -32602


def test_a_list_is_stale_at_once_when_a_tool_comes_or_goes() -> None:
    offered = many(1)
    desk = Desk(Server(offered, INFO))
    assert len(desk.ask_modern("tools/list")["result"]["tools"]) == 1
    offered.put(tool("new"))
    assert len(desk.ask_modern("tools/list")["result"]["tools"]) == 2
    offered.tools.remove("new")
    offered.tools.remove("new")
    assert len(desk.ask_modern("tools/list")["result"]["tools"]) == 1


def test_each_tier_has_its_own_list() -> None:
    offered = many(1)
    offered.put(tool("secret", Tier.OPERATOR))
    server = Server(offered, INFO)
    for tier, count in ((Tier.READ, 1), (Tier.ACT, 1), (Tier.OPERATOR, 2)):
        assert len(Desk(server, tier).ask_modern("tools/list")["result"]["tools"]) == count


def test_hints_are_listed_as_they_are_declared() -> None:
    offered = Catalog()
    offered.put(_with(Annotations(read_only=True, idempotent=True)))
    listed = Desk(Server(offered, INFO)).ask_modern("tools/list")["result"]["tools"][0]
    assert listed["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }


def _with(hints: Annotations) -> Tool:
    return Tool(
        name="hinted",
        title="",
        description="",
        arguments=Nothing,
        handler=lambda _c, _a: pytest.fail("not to be called"),
        tier=Tier.READ,
        annotations=hints,
    )


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 129, "é"])
def test_a_tool_name_the_specification_forbids_is_refused_when_it_is_made(name: str) -> None:
    with pytest.raises(ValueError, match="tool name"):
        tool(name)
