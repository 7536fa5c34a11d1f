"""Whatever a peer does in whatever order, each request is answered once, and a cancelled one never again."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edged.errors import NotReady
from edged.mcp.catalog import Call, Form, Tier, Tool, ToolResult
from edged.mcp.config import McpConfig
from edged.mcp.request import InFlight
from edged.mcp.server import Server
from tests.rig.desk import MODERN, Desk
from tests.rig.echo_server import INFO, Nothing
from tests.rig.late import late_catalog

IDS = st.sampled_from([1, 2, 3, "1", "two"])
OUTCOMES = st.sampled_from(
    [ToolResult(structured={"a": 1}, text="done"), NotReady("soon", 1), RuntimeError("secret"), object()]
)
IN_FLIGHT_MAX = 4


def asking_tool() -> Tool:
    def ask(call: Call, _arguments: Nothing) -> ToolResult:
        return ToolResult(structured=None, text=call.ask("name", Form("Who?", {"type": "object"})).action)

    return Tool(name="ask", title="", description="", arguments=Nothing, handler=ask, tier=Tier.READ)


class Dialogue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        catalog = late_catalog()
        catalog.put(asking_tool())
        self.server = Server(catalog, INFO, McpConfig(in_flight_max=IN_FLIGHT_MAX, subscriptions_max=2))
        self.desk = self.desk_that_takes_questions()
        self.questions: dict[int | str, int] = {}  # the server's question for each request that waits for one
        self.withdrawn: list[int] = []
        self.expected: Counter[int | str] = Counter()  # answers due so far, by id
        self.open: dict[int | str, InFlight | None] = {}  # None is a subscription
        self.cancelled: list[InFlight] = []
        self.answered: list[InFlight] = []  # by a thread; the loop has not heard of it
        self.batched: set[int | str] = set()
        self.gone = False

    def desk_that_takes_questions(self) -> Desk:
        desk = Desk(self.server)
        desk.ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}})
        desk.sent.clear()
        return desk

    def ask(self, request_id: int | str, method: str, params: dict[str, Any]) -> None:
        message = {
            "jsonrpc": "2.0",
            "id": request_id,
            "method": method,
            "params": {**params, "_meta": MODERN},
        }
        self.desk.tell(json.dumps(message))

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def list_tools(self, request_id: int | str) -> None:
        self.ask(request_id, "tools/list", {})
        self.expected[request_id] += 1

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def call(self, request_id: int | str) -> None:
        before = set(self.desk.working)
        self.ask(request_id, "tools/call", {"name": "late"})
        if request_id in self.taken() or self.full(len(before)):
            self.expected[request_id] += 1
            assert set(self.desk.working) == before
        else:
            (self.open[request_id],) = set(self.desk.working) - before

    def taken(self) -> set[int | str]:
        return self.open.keys() | self.questions.keys()

    def full(self, working: int) -> bool:
        return working - len(self.answered) + len(self.questions) >= IN_FLIGHT_MAX

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def call_what_asks(self, request_id: int | str) -> None:
        (message,) = self.desk.begin("tools/call", {"name": "ask"}, request_id)
        if request_id in self.taken() or self.full(len(self.desk.working)):
            self.expected[request_id] += 1
            assert message["id"] == request_id
        else:
            self.questions[request_id] = message["id"]
            assert message["method"] == "elicitation/create"

    @precondition(lambda self: bool(self.questions))
    @rule(
        members=st.sampled_from(
            [{"result": {"action": "accept"}}, {"result": 5}, {"error": {"message": "no"}}]
        ),
        data=st.data(),
    )
    def answer_a_question(self, members: dict[str, Any], data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(list(self.questions)))
        (answer,) = self.desk.reply(self.questions.pop(request_id), **members)
        assert answer["id"] == request_id
        self.expected[request_id] += 1

    @precondition(lambda self: bool(self.withdrawn) and not self.gone)
    @rule(data=st.data())
    def answer_too_late(self, data: st.DataObject) -> None:
        assert self.desk.reply(data.draw(st.sampled_from(self.withdrawn)), result={"action": "accept"}) == []

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def listen(self, request_id: int | str) -> None:
        self.ask(request_id, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        if request_id in self.taken() or list(self.open.values()).count(None) >= 2:
            self.expected[request_id] += 1
        else:
            self.open[request_id] = None

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def cancel(self, request_id: int | str) -> None:
        self.desk.notify("notifications/cancelled", {"requestId": request_id})
        if (call := self.open.pop(request_id, None)) is not None:
            self.cancelled.append(call)
        if (question := self.questions.pop(request_id, None)) is not None:
            self.withdrawn.append(question)

    @precondition(lambda self: any(self.open.values()))
    @rule(outcome=OUTCOMES, data=st.data())
    def finish(self, outcome: object, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from([key for key, call in self.open.items() if call]))
        call = self.open.pop(request_id)
        assert call is not None
        self.desk.settle(call, outcome)
        self.expected[request_id] += 1

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data())
    def answer_on_a_thread(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from([key for key, call in self.open.items() if call]))
        call = self.open.pop(request_id)
        assert call is not None
        call.answer(ToolResult(structured={"a": 1}, text="done"))()
        self.expected[request_id] += 1
        self.answered.append(call)

    @precondition(lambda self: bool(self.answered))
    @rule(outcome=OUTCOMES)
    def hear_of_what_a_thread_answered(self, outcome: object) -> None:
        assert self.desk.settle(self.answered.pop(0), outcome) == []

    @precondition(lambda self: bool(self.cancelled))
    @rule()
    def answer_a_cancelled_one_on_a_thread(self) -> None:
        before = len(self.desk.sent)
        self.cancelled[-1].answer(ToolResult(structured={"a": 1}, text="done"))()
        assert len(self.desk.sent) == before

    @precondition(lambda self: bool(self.cancelled))
    @rule(outcome=OUTCOMES)
    def finish_a_cancelled_one(self, outcome: object) -> None:
        assert self.desk.settle(self.cancelled.pop(), outcome) == []

    @precondition(lambda self: not self.gone)
    @rule(
        text=st.sampled_from(
            [b"", b"{", b"[]", b"5", b'{"id":1}', b'{"jsonrpc":"2.0","id":null,"method":"x"}']
        )
    )
    def send_rubbish(self, text: bytes) -> None:
        answers = self.desk.tell(text)
        assert len(answers) == 1
        assert "error" in answers[0]
        if text == b'{"id":1}':
            self.expected[1] += 1

    @precondition(lambda self: not self.gone)
    @rule()
    def change_the_tools(self) -> None:
        before = len(self.desk.sent)
        self.server.catalog.put(self.server.catalog.tools.visible(self.desk.conversation.principal.tier)[0])
        assert len(self.desk.sent) - before == list(self.open.values()).count(None)

    @precondition(lambda self: not self.gone)
    @rule()
    def hang_up(self) -> None:
        self.desk.hang_up()
        self.cancelled += [call for call in self.open.values() if call]
        self.open.clear()
        self.questions.clear()
        self.withdrawn.clear()
        self.gone = True

    @precondition(lambda self: self.gone and not self.cancelled and not self.answered)
    @rule()
    def come_back(self) -> None:
        self.desk = self.desk_that_takes_questions()
        self.expected.clear()
        self.gone = False

    @invariant()
    def every_request_is_answered_as_often_as_it_was_due(self) -> None:
        answers = Counter(m["id"] for m in self.desk.sent if "id" in m and "method" not in m)
        assert answers == self.expected

    @invariant()
    def what_runs_is_what_was_not_settled(self) -> None:
        unheard = len(self.desk.working) + len(self.questions) - self.desk.conversation.running
        assert 0 <= unheard <= len(self.answered)
        assert set(self.desk.cancelled) >= set(self.cancelled)

    @invariant()
    def no_answer_leaks_an_accident(self) -> None:
        assert "secret" not in json.dumps(self.desk.sent)


def test_requests_are_answered_once_whatever_happens() -> None:
    Dialogue.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
    Dialogue.TestCase("runTest").runTest()
