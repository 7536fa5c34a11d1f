"""The Unix socket against a real kernel: a server process, raw connections."""

from __future__ import annotations

import array
import base64
import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.errors import DeadlineExceeded, DeviceError, Unreachable
from edged.links.config import UnixConfig
from edged.links.listening import bind, peer_of
from edged.links.unix_client import UnixClient
from edged.mcp.client import Progress, RpcError
from tests.rig.echo_server import PIXEL
from tests.rig.served import echo_command, served
from tests.rig.talk import Talk, request

LINE_MAX = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("run") / "mcp.sock"
    with served(echo_command(path)):
        yield path


def test_a_line_may_come_in_any_pieces(path: Path) -> None:
    with Talk(path) as talk:
        for byte in request("tools/call", {"name": "echo", "arguments": {"text": "é"}}) + b"\n":
            talk.sock.send(bytes([byte]))
        assert talk.take()["result"]["structuredContent"] == {"text": "é"}


def test_many_lines_in_one_piece_are_answered_in_order(path: Path) -> None:
    with Talk(path) as talk:
        talk.send(
            *(request("tools/call", {"name": "echo", "arguments": {"text": "x"}}, n) for n in range(1000))
        )
        assert [talk.take()["id"] for _ in range(1000)] == list(range(1000))


def test_blank_lines_and_carriage_returns_do_no_harm(path: Path) -> None:
    with Talk(path) as talk:
        talk.sock.sendall(b"\n\n" + request("tools/list") + b"\r\n")
        assert talk.take()["id"] == 1


def test_a_camera_frame_arrives_whole(path: Path) -> None:
    frame = os.urandom(921_600)
    with UnixClient(path) as client:
        answer = client.call_tool("weigh", {"data": frame})
    assert answer.structured["length"] == len(frame)


def test_a_line_too_long_is_one_error_without_an_id_and_the_next_is_answered(path: Path) -> None:
    with Talk(path) as talk:
        talk.send(b'{"jsonrpc":"2.0","id":1,"x":"' + b"x" * LINE_MAX + b'"}', request("tools/list", {}, 2))
        refused, answered = talk.take(), talk.take()
        assert "id" not in refused
        assert refused["error"]["code"] == -32600
        assert answered["id"] == 2


def test_a_line_without_its_newline_is_answered_at_the_end(path: Path) -> None:
    with Talk(path) as talk:
        talk.sock.sendall(request("tools/list"))
        talk.sock.shutdown(socket.SHUT_WR)
        assert talk.take()["id"] == 1
        assert talk.take() is None


def test_a_peer_that_stops_sending_still_gets_what_is_due(path: Path) -> None:
    with Talk(path) as talk:
        talk.send(request("tools/call", {"name": "count", "arguments": {"steps": 500}}))
        talk.sock.shutdown(socket.SHUT_WR)
        assert talk.take()["result"]["content"][0]["text"] == "counted"
        assert talk.take() is None


def test_a_peer_that_stops_sending_has_its_subscriptions_ended(path: Path) -> None:
    with Talk(path) as talk:
        talk.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "s"))
        talk.sock.shutdown(socket.SHUT_WR)
        assert talk.take()["method"] == "notifications/subscriptions/acknowledged"
        assert talk.take()["id"] == "s"
        assert talk.take() is None


def waiting(path: Path) -> int:
    with Talk(path) as talk:
        return int(talk.call("waiting")["content"][0]["text"])


@pytest.mark.parametrize("half_closed_first", [False, True])
def test_work_of_a_peer_that_is_gone_is_cancelled(path: Path, half_closed_first: bool) -> None:  # noqa: FBT001 - a table
    with Talk(path) as talk:
        talk.send(request("tools/call", {"name": "wait", "arguments": {}}), request("tools/list", {}, 2))
        talk.until(2)
        assert waiting(path) == 1
        if half_closed_first:
            talk.sock.shutdown(socket.SHUT_WR)
            assert waiting(path) == 1
    while waiting(path):  # the server hears of the hang-up in its own time
        pass


def test_a_cancelled_call_is_never_answered(path: Path) -> None:
    with Talk(path) as talk:
        talk.send(
            request("tools/call", {"name": "wait", "arguments": {}}),
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
            request("tools/list", {}, 2),
        )
        assert [message["id"] for message in talk.until(2)] == [2]
        while waiting(path):
            pass


def send_until_blocked(sock: socket.socket, line: bytes) -> int:
    """Send the line again and again until the kernel takes no more; give the bytes sent."""
    sock.setblocking(False)
    sent = 0
    try:
        while True:
            sent += sock.send(line[sent % len(line) :])
    except BlockingIOError:
        return sent


def test_a_peer_that_only_sends_is_held_back_and_loses_nothing(path: Path) -> None:
    text = "x" * 60_000
    line = request("tools/call", {"name": "echo", "arguments": {"text": text}}) + b"\n"
    with Talk(path) as talk:
        sent = send_until_blocked(talk.sock, line)
        assert sent < 64 * len(line)
        talk.sock.settimeout(20)
        talk.sock.shutdown(socket.SHUT_WR)
        answers = 0
        while (answer := talk.take()) is not None:
            answers += "result" in answer
        assert answers == sent // len(line)


def test_a_flood_from_one_peer_does_not_keep_others_waiting_for_its_end(path: Path) -> None:
    with Talk(path) as flood, Talk(path) as polite:
        send_until_blocked(flood.sock, b"{}\n" * 10_000)
        assert polite.call("echo", {"text": "still here"})["content"][0]["text"] == "still here"


def test_a_descriptor_comes_with_its_request_and_those_not_taken_are_closed(path: Path) -> None:
    with UnixClient(path) as client:
        assert client.request("test/measure")["bytes"] == -1
        memory = os.memfd_create("frame")
        os.truncate(memory, 4096)
        assert client.request("test/measure", fds=[memory])["bytes"] == 4096
        assert client.request("test/measure")["bytes"] == -1
        os.close(memory)


def test_descriptors_nobody_takes_are_bounded_and_closed(path: Path) -> None:
    reading, writing = os.pipe()
    with Talk(path) as talk:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing] * 12))
        talk.sock.sendmsg([request("tools/list") + b"\n"], [rights])
        assert talk.take()["id"] == 1
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_the_client_speaks_of_errors_timeouts_and_progress(path: Path) -> None:
    heard: list[Progress] = []
    with UnixClient(path) as client:
        assert client.call_tool("count", {"steps": 2}, on_progress=heard.append).text == "counted"
        assert heard == [Progress(1, 2, "counting"), Progress(2, 2, "counting")]
        assert client.call_tool("paint").images == ((PIXEL, "image/png"),)
        assert client.call_tool("refuse").is_error
        with pytest.raises(RpcError, match="unknown tool") as caught:
            client.call_tool("nonsense")
        assert caught.value.code == -32602
        with pytest.raises(DeadlineExceeded):
            client.call_tool("wait", timeout_s=0.05)
        assert client.call_tool("echo", {"text": "on"}).text == "on"
        assert "echo" in {tool["name"] for tool in client.list_tools()}
    with pytest.raises(Unreachable, match="cannot reach"):
        UnixClient(path.with_name("nobody"))


def test_the_kernel_says_who_a_peer_is() -> None:
    one, other = socket.socketpair()
    with one, other:
        uid, groups = peer_of(one)
    assert uid == os.getuid()
    assert groups
    assert list(groups) == sorted(groups)


def test_a_socket_is_there_for_its_group_with_the_configured_mode(tmp_path: Path) -> None:
    path = tmp_path / "mcp.sock"
    group = subprocess.run(["id", "-gn"], check=True, capture_output=True, text=True).stdout.strip()
    with bind(path, UnixConfig(group=group)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == os.getgid()
    assert [entry.name for entry in tmp_path.iterdir()] == ["mcp.sock"]


def test_where_there_is_no_such_group_the_socket_is_private(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mcp.sock"
    with bind(path, UnixConfig(group="no-such-group")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "socket is private" in caplog.text


def test_a_socket_left_by_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mcp.sock"
    bind(path, UnixConfig()).close()
    assert path.is_socket()
    with bind(path, UnixConfig()) as listener, Talk(path), listener.accept()[0] as accepted:
        assert peer_of(accepted)[0] == os.getuid()


def test_a_living_server_is_not_replaced(path: Path) -> None:
    with pytest.raises(DeviceError, match="another process serves it"):
        bind(path, UnixConfig())
    with Talk(path) as talk:
        assert talk.call("echo", {"text": "x"})["isError"] is False


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.sock"
    path.write_text("precious")
    with pytest.raises(DeviceError, match="not a socket"):
        bind(path, UnixConfig())
    assert path.read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot listen: No such file"):
        bind(tmp_path / "none" / "mcp.sock", UnixConfig())


def test_a_server_that_stops_removes_its_socket_and_ends_its_peers(tmp_path: Path) -> None:
    path = tmp_path / "mcp.sock"
    with served(echo_command(path)) as process:
        talk = Talk(path)
        talk.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, "s"))
        talk.take()
        process.terminate()
        assert talk.take()["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s"
        assert talk.take() is None
        talk.close()
        process.wait(20)
    assert not path.exists()


def test_base64_with_escaped_slashes_is_read_all_the_same(path: Path) -> None:
    data = bytes([255]) * 6000
    text = json.dumps({"data": base64.b64encode(data).decode()}).replace("/", "\\/")
    line = request("tools/call", {"name": "weigh", "arguments": {}}).replace(
        b'"arguments":{}', b'"arguments":' + text.encode()
    )
    with Talk(path) as talk:
        talk.send(line)
        assert talk.take()["result"]["structuredContent"]["length"] == 6000
