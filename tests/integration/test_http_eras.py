"""MCP's own rules over HTTP, in both eras: a server process, raw requests."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_http_link import command
from tests.rig.http_talk import Answer, HttpTalk, call, http, message, modern
from tests.rig.served import served

VERSION, METHOD, NAME = "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"
OLD = {VERSION: "2025-11-25"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "http.sock"
    with served(command(path, "sessions_per_principal=3")):
        yield path


@pytest.fixture
def talk(path: Path) -> Iterator[HttpTalk]:
    with HttpTalk(path) as talk:
        yield talk


# ---- the stateless era


def test_progress_makes_a_stream_of_it(talk: HttpTalk) -> None:
    answer = talk.ask(call("count", {"steps": 2}, "c", meta={"progressToken": 7}))
    assert (answer.status, answer.fields["content-type"]) == (200, "text/event-stream")
    one, two, last = talk.events()
    assert [event.json["params"]["progress"] for event in (one, two)] == [1, 2]
    assert last.json["id"] == "c"
    assert last.id is None, "nothing to come back to in this era"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({VERSION: None}, 400, -32020),
        ({VERSION: "2025-11-25"}, 400, -32020),
        ({VERSION: "2026-07-28\r\nMCP-Protocol-Version: 2026-07-28"}, 400, -32020),
        ({METHOD: None}, 400, -32020),
        ({METHOD: "TOOLS/CALL"}, 400, -32020),
        ({METHOD: "tools/list"}, 400, -32020),
        ({NAME: None}, 400, -32020),
        ({NAME: "ech"}, 400, -32020),
        ({NAME: "echo\r\nMcp-Name: echo"}, 400, -32020),
        ({NAME: "=?base64?" + base64.b64encode(b"echo").decode() + "?="}, 200, None),
        ({NAME: "=?base64?ZWNobw?="}, 400, -32020),
        ({NAME: "=?BASE64?ZWNobw==?="}, 400, -32020),
        ({NAME: None, "mcp-name": "  echo  "}, 200, None),
        ({"Mcp-Session-Id": "of another era", "Last-Event-ID": "1-1"}, 200, None),
        ({"Mcp-Param-Other": "nobody's"}, 200, None),
    ],
)
def test_the_header_repeats_the_message(
    talk: HttpTalk, fields: dict[str, str | None], status: int, code: int | None
) -> None:
    answer = talk.ask(call("echo", {"text": "x"}, fields=fields))
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["id"] == 1
    assert "mcp-session-id" not in answer.fields


@pytest.mark.parametrize(
    ("method", "params", "fields", "status", "code"),
    [
        ("tools/call", {"name": "nobody"}, {}, 400, -32602),
        ("tools/call", {}, {}, 400, -32602),
        ("no/such", {}, {}, 404, -32601),
        ("initialize", {"protocolVersion": "2025-11-25"}, {}, 404, -32601),
        ("ping", {}, {}, 404, -32601),
        ("tools/list", {"cursor": "x"}, {}, 400, -32602),
    ],
)
def test_what_goes_wrong_has_a_status_of_its_own(
    talk: HttpTalk, method: str, params: dict[str, Any], fields: dict[str, str | None], status: int, code: int
) -> None:
    answer = talk.ask(modern(method, params, fields=fields))
    assert (answer.status, answer.code) == (status, code)


def test_a_failure_of_the_tools_own_is_a_result(talk: HttpTalk) -> None:
    assert talk.ask(call("refuse")).json["result"]["isError"]
    assert talk.ask(call("echo", {"texts": 1})).status == 200


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({}, -32602),
        ({"io.modelcontextprotocol/protocolVersion": "2026-07-28"}, -32602),
        ({"io.modelcontextprotocol/clientCapabilities": {}}, -32602),
        ([], -32602),
    ],
)
def test_a_missing_envelope_comes_before_a_header_that_disagrees(
    talk: HttpTalk, meta: Any, code: int
) -> None:
    answer = talk.ask(http(message("tools/list", {"_meta": meta}), {VERSION: "2026-07-28", METHOD: "x"}))
    assert (answer.status, answer.code, answer.json["id"]) == (400, code, 1)


def test_an_unknown_version_is_told_which_are_known_unless_the_header_says_another(talk: HttpTalk) -> None:
    unknown = {"io.modelcontextprotocol/protocolVersion": "v9"}
    answer = talk.ask(modern("tools/list", fields={VERSION: "v9"}, meta=unknown))
    assert (answer.status, answer.code) == (400, -32022)
    assert answer.json["error"]["data"] == {"supported": ["2026-07-28"], "requested": "v9"}
    assert talk.ask(modern("tools/list", meta=unknown)).code == -32020


def test_notifications_are_taken_note_of_and_answers_nobody_asked_for_are_not(talk: HttpTalk) -> None:
    cancelled = message("notifications/cancelled", {"requestId": 1}, None)
    assert talk.ask(http(cancelled, {VERSION: "2026-07-28"})) == Answer(202, {"content-length": "0"}, b"")
    assert talk.ask(http(cancelled, {VERSION: "v9"})).status == 400
    answer = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert talk.ask(http(answer, {VERSION: "2026-07-28"})).status == 400


# ---- the handshake era


class Client:
    """A handshake client: its session, on a connection that is kept, and more when it listens."""

    def __init__(self, path: Path, version: str = "2025-11-25") -> None:
        self.path = path
        self.talk = HttpTalk(path)
        answer = self.talk.ask(http(message("initialize", {"protocolVersion": version})))
        assert answer.json["result"]["protocolVersion"] == version
        self.fields: dict[str, str | None] = {
            VERSION: version,
            "Mcp-Session-Id": answer.fields["mcp-session-id"],
        }
        assert self.tell("notifications/initialized").status == 202

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.talk.ask(http(method="DELETE", fields=self.fields))
        self.talk.close()

    def post(self, body: bytes) -> bytes:
        return http(body, self.fields)

    def ask(self, method: str, params: dict[str, Any] | None = None, request_id: int = 1) -> Answer:
        return self.talk.ask(self.post(message(method, params, request_id)))

    def tell(self, method: str, params: dict[str, Any] | None = None) -> Answer:
        return self.talk.ask(self.post(message(method, params, None)))

    def call(self, tool: str, arguments: dict[str, Any] | None = None, request_id: int = 1) -> bytes:
        params = {"name": tool, "arguments": arguments or {}, "_meta": {"progressToken": f"p{request_id}"}}
        return self.post(message("tools/call", params, request_id))

    @contextlib.contextmanager
    def listening(self, after: str | None = None) -> Iterator[HttpTalk]:
        with HttpTalk(self.path) as talk:
            answer = talk.ask(http(method="GET", fields={**self.fields, "Last-Event-ID": after}))
            assert answer.fields["content-type"] == "text/event-stream"
            yield talk


def test_a_session_is_begun_used_and_ended(path: Path) -> None:
    with Client(path) as client:
        session_id = client.fields["Mcp-Session-Id"]
        assert session_id is not None
        assert len(session_id) >= 32
        assert client.ask("ping").json["result"] == {}
        assert client.ask("tools/list").json["result"]["tools"]
        assert client.talk.ask(http(method="DELETE", fields=client.fields)).status == 200
        assert client.ask("ping").status == 404
        assert client.talk.ask(http(method="DELETE", fields=client.fields)).status == 404


def test_without_a_session_there_is_no_more_than_a_handshake(talk: HttpTalk) -> None:
    assert talk.ask(http(message("tools/list"))).status == 400
    assert talk.ask(http(message("tools/list"), {"Mcp-Session-Id": "guessed"})).status == 404
    refused = talk.ask(http(message("initialize", {"protocolVersion": 5})))
    assert refused.code == -32602
    assert "mcp-session-id" not in refused.fields


def test_both_eras_share_a_connection(path: Path) -> None:
    with Client(path) as client:
        assert client.talk.ask(modern("server/discover")).status == 200
        assert client.ask("ping").json["result"] == {}
        assert (
            client.talk.ask(modern("tools/list", fields={**client.fields, VERSION: "2026-07-28"})).status
            == 200
        )


def test_the_oldest_idle_session_makes_room(path: Path) -> None:
    clients = [Client(path) for _ in range(4)]
    assert [client.ask("ping").status for client in clients] == [404, 200, 200, 200]
    with clients[1].listening(), clients[2].listening(), clients[3].listening(), HttpTalk(path) as talk:
        refused = talk.ask(http(message("initialize", {"protocolVersion": "2025-11-25"})))
        assert (refused.status, refused.fields["retry-after"]) == (503, "1")
    for client in clients:
        client.__exit__()


def test_a_calls_progress_and_answer_come_on_its_own_stream(path: Path) -> None:
    with Client(path) as client:
        client.talk.sock.sendall(client.call("count", {"steps": 2}))
        assert client.talk.take().fields["content-type"] == "text/event-stream"
        priming, one, two, last = client.talk.events()
        assert priming.data == ""
        assert [one.json["params"]["progress"], two.json["params"]["progress"]] == [1, 2]
        assert last.json["result"]["structuredContent"] == {"text": "2"}
        assert len({event.id for event in (priming, one, two, last)}) == 4


def test_an_older_client_gets_no_event_without_a_message(path: Path) -> None:
    with Client(path, "2025-06-18") as client:
        client.talk.sock.sendall(client.call("count", {"steps": 1}))
        client.talk.take()
        assert all(event.data for event in client.talk.events())


def test_who_lost_the_connection_comes_back_for_the_rest(path: Path) -> None:
    with Client(path) as client:
        with HttpTalk(path) as lost:
            lost.sock.sendall(client.call("count", {"steps": 1000}))
            lost.take()
            seen = lost.event()
            assert seen is not None
        with client.listening(seen.id) as found:
            events = found.events()
        assert [event.json["params"]["progress"] for event in events[:-1]] == list(range(1, 1001))
        assert events[-1].json["id"] == 1
        with client.listening(events[500].id) as again:
            assert len(again.events()) == 500
        assert (
            client.talk.ask(http(method="GET", fields={**client.fields, "Last-Event-ID": "?"})).status == 400
        )


def test_hanging_up_does_not_cancel_but_saying_so_does(path: Path) -> None:
    with Client(path) as client:
        with HttpTalk(path) as lost:
            lost.sock.sendall(client.call("wait", request_id=5))
            while (
                client.ask("tools/call", {"name": "waiting"}).json["result"]["structuredContent"]["text"]
                != "1"
            ):
                pass
        assert client.ask("ping", request_id=5).status == 400, "the id is still in use"
        assert client.tell("notifications/cancelled", {"requestId": 5}).status == 202
        assert client.ask("ping", request_id=5).status == 200


def test_a_cancelled_call_ends_its_stream_without_an_answer(path: Path) -> None:
    with Client(path) as client, HttpTalk(path) as caller:
        caller.sock.sendall(client.call("wait", request_id=5))
        while (
            client.ask("tools/call", {"name": "waiting"}).json["result"]["structuredContent"]["text"] != "1"
        ):
            pass
        client.tell("notifications/cancelled", {"requestId": 5})
        assert caller.take().status == 200
        assert [event.data for event in caller.events()] == [""]


def test_what_nobody_asked_for_comes_on_a_stream_of_its_own_even_late(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path)), Client(path) as client:
        client.ask("tools/call", {"name": "remove", "arguments": {"text": "paint"}})
        with client.listening() as listener:
            changed = listener.event()
            assert changed is not None
            assert changed.json["method"] == "notifications/tools/list_changed"
            client.ask("tools/call", {"name": "remove", "arguments": {"text": "fail"}})
            again = listener.event()
            assert again is not None
            assert again.id != changed.id
            with client.listening(changed.id) as newer:
                assert listener.event() is None, "the newer one takes its place"
                assert newer.event() == again


def test_a_waiting_client_may_be_sent_away_to_come_back(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path, "poll_after_s=0.02", "retry_ms=5")), Client(path) as client:
        client.talk.sock.sendall(client.call("wait", request_id=9))
        client.talk.take()
        *_, last = client.talk.events()
        assert (last.data, last.retry) == ("", "5")
        with client.listening(last.id) as back:
            client.tell("notifications/cancelled", {"requestId": 9})
            assert back.events() == []


def test_batches_are_of_one_revision_alone(path: Path) -> None:
    batch = b"[%s,%s,%s]" % (
        message("ping", {}, 1),
        message("notifications/x", {}, None),
        message("no", {}, 2),
    )
    with Client(path, "2025-03-26") as client:
        answers = client.talk.ask(client.post(batch)).json
        assert [answer["id"] for answer in answers] == [1, 2]
        assert client.talk.ask(client.post(b"[%s]" % message("notifications/x", {}, None))).status == 202
        assert client.talk.ask(client.post(b"[5]")).json[0]["error"]["code"] == -32600
        counted = json.loads(client.call("count", {"steps": 1}, 7).partition(b"\r\n\r\n")[2])
        client.talk.sock.sendall(client.post(json.dumps([counted]).encode()))
        client.talk.take()
        assert client.talk.events()[-1].json[0]["id"] == 7
    with Client(path, "2025-06-18") as client:
        assert client.talk.ask(client.post(batch)).status == 400
