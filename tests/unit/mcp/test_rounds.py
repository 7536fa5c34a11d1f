"""Asking the client while a request is under way: in results, or by requests of the server's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.mcp.legacy import REVISIONS
from edged.mcp.seal import Seal
from edged.mcp.server import Server
from tests.rig.desk import Desk, envelope
from tests.rig.offered import FULL_INFO, full_catalog

FORM: dict[str, Any] = {"capabilities": {"elicitation": {}}}
ALL_KINDS: dict[str, Any] = {
    "capabilities": {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
}
NAME = {"action": "accept", "content": {"name": "Ada"}}


def server() -> Server:
    return Server(full_catalog(), FULL_INFO)


@pytest.fixture
def desk() -> Desk:
    return Desk(server())


def greet(desk: Desk, request_id: int = 1, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
    params = {"name": "greet", "arguments": arguments or {"n": 1}, **more}
    return desk.ask_modern("tools/call", params, request_id, **FORM)


class TestInResults:
    def test_a_question_comes_in_place_of_the_result_and_its_answer_brings_it(self, desk: Desk) -> None:
        asked = greet(desk)["result"]
        assert asked["resultType"] == "input_required"
        assert asked.keys() == {"resultType", "inputRequests", "requestState", "_meta"}
        question = asked["inputRequests"]["name"]
        assert question["method"] == "elicitation/create"
        assert question["params"]["mode"] == "form"
        assert question["params"]["requestedSchema"]["required"] == ["name"]
        done = greet(desk, 2, inputResponses={"name": NAME}, requestState=asked["requestState"])["result"]
        assert done["resultType"] == "complete"
        assert done["content"][0]["text"] == "hello Ada 1"

    def test_nothing_is_kept_between_the_rounds(self, desk: Desk) -> None:
        asked = greet(desk)["result"]
        assert desk.conversation.running == 0
        other = Desk(desk._server)
        done = greet(other, inputResponses={"name": NAME}, requestState=asked["requestState"])
        assert done["result"]["content"][0]["text"] == "hello Ada 1"

    def test_answers_of_earlier_rounds_travel_in_the_state(self, desk: Desk) -> None:
        def ask(request_id: int, **more: Any) -> Any:
            params = {"name": "two_rounds", **more}
            return desk.ask_modern("tools/call", params, request_id, **FORM)["result"]

        first = ask(1)
        second = ask(2, inputResponses={"first": NAME}, requestState=first["requestState"])
        assert second["inputRequests"].keys() == {"second"}
        assert second["requestState"] != first["requestState"]
        assert "Ada" not in second["requestState"]
        third = ask(3, inputResponses={"second": NAME}, requestState=second["requestState"])
        assert third["content"][0]["text"] == "Ada Ada"

    @pytest.mark.parametrize("responses", [{}, {"wrong": NAME}])
    def test_a_missing_answer_is_asked_for_again_and_an_unknown_one_ignored(
        self, desk: Desk, responses: dict[str, Any]
    ) -> None:
        state = greet(desk)["result"]["requestState"]
        again = greet(desk, 2, inputResponses=responses, requestState=state)["result"]
        assert again["inputRequests"].keys() == {"name"}
        extra = {"name": NAME, "unknown": {"x": 1}}
        assert "content" in greet(desk, 3, inputResponses=extra, requestState=again["requestState"])["result"]

    @pytest.mark.parametrize(
        "answer", [5, {}, {"action": "shrug"}, {"action": "accept", "content": {"a": {}}}]
    )
    def test_an_answer_that_is_none_is_refused_with_its_path(self, desk: Desk, answer: object) -> None:
        error = greet(desk, inputResponses={"name": answer})["error"]
        assert error["code"] == -32602
        assert error["message"].startswith("$.inputResponses.name")

    @pytest.mark.parametrize("action", ["decline", "cancel"])
    def test_the_user_may_decline(self, desk: Desk, action: str) -> None:
        done = greet(desk, inputResponses={"name": {"action": action}})["result"]
        assert done["content"][0]["text"] == f"then not: {action}"

    def test_several_questions_of_several_kinds_come_together(self, desk: Desk) -> None:
        params: dict[str, Any] = {"name": "three_kinds"}
        asked = desk.ask_modern("tools/call", params, **ALL_KINDS)["result"]
        assert {key: q["method"] for key, q in asked["inputRequests"].items()} == {
            "form": "elicitation/create",
            "sample": "sampling/createMessage",
            "roots": "roots/list",
        }
        answers = {"form": NAME, "sample": {"model": "m"}, "roots": {"roots": [{"uri": "file:///"}]}}
        done = desk.ask_modern("tools/call", {**params, "inputResponses": answers}, **ALL_KINDS)["result"]
        assert done["content"][0]["text"] == "accept m 1"

    @pytest.mark.parametrize(
        ("tool", "capabilities", "required"),
        [
            ("greet", {}, {"elicitation": {"form": {}}}),
            ("greet", {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
            ("visit", {"elicitation": {}}, {"elicitation": {"url": {}}}),
            ("three_kinds", {"sampling": {}}, {"elicitation": {"form": {}}, "roots": {}}),
        ],
    )
    def test_a_client_is_never_asked_what_it_did_not_declare(
        self, desk: Desk, tool: str, capabilities: dict[str, Any], required: dict[str, Any]
    ) -> None:
        error = desk.ask_modern("tools/call", {"name": tool}, capabilities=capabilities)["error"]
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": required}

    @pytest.mark.parametrize(
        ("capabilities", "kinds"),
        [
            ({}, ""),
            ({"elicitation": {}}, "Form"),
            ({"elicitation": {"url": {}}, "roots": {}}, "Visit Roots"),
            ({"elicitation": {"form": {}, "url": {}}, "sampling": {}}, "Form Visit Sample"),
            ({"elicitation": 5}, ""),
        ],
    )
    def test_a_handler_knows_what_the_client_takes(
        self, desk: Desk, capabilities: dict[str, Any], kinds: str
    ) -> None:
        result = desk.ask_modern("tools/call", {"name": "able"}, capabilities=capabilities)["result"]
        assert result["structuredContent"] == {"text": kinds}

    def test_prompts_and_resources_ask_too_and_what_comes_of_it_is_not_to_be_reused(self, desk: Desk) -> None:
        asked = desk.ask_modern("prompts/get", {"name": "greet"}, **FORM)["result"]
        answered = {"inputResponses": {"name": NAME}, "requestState": asked["requestState"]}
        done = desk.ask_modern("prompts/get", {"name": "greet", **answered}, 2, **FORM)["result"]
        assert done["messages"][0]["content"]["text"] == "I am Ada"
        asked = desk.ask_modern("resources/read", {"uri": "test://asked"}, **FORM)["result"]
        assert "ttlMs" not in asked
        answered["requestState"] = asked["requestState"]
        done = desk.ask_modern("resources/read", {"uri": "test://asked", **answered}, 2, **FORM)["result"]
        assert done["contents"][0]["text"] == "Ada"
        assert (done["ttlMs"], done["cacheScope"]) == (0, "private")


class TestTheState:
    def refused(self, desk: Desk, **members: Any) -> str:
        params = {"name": "greet", "arguments": {"n": 1}, "inputResponses": {"name": NAME}, **members}
        answer = desk.ask_modern(members.pop("method", "tools/call"), params, 2, **FORM)
        assert answer["error"]["code"] == -32602
        return str(answer["error"]["message"])

    def test_a_tampered_one_is_refused(self, desk: Desk) -> None:
        state = greet(desk)["result"]["requestState"]
        assert self.refused(desk, requestState=state + "-TAMPERED").startswith("$.requestState")
        assert self.refused(desk, requestState="").startswith("$.requestState")

    def test_it_is_good_for_the_same_request_alone(self, desk: Desk) -> None:
        state = greet(desk)["result"]["requestState"]
        self.refused(desk, requestState=state, arguments={"n": 2})
        self.refused(desk, requestState=state, name="two_rounds", arguments={})
        prompt = {"name": "greet", "requestState": state, "inputResponses": {"name": NAME}}
        assert desk.ask_modern("prompts/get", prompt, **FORM)["error"]["code"] == -32602

    def test_the_same_arguments_written_otherwise_are_the_same(self, desk: Desk) -> None:
        asked = greet(desk, arguments={"n": 0})["result"]
        text = (
            '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"arguments":{ },"name":"greet",'
            '"inputResponses":{"name":{"action":"decline"}},"requestState":"%s","_meta":{'
            '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
        )
        (done,) = desk.tell(text % asked["requestState"])
        assert done["result"]["content"][0]["text"] == "then not: decline"

    def test_it_is_good_for_the_same_principal_alone(self) -> None:
        shared = server()
        state = greet(Desk(shared))["result"]["requestState"]
        self.refused(Desk(shared, name="uid:1001"), requestState=state)

    def test_it_ends(self) -> None:
        now = 0.0
        desk = Desk(Server(full_catalog(), FULL_INFO, seal=Seal(ttl_s=60, now=lambda: now)))
        state = greet(desk)["result"]["requestState"]
        now = 61.0
        assert "expired" in self.refused(desk, requestState=state)

    @given(st.text(max_size=80))
    def test_whatever_it_is_it_is_an_error_and_no_accident(self, state: str) -> None:
        self.refused(Desk(server()), requestState=state)


class TestByRequest:
    def begin(self, desk: Desk, name: str, version: str = "2025-11-25", **capabilities: Any) -> list[Any]:
        desk.shake_hands(version, **capabilities)
        return desk.begin("tools/call", {"name": name})

    def test_the_client_is_asked_and_the_handler_goes_on_with_its_answer(self, desk: Desk) -> None:
        (question,) = self.begin(desk, "greet", elicitation={})
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "Who are you?"
        assert desk.conversation.running == 1
        (answer,) = desk.reply(question["id"], result=NAME)
        assert answer["id"] == 1
        assert answer["result"]["content"][0]["text"] == "hello Ada 0"
        assert desk.conversation.running == 0

    def test_another_round_is_another_request(self, desk: Desk) -> None:
        (first,) = self.begin(desk, "two_rounds", elicitation={})
        (second,) = desk.reply(first["id"], result=NAME)
        assert second["id"] != first["id"]
        assert desk.reply(first["id"], result=NAME) == []
        (answer,) = desk.reply(second["id"], result=NAME)
        assert answer["result"]["content"][0]["text"] == "Ada Ada"

    def test_several_questions_are_out_at_once_and_all_are_awaited(self, desk: Desk) -> None:
        form, sample, roots = self.begin(desk, "three_kinds", elicitation={}, sampling={}, roots={})
        assert desk.reply(roots["id"], result={"roots": []}) == []
        assert desk.reply(form["id"], result=NAME) == []
        (answer,) = desk.reply(sample["id"], result={"model": "m"})
        assert answer["result"]["content"][0]["text"] == "accept m 0"

    def test_a_client_that_will_not_answer_ends_the_call_with_its_reason(self, desk: Desk) -> None:
        form, sample, _roots = self.begin(desk, "three_kinds", elicitation={}, sampling={}, roots={})
        *withdrawn, answer = desk.reply(form["id"], error={"code": -1, "message": "busy"})
        assert [note["method"] for note in withdrawn] == ["notifications/cancelled"] * 2
        assert answer["result"]["isError"] is True
        assert "busy" in answer["result"]["content"][0]["text"]
        assert desk.reply(sample["id"], result={"model": "m"}) == []

    @pytest.mark.parametrize("error", [5, None, {"code": 1}])
    def test_a_refusal_without_a_reason_is_one_all_the_same(self, desk: Desk, error: object) -> None:
        (question,) = self.begin(desk, "greet", elicitation={})
        (answer,) = desk.reply(question["id"], error=error)
        assert answer["result"]["isError"] is True

    def test_a_cancelled_call_takes_its_questions_back(self, desk: Desk) -> None:
        (question,) = self.begin(desk, "greet", elicitation={})
        (note,) = desk.notify("notifications/cancelled", {"requestId": 1})
        assert note["params"] == {"requestId": question["id"]}
        assert desk.conversation.running == 0
        assert desk.reply(question["id"], result=NAME) == []

    def test_a_peer_that_hangs_up_leaves_nothing_behind(self, desk: Desk) -> None:
        self.begin(desk, "greet", elicitation={})
        desk.hang_up()
        assert desk.conversation.running == 0

    @pytest.mark.parametrize("request_id", [99, "1", "x"])
    def test_an_answer_to_nothing_is_ignored(self, desk: Desk, request_id: int | str) -> None:
        self.begin(desk, "greet", elicitation={})
        assert desk.reply(request_id, result=NAME) == []
        assert desk.reply(request_id, error={"code": 1, "message": "x"}) == []

    @pytest.mark.parametrize("version", REVISIONS)
    def test_what_a_revision_or_client_does_not_know_is_not_asked(self, desk: Desk, version: str) -> None:
        desk.shake_hands(version, elicitation={"form": {}, "url": {}}, roots={})
        result = desk.ask("tools/call", {"name": "able"})["result"]
        form = "Form " if version >= "2025-06-18" else ""
        visit = "Visit " if version >= "2025-11-25" else ""
        assert result["content"][0]["text"] == f"{form}{visit}Roots"
        error = desk.ask("tools/call", {"name": "three_kinds"}, 2)["error"]
        assert error["code"] == -32600

    def test_a_form_says_its_mode_only_where_there_is_another(self, desk: Desk) -> None:
        (question,) = self.begin(desk, "greet", "2025-06-18", elicitation={})
        assert "mode" not in question["params"]
        (question,) = self.begin(Desk(server()), "visit", elicitation={"url": {}})
        assert question["params"]["elicitationId"] == "e1"

    def test_the_state_of_the_other_era_means_nothing_here(self, desk: Desk) -> None:
        desk.shake_hands("2025-11-25", elicitation={})
        params = {"name": "greet", "requestState": "nonsense", "inputResponses": {"name": NAME}}
        (question,) = desk.begin("tools/call", params)
        assert question["method"] == "elicitation/create"

    def test_in_a_batch_the_others_wait_for_the_answers(self, desk: Desk) -> None:
        desk.shake_hands("2025-03-26", roots={}, sampling={})
        desk._server.catalog.tools.remove("greet")
        batch = (
            '[{"jsonrpc":"2.0","id":1,"method":"ping"},'
            '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"three_kinds"}}]'
        )
        ((first, second),) = desk.tell(batch)
        assert first["result"] == {}
        assert second["error"]["code"] == -32600


def test_what_may_not_ask_does_not(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    from edged.mcp.catalog import Argument, Prompt, Tier  # noqa: PLC0415 - for this one test

    def completer(call: Any, _typed: str, _others: Any) -> list[str]:
        return [call.ask("x", None)]

    prompt = Prompt(
        name="p", get=lambda _c, _a: "", tier=Tier.READ, arguments=(Argument(name="a", completer=completer),)
    )
    desk._server.catalog.put(prompt)
    params = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}}
    assert desk.ask_modern("completion/complete", params, **FORM)["error"]["code"] == -32603
    assert "may not ask" in caplog.text


class TestLogging:
    def chat(self, desk: Desk, **meta: Any) -> list[Any]:
        return desk.begin("tools/call", {"name": "chatty", "_meta": envelope(**meta)})

    def test_a_request_that_sets_a_level_gets_messages_of_it_and_above_before_its_answer(
        self, desk: Desk
    ) -> None:
        message, answer = self.chat(desk, **{"io.modelcontextprotocol/logLevel": "info"})
        assert message["method"] == "notifications/message"
        assert message["params"] == {"level": "warning", "data": "careful", "logger": "rig"}
        assert answer["id"] == 1
        assert len(self.chat(desk, **{"io.modelcontextprotocol/logLevel": "debug"})) == 3

    def test_a_request_that_sets_none_gets_none_whatever_the_handshake_peer_beside_it_set(
        self, desk: Desk
    ) -> None:
        desk.shake_hands("2025-11-25")
        assert desk.ask("logging/setLevel", {"level": "debug"})["result"] == {}
        assert len(self.chat(desk)) == 1

    @pytest.mark.parametrize("version", REVISIONS)
    def test_a_handshake_peer_gets_what_it_set(self, desk: Desk, version: str) -> None:
        desk.shake_hands(version)
        assert len(desk.begin("tools/call", {"name": "chatty"})) == 1
        desk.ask("logging/setLevel", {"level": "warning"})
        assert len(desk.begin("tools/call", {"name": "chatty"})) == 2
        desk.ask("logging/setLevel", {"level": "emergency"})
        assert len(desk.begin("tools/call", {"name": "chatty"})) == 1

    def test_an_unknown_level_is_refused(self, desk: Desk) -> None:
        desk.shake_hands("2025-11-25")
        assert desk.ask("logging/setLevel", {"level": "loud"})["error"]["code"] == -32602
