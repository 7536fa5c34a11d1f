"""A session in a real event loop, driven one await at a time: whatever a peer does, and whenever it goes.

Every request is answered once unless it is cancelled or its peer is gone; nothing follows a cancellation; and
when all is over nothing is left: no task, no call in flight, no subscription, no question.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edged.mcp.catalog import Catalog, Resource, Tier
from edged.mcp.config import McpConfig
from edged.mcp.server import Server
from tests.rig.desk import envelope
from tests.rig.echo_server import INFO
from tests.rig.gated import Gates
from tests.rig.oracle_ours import Ours
from tests.rig.oracle_quiet import quiet

Id = int | str
IDS = st.sampled_from([1, "1", ""])
VERSIONS = st.sampled_from(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
ENDINGS = st.sampled_from(["result", "refusal", "accident", "question"])
IN_FLIGHT_MAX = 4
SUBSCRIPTIONS_MAX = 2
URI = "test://note"
RUBBISH = [b"{", b"[", b"5", b'{"jsonrpc":"2.0","id":null,"method":"ping"}', b"\xff", b'{"id":1.5}']


@dataclass
class Array:
    """A batch whose answer is not complete."""

    open: set[Id] = field(default_factory=set)
    ready: Counter[Id] = field(default_factory=Counter)


@dataclass
class Asked:
    """A call in flight, as the peer knows it."""

    key: int
    asks_back: bool
    array: Array | None = None


class Connection(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.runner = asyncio.Runner()
        self.gates = Gates()
        self.catalog = Catalog()
        self.catalog.put(
            self.gates.tool, Resource(uri=URI, name="note", read=lambda _call: "x", tier=Tier.READ)
        )
        limits = McpConfig(in_flight_max=IN_FLIGHT_MAX, subscriptions_max=SUBSCRIPTIONS_MAX)
        self.server = Server(self.catalog, INFO, limits)
        self.last_key = 0
        self.stubborn: set[int] = set()  # keys of calls that were cancelled and still run
        self.runner.run(self.begin())

    async def begin(self) -> None:
        self.over = asyncio.Event()
        self.accidents: list[dict[str, Any]] = []  # what callbacks raised
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.accidents.append(context))
        began: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
        self.link = asyncio.get_running_loop().create_task(self.keep(began))
        self.tasks = await began
        self.connect()

    async def keep(self, began: asyncio.Future[asyncio.TaskGroup]) -> None:
        async with asyncio.TaskGroup() as tasks:
            began.set_result(tasks)
            await self.over.wait()

    def connect(self) -> None:
        self.peer = Ours(self.server, self.tasks)
        self.gone = False
        self.version: str | None = None
        self.flight: dict[Id, Asked] = {}
        self.listening: dict[Id, bool] = {}  # whether to the note
        self.watching = False
        self.questions: dict[Id, Id] = {}  # the server's question, by the request that waits for it
        self.due: Counter[Id] = Counter()
        self.answered: Counter[Id] = Counter()
        self.nameless = 0
        self.silent: set[int] = set()  # progress tokens of what was cancelled
        self.heard: list[Any] = []

    def tell(self, value: Any) -> list[Any]:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.take(self.runner.run(self.peer.tell(text)))

    def take(self, texts: list[bytes]) -> list[Any]:
        """Read what was said, and count it."""
        messages = [one for text in texts for one in _flat(json.loads(text))]
        for message in messages:
            self.heard.append(message)
            if message.get("method") == "elicitation/create":
                (waiting,) = [i for i, asked in self.flight.items() if self.may_have_asked(i, asked)]
                self.questions[waiting] = message["id"]
            elif "method" not in message and "id" in message:
                self.answered[message["id"]] += 1
            elif "method" not in message:
                self.nameless += 1
            elif message["method"] == "notifications/progress":
                assert message["params"]["progressToken"] not in self.silent
        return messages

    def may_have_asked(self, request_id: Id, asked: Asked) -> bool:
        """Whether it is this call whose question was just heard: it waits at no gate."""
        return asked.asks_back and request_id not in self.questions and asked.key not in self.gates.waiting

    def settled(self, request_id: Id) -> None:
        """A call in flight is over, and its answer due now or with its array's."""
        asked = self.flight.pop(request_id)
        if asked.array is None:
            self.due[request_id] += 1
        else:
            asked.array.ready[request_id] += 1
            self.release(asked.array, request_id)

    def release(self, array: Array, request_id: Id) -> None:
        array.open.discard(request_id)
        if not array.open:
            self.due += array.ready

    def taken(self) -> set[Id]:
        return {*self.flight, *self.listening}

    def full(self) -> bool:
        return len(self.flight) + len(self.stubborn) >= IN_FLIGHT_MAX

    def element(self, request_id: Id, *, modern: bool, **walk: Any) -> tuple[dict[str, Any], Asked]:
        self.last_key += 1
        arguments = {"key": self.last_key, **walk}
        meta: dict[str, Any] = {"progressToken": self.last_key}
        if modern:
            meta = envelope({"elicitation": {}}, progressToken=self.last_key)
            meta["io.modelcontextprotocol/logLevel"] = "debug"
        params = {"name": "walk", "arguments": arguments, "_meta": meta}
        message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
        asks = walk.get("ending") == "question" and not modern and (self.version or "") >= "2025-06-18"
        return message, Asked(self.last_key, asks)

    # ---- what a peer does

    @precondition(lambda self: not self.gone and not self.flight)
    @rule(version=VERSIONS, ready=st.booleans())
    def shake_hands(self, *, version: str, ready: bool) -> None:
        params = {
            "protocolVersion": version,
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "x", "version": "1"},
        }
        (answer,) = self.tell({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": params})
        assert answer["result"]["protocolVersion"] == version
        self.due["i"] += 1
        self.version = version
        if ready:
            assert self.tell({"jsonrpc": "2.0", "method": "notifications/initialized"}) == []

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS, ending=ENDINGS, stubborn=st.booleans(), modern=st.booleans())
    def call(self, *, request_id: Id, ending: str, stubborn: bool, modern: bool) -> None:
        message, asked = self.element(request_id, modern=modern, ending=ending, stubborn=stubborn)
        self.tell(message)
        if request_id in self.taken() or self.full() or not (modern or self.version):
            self.due[request_id] += 1
            assert asked.key not in self.gates.waiting
        else:
            self.flight[request_id] = asked

    @precondition(lambda self: not self.gone and self.version == "2025-03-26")
    @rule(ids=st.lists(IDS, min_size=1, max_size=3), note=st.booleans())
    def send_an_array(self, *, ids: list[Id], note: bool) -> None:
        array, elements = Array(), []
        for request_id in ids:
            message, asked = self.element(request_id, modern=False)
            elements.append(message)
            if request_id in self.taken() or self.full():
                array.ready[request_id] += 1
            else:
                asked.array = array
                array.open.add(request_id)
                self.flight[request_id] = asked
        if note:
            elements.append({"jsonrpc": "2.0", "method": "notifications/nonsense"})
        if not array.open:
            self.due += array.ready
        self.tell(elements)

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS, note=st.booleans())
    def listen(self, *, request_id: Id, note: bool) -> None:
        wanted = {"toolsListChanged": True, **({"resourceSubscriptions": [URI]} if note else {})}
        params = {"notifications": wanted, "_meta": envelope()}
        (message,) = self.tell(
            {"jsonrpc": "2.0", "id": request_id, "method": "subscriptions/listen", "params": params}
        )
        if request_id in self.taken() or len(self.listening) >= SUBSCRIPTIONS_MAX:
            self.due[request_id] += 1
            assert "error" in message
        else:
            assert message["method"] == "notifications/subscriptions/acknowledged"
            self.listening[request_id] = note

    @precondition(lambda self: not self.gone and self.version)
    @rule(request_id=IDS, on=st.booleans())
    def watch(self, *, request_id: Id, on: bool) -> None:
        method = "resources/subscribe" if on else "resources/unsubscribe"
        self.tell({"jsonrpc": "2.0", "id": request_id, "method": method, "params": {"uri": URI}})
        self.due[request_id] += 1
        if request_id not in self.taken():
            self.watching = on

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def list_tools(self, *, request_id: Id) -> None:
        self.tell(
            {"jsonrpc": "2.0", "id": request_id, "method": "tools/list", "params": {"_meta": envelope()}}
        )
        self.due[request_id] += 1

    @precondition(lambda self: not self.gone)
    @rule(request_id=IDS)
    def cancel(self, *, request_id: Id) -> None:
        self.listening.pop(request_id, None)
        asked = self.flight.pop(request_id, None)
        if asked:
            self.silent.add(asked.key)
            if asked.array:
                self.release(asked.array, request_id)
        self.questions.pop(request_id, None)
        self.tell(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
        )
        if asked and asked.key in self.gates.waiting:
            self.stubborn.add(asked.key)

    @precondition(lambda self: bool(self.questions))
    @rule(data=st.data(), late=st.booleans(), refused=st.booleans())
    def answer_a_question(self, *, data: st.DataObject, late: bool, refused: bool) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.questions, key=repr)))
        question = self.questions.pop(request_id)
        reply = {"error": {"code": -1, "message": "no"}} if refused else {"result": {"action": "accept"}}
        if refused:
            self.settled(request_id)
        else:
            self.flight[request_id].asks_back = False
        self.tell({"jsonrpc": "2.0", "id": question, **reply})
        if late:
            assert self.tell({"jsonrpc": "2.0", "id": question, "result": {"action": "cancel"}}) == []

    @precondition(lambda self: not self.gone)
    @rule(text=st.sampled_from(RUBBISH))
    def send_rubbish(self, *, text: bytes) -> None:
        before = self.nameless
        self.tell(text)
        assert self.nameless == before + 1

    # ---- what happens on our side

    @precondition(lambda self: bool(self.gates.waiting))
    @rule(data=st.data())
    def go_on(self, *, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.gates.waiting)))
        self.gates.open(key)
        self.runner.run(quiet())
        over = key not in self.gates.waiting
        request_id = next((i for i, asked in self.flight.items() if asked.key == key), None)
        if over and request_id is not None and not self.flight[request_id].asks_back:
            self.settled(request_id)
        elif over:
            self.stubborn.discard(key)
        self.take(self.runner.run(self.peer.tell(b"")))

    @precondition(lambda self: not self.gone)
    @rule()
    def the_note_changes(self) -> None:
        before = len(self.heard)
        self.catalog.updated(URI)
        self.take(self.runner.run(self.peer.tell(b"")))
        told = [m for m in self.heard[before:] if m["method"] == "notifications/resources/updated"]
        assert len(told) == list(self.listening.values()).count(True) + self.watching

    @precondition(lambda self: not self.gone)
    @rule()
    def hang_up(self) -> None:
        self.gone = True
        self.silent |= {asked.key for asked in self.flight.values()}
        self.peer.session.close()
        self.runner.run(self.peer.tell(b""))  # whatever was said to the wire is lost with it
        self.stubborn |= set(self.gates.waiting)
        self.questions.clear()
        self.flight.clear()
        self.listening.clear()

    @precondition(lambda self: self.gone)
    @rule()
    def come_back(self) -> None:
        self.finish_what_is_cancelled()
        self.connect()

    def finish_what_is_cancelled(self) -> None:
        for key in list(self.gates.waiting):
            self.gates.open(key)
        assert self.runner.run(self.peer.tell(b"")) == []
        self.stubborn.clear()

    # ---- what always holds

    @invariant()
    def every_request_is_answered_as_often_as_it_was_due(self) -> None:
        assert self.answered == self.due

    @invariant()
    def nothing_goes_wrong_where_nobody_looks(self) -> None:
        assert self.accidents == []

    @invariant()
    def no_answer_leaks_an_accident(self) -> None:
        assert "secret" not in json.dumps(self.heard)

    @invariant()
    def what_runs_is_what_was_asked(self) -> None:
        conversation = self.peer.session._conversation
        assert set(conversation._open) == self.taken()
        if not self.gone:
            assert conversation.running == len(self.flight) + len(self.stubborn)

    def teardown(self) -> None:
        """The peer goes, wherever it is: nothing may be left."""
        try:
            if not self.gone:
                self.hang_up()
            self.finish_what_is_cancelled()
            conversation = self.peer.session._conversation
            assert conversation.running == conversation._tally._bytes == 0
            assert not conversation._open
            assert not conversation._listeners
            assert not self.server._conversations
            assert not self.peer.session._running
            assert conversation._inquiries is None or not conversation._inquiries._asked
            assert not self.server.subscriptions._listeners
            self.over.set()
            self.runner.run(quiet())
            assert self.link.done()
            assert self.runner.run(_others()) == set()
            assert self.accidents == []
        finally:
            self.runner.close()
            logging.disable(logging.NOTSET)


async def _others() -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


def _flat(message: Any) -> list[Any]:
    return message if isinstance(message, list) else [message]


def test_a_peer_may_do_anything_and_go_at_any_await() -> None:
    Connection.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
    Connection.TestCase("runTest").runTest()
