from __future__ import annotations

import pytest

from bench.clients import Wrong, http, line
from bench.wire import http_post, http_tool_call

ANSWER = b"HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("received", range(len(ANSWER)))
def test_an_http_answer_is_not_whole_before_its_last_byte(received: int) -> None:
    assert http(bytearray(ANSWER), received) == 0


def test_an_http_answer_is_whole_at_its_length() -> None:
    assert http(bytearray(ANSWER + b"HTTP"), len(ANSWER) + 4) == len(ANSWER)


def test_an_http_answer_without_a_length_is_refused() -> None:
    with pytest.raises(Wrong, match="Content-Length"):
        http(bytearray(b"HTTP/1.1 200 OK\r\nx-content-length: 5\r\n\r\nhello"), 50)


def test_a_line_is_whole_at_its_newline_among_the_received_bytes() -> None:
    assert line(bytearray(b"{}\n"), 2) == 0
    assert line(bytearray(b"{}\n"), 3) == 3


def test_an_http_request_states_the_length_of_its_body() -> None:
    head, _, body = http_post("/jpeg", b"12345", Content_Type="image/jpeg").partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert b"Content-Type: image/jpeg" in head
    assert body == b"12345"


def test_an_mcp_request_over_http_repeats_its_method_and_tool_in_the_headers() -> None:
    head = http_tool_call("face_in_jpeg", {"data": ""}).partition(b"\r\n\r\n")[0]
    assert b"Mcp-Method: tools/call" in head
    assert b"Mcp-Name: face_in_jpeg" in head
    assert b"MCP-Protocol-Version: 2026-07-28" in head
