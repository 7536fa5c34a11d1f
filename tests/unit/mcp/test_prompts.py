from __future__ import annotations

from typing import Any

import pytest

from edged.mcp.catalog import Tier
from edged.mcp.server import Server
from tests.rig.desk import Desk
from tests.rig.offered import FULL_INFO, full_catalog


@pytest.fixture
def desk() -> Desk:
    return Desk(Server(full_catalog(), FULL_INFO), Tier.ACT)


def complete(desk: Desk, ref: dict[str, Any], name: str, value: str, **context: str) -> Any:
    params = {"ref": ref, "argument": {"name": name, "value": value}, "context": {"arguments": context}}
    return desk.ask_modern("completion/complete", params)


TELL = {"type": "ref/prompt", "name": "tell"}
COLOURS = {"type": "ref/resource", "uri": "test://colours/{name}"}


class TestPrompts:
    def test_a_prompt_says_its_messages_with_the_arguments_given(self, desk: Desk) -> None:
        result = desk.ask_modern(
            "prompts/get", {"name": "tell", "arguments": {"colour": "red", "size": "9"}}
        )["result"]
        assert result["description"] == "tells"
        assert result["messages"][0] == {"role": "user", "content": {"type": "text", "text": "red 9"}}
        assert [message["content"]["type"] for message in result["messages"]] == [
            "text",
            "image",
            "resource",
            "audio",
            "resource_link",
        ]

    @pytest.mark.parametrize(
        ("params", "path"),
        [
            ({"name": "tell"}, "$.arguments.colour"),
            ({"name": "tell", "arguments": {"colour": "red", "x": "1"}}, "$.arguments.x"),
            ({"name": "tell", "arguments": {"colour": 5}}, "$.arguments"),
            ({"name": "nonsense"}, "$.name"),
            ({"name": "secret"}, "$.name"),
            ({}, "$.name"),
        ],
    )
    def test_what_is_wrong_is_named_by_its_path(self, desk: Desk, params: dict[str, Any], path: str) -> None:
        error = desk.ask_modern("prompts/get", params)["error"]
        assert error["code"] == -32602
        assert error["message"].startswith(path)

    def test_a_prompt_lists_its_arguments(self, desk: Desk) -> None:
        prompts = {p["name"]: p for p in desk.ask_modern("prompts/list")["result"]["prompts"]}
        assert prompts.keys() == {"tell", "greet"}
        assert prompts["tell"]["arguments"] == [
            {"name": "colour", "title": "Colour", "description": "c", "required": True},
            {"name": "size", "required": False},
            {"name": "plain", "required": False},
        ]


class TestCompletion:
    def test_what_starts_so_comes_before_what_contains_it(self, desk: Desk) -> None:
        completion = complete(desk, TELL, "colour", "GRE")["result"]["completion"]
        assert completion == {"values": ["green", "grey", "dark green"], "total": 3, "hasMore": False}

    def test_a_template_is_completed_by_variable(self, desk: Desk) -> None:
        assert complete(desk, COLOURS, "name", "r")["result"]["completion"]["values"][0] == "red"

    def test_a_hundred_suggestions_are_sent_at_most_and_the_others_counted(self, desk: Desk) -> None:
        completion = complete(desk, TELL, "size", "x", colour="red")["result"]["completion"]
        assert len(completion["values"]) == 100
        assert completion["values"][0] == "red-x0"
        assert (completion["total"], completion["hasMore"]) == (150, True)

    def test_where_nobody_has_any_there_are_none(self, desk: Desk) -> None:
        for ref, name in ((TELL, "plain"), ({"type": "ref/resource", "uri": "test://text"}, "anything")):
            assert complete(desk, ref, name, "x")["result"]["completion"]["values"] == []

    @pytest.mark.parametrize(
        ("ref", "name"),
        [
            (TELL, "nonsense"),
            (COLOURS, "nonsense"),
            ({"type": "ref/prompt", "name": "secret"}, "x"),
            ({"type": "ref/resource", "uri": "test://secrets/{name}"}, "name"),
            ({"type": "ref/resource", "uri": "test://nonsense"}, "x"),
            ({"type": "ref/nonsense"}, "x"),
        ],
    )
    def test_what_is_not_there_or_above_the_peers_tier_has_no_completion(
        self, desk: Desk, ref: dict[str, Any], name: str
    ) -> None:
        assert complete(desk, ref, name, "")["error"]["code"] == -32602
