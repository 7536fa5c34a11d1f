"""The HTTP socket against a real kernel: a server process, raw requests. What HTTP itself is asked to do."""

from __future__ import annotations

import contextlib
import select
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rig.http_talk import TIMEOUT_S, HttpTalk, call, http, message, modern
from tests.rig.served import served

BODY_MAX = 1 << 20
TOO_LONG: dict[str, str | None] = {"Content-Length": str(BODY_MAX + 1)}


def command(path: Path, *settings: str) -> list[str]:
    return [sys.executable, "-m", "tests.rig.http_server", str(path), *settings]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "http.sock"
    with served(command(path)):
        yield path


@pytest.fixture
def talk(path: Path) -> Iterator[HttpTalk]:
    with HttpTalk(path) as talk:
        yield talk


def test_a_request_is_answered_as_json(talk: HttpTalk) -> None:
    answer = talk.ask(call("echo", {"text": "hé"}))
    assert (answer.status, answer.fields["content-type"]) == (200, "application/json")
    assert answer.json["result"]["structuredContent"] == {"text": "hé"}


def test_a_connection_serves_one_request_after_another(talk: HttpTalk) -> None:
    assert [talk.ask(modern("tools/list", {}, n)).json["id"] for n in range(3)] == [0, 1, 2]


def test_pipelined_requests_are_answered_in_order(talk: HttpTalk) -> None:
    talk.sock.sendall(b"".join(call("echo", {"text": str(n)}, n) for n in range(100)))
    assert [talk.take().json["id"] for _ in range(100)] == list(range(100))


def test_a_pipelined_request_waits_for_the_stream_before_it(talk: HttpTalk) -> None:
    talk.sock.sendall(call("count", {}, 1, meta={"progressToken": "t"}) + modern("tools/list", {}, 2))
    assert talk.take().fields["content-type"] == "text/event-stream"
    assert [event.json.get("id") for event in talk.events()] == [None, None, None, 1]
    assert talk.take().json["id"] == 2


def test_more_than_fits_may_be_pipelined(talk: HttpTalk) -> None:
    talk.sock.sendall(call("count", {"steps": 1000}, 0) + call("echo", {"text": "x" * 60_000}, 1) * 12)
    assert [talk.take().json["id"] for _ in range(13)] == [0] + [1] * 12


def test_a_request_may_come_in_any_pieces(talk: HttpTalk) -> None:
    for byte in call("echo", {"text": "é"}):
        talk.sock.send(bytes([byte]))
    assert talk.take().status == 200


def test_a_body_may_come_in_chunks(talk: HttpTalk) -> None:
    fields = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    body = modern("tools/list").partition(b"\r\n\r\n")[2]
    head = http(b"", {**fields, "Content-Length": None, "Transfer-Encoding": "chunked"})
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]))
    assert talk.ask(head + chunks + b"0\r\n\r\n").status == 200


def test_a_client_that_waits_for_leave_to_send_gets_it(talk: HttpTalk) -> None:
    request = call("echo", {"text": "x"}, fields={"Expect": "100-continue"})
    head, _, body = request.partition(b"\r\n\r\n")
    assert talk.ask(head + b"\r\n\r\n").status == 100
    assert talk.ask(body).status == 200


def test_a_client_that_waits_for_leave_to_send_too_much_is_refused_before_it_does(talk: HttpTalk) -> None:
    answer = talk.ask(http(b"", {**TOO_LONG, "Expect": "100-continue"}))
    assert (answer.status, answer.fields["connection"]) == (413, "close")
    assert talk.ended()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_wants_no_more_is_let_go(talk: HttpTalk, version: str) -> None:
    body = modern("tools/list").partition(b"\r\n\r\n")[2]
    fields = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list", "Connection": "close"}
    assert talk.ask(http(body, dict(fields), version=version)).status == 200
    assert talk.ended()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:6274"}, 200),
        ({"Host": "device.example"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "localhost:"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "http://localhost@evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "file://localhost"}, 403),
        ({"Accept": "application/json"}, 406),
        ({"Accept": "text/event-stream"}, 406),
        ({"Accept": "application/json, text/event-stream;q=0"}, 406),
        ({"Accept": "text/html"}, 406),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "application/*;q=0.5, text/*"}, 200),
        ({"Accept": None}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
    ],
)
def test_the_head_decides_who_is_let_in(fields: dict[str, str | None], status: int, named: Path) -> None:
    with HttpTalk(named) as talk:
        assert talk.ask(modern("tools/list", fields=fields)).status == status
        assert talk.ask(modern("tools/list")).status == 200, "the connection lives on"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("named") / "http.sock"
    with served(command(path, 'hosts=["device.example"]')):
        yield path


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (http(b"{}", target="/"), 404),
        (http(b"{}", target="/mcp/"), 404),
        (http(b"{}", target="//mcp"), 404),
        (http(method="PUT"), 405),
        (http(method="OPTIONS"), 405),
        (http(method="HEAD"), 405),
        (http(method="GET"), 405),
        (http(method="DELETE"), 405),
        (http(method="GET", fields={"MCP-Protocol-Version": "2026-07-28", "Mcp-Session-Id": "x"}), 405),
        (http(method="GET", fields={"Mcp-Session-Id": "x"}), 404),
        (http(method="GET", fields={"Mcp-Session-Id": "x", "Accept": "application/json"}), 406),
        (http(b"x", method="DELETE", fields={"Mcp-Session-Id": "x", "Content-Length": "1"}), 400),
    ],
)
def test_what_is_not_offered_is_refused_and_the_connection_lives(
    talk: HttpTalk, request_: bytes, status: int
) -> None:
    head_only = request_.startswith(b"HEAD")
    talk.sock.sendall(request_)
    if head_only:
        assert talk._file.readline().split()[1] == b"405"
        while talk._file.readline().strip():
            pass
    else:
        assert talk.take().status == status
    assert talk.ask(modern("tools/list")).status == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST /mcp HTTP/1.1\r\n\r\n", 400),
        (http(b"", {"Content-Length": "-1"}), 400),
        (http(b"", {"Content-Length": "1, 2"}), 400),
        (http(b"", {"Transfer-Encoding": "gzip"}), 501),
        (http(b"", {"X": "y\r\n folded\0"}), 400),
        (http(b"", {"X": "y" * 40_000}), 431),
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000, 431),
        (http(b"", TOO_LONG), 413),
        (http(b"", {"Content-Length": "9" * 20}), 413),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(
    talk: HttpTalk, raw: bytes, status: int
) -> None:
    assert talk.ask(raw).status == status
    assert talk.ended()


def test_a_body_too_long_is_refused_though_it_said_nothing_of_its_length(talk: HttpTalk) -> None:
    talk.sock.sendall(http(b"", {"Content-Length": None, "Transfer-Encoding": "chunked"}))
    chunk = b"%x\r\n%s\r\n" % (1 << 16, b" " * (1 << 16))
    for _ in range(BODY_MAX // (1 << 16) + 1):
        talk.sock.sendall(chunk)
    assert talk.take().status == 413
    assert talk.ended()


@pytest.mark.parametrize(
    "sent", [b"", b"POST /mcp HTTP/1.1\r\nHost: loc", http(b"", {"Content-Length": "9"})], ids=len
)
def test_who_is_slow_is_let_go(tmp_path: Path, sent: bytes) -> None:
    path = tmp_path / "http.sock"
    with served(command(path, "request_s=0.1", "idle_s=0.1")), HttpTalk(path) as talk:
        talk.sock.sendall(sent)
        if sent:
            assert talk.take().status == 408
        assert talk.ended()


def test_who_hangs_up_cancels(path: Path) -> None:
    with HttpTalk(path) as talk:
        talk.sock.sendall(call("wait"))
        while waiting(path) != 1:
            pass
    while waiting(path) != 0:
        pass


def waiting(path: Path) -> int:
    with HttpTalk(path) as talk:
        return int(talk.ask(call("waiting")).json["result"]["structuredContent"]["text"])


def test_a_silent_call_becomes_a_stream_that_says_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path, "keepalive_s=0.02")), HttpTalk(path) as talk:
        assert talk.ask(call("wait")).fields["content-type"] == "text/event-stream"
        assert [talk._chunk() for _ in range(2)] == [b":\n\n"] * 2


def test_a_large_answer_is_sent_whole_to_who_reads_slowly(talk: HttpTalk) -> None:
    talk.sock.sendall(call("echo", {"text": "x" * 60_000, "times": 20}) * 2 + modern("tools/list", {}, 7))
    answers = [talk.take() for _ in range(3)]
    assert [len(answer.body) > 1_000_000 for answer in answers] == [True, True, False]


def test_who_does_not_read_a_stream_is_dropped(path: Path) -> None:
    with HttpTalk(path) as talk:
        talk.sock.sendall(call("count", {"steps": 1000}, meta={"progressToken": "t" * 5000}))
        hung_up = select.poll()
        hung_up.register(talk.sock, 0)  # a hang-up is reported unasked, whatever there is to read before it
        assert hung_up.poll(TIMEOUT_S * 1000)
        assert waiting(path) == 0
        assert talk.take().status == 200
        rest = talk._file.read()
        assert b'"progress":1,' in rest
        assert b'"result"' not in rest


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path, "peers_max=1", "reserved_peers=0")), HttpTalk(path) as first:
        assert first.ask(modern("tools/list")).status == 200
        with HttpTalk(path) as second:
            assert second.take().status == 503
            assert second.ended()
        assert first.ask(modern("tools/list")).status == 200


def test_the_socket_is_the_groups_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path)):
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o660)
    assert not path.exists()


def test_a_stop_answers_what_runs_and_ends_what_listens(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path)) as server, HttpTalk(path) as listener, HttpTalk(path) as idle:
        assert idle.ask(modern("tools/list")).status == 200
        assert listener.ask(listening({"toolsListChanged": True})).status == 200
        assert acknowledged(listener)
        server.terminate()
        assert [event.json["id"] for event in listener.events()] == ["listen"]
        assert idle.ended()
        assert server.wait(10) == 0


def listening(wanted: dict[str, object]) -> bytes:
    return modern("subscriptions/listen", {"notifications": wanted}, "listen")


def acknowledged(talk: HttpTalk) -> bool:
    event = talk.event()
    return event is not None and event.json["method"] == "notifications/subscriptions/acknowledged"


def test_a_subscription_hears_of_changes_until_it_hangs_up(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with served(command(path)), HttpTalk(path) as listener, HttpTalk(path) as other:
        listener.sock.sendall(listening({"toolsListChanged": True}))
        assert listener.take().fields["x-accel-buffering"] == "no"
        assert acknowledged(listener)
        assert other.ask(call("remove", {"text": "paint"})).status == 200
        event = listener.event()
        assert event is not None
        assert event.json["method"] == "notifications/tools/list_changed"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_mangled_request_is_answered_or_hung_up_on_and_harms_nobody(
    path: Path, data: st.DataObject
) -> None:
    request = bytearray(call("echo", {"text": "x" * 20}) * 2)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(request) - 1))
        request[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=20))
    with HttpTalk(path) as mangled:
        with contextlib.suppress(OSError):
            mangled.sock.sendall(request)
            mangled.sock.shutdown(socket.SHUT_WR)
        answered = mangled._file.read()
        assert answered[:9] in (b"", b"HTTP/1.1 ")
        assert b" 500 " not in answered
    with HttpTalk(path) as other:
        assert other.ask(call("echo", {"text": "y"})).status == 200


def test_a_malformed_message_is_a_bad_request_and_the_connection_lives(talk: HttpTalk) -> None:
    for body, code in ((b"{", -32700), (b"[]", -32600), (b"{}", -32600), (b"\xff", -32700), (b"", -32700)):
        answer = talk.ask(http(body))
        assert (answer.status, answer.code) == (400, code)
    assert talk.ask(http(message("tools/list"))).status == 400  # neither an envelope nor a session
